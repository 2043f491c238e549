package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"
)

const (
	clientID = "CID0123456789"
	issuer   = "https://t1.example:8443/"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keys are made once: two of the client, one of somebody else.
var keys = sync.OnceValues(func() (k [3]*rsa.PrivateKey, err error) {
	for i := range k {
		if k[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return k, err
		}
	}
	return k, nil
})

func key(t testing.TB, i int) *rsa.PrivateKey {
	t.Helper()
	k, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	return k[i]
}

func publicPEM(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func expected(t testing.TB) Expected {
	return Expected{ClientID: clientID, Issuer: issuer, Now: noon, Credentials: []Credential{
		{Kid: "one", Alg: "RS256", PEM: publicPEM(t, key(t, 0).Public())},
		{Kid: "two", Alg: "PS256", PEM: publicPEM(t, key(t, 1).Public())},
		{Kid: "three", Alg: "RS384", PEM: publicPEM(t, key(t, 1).Public())},
	}}
}

func claims() map[string]any {
	return map[string]any{
		"iss": clientID, "sub": clientID, "aud": issuer, "jti": "id-1",
		"iat": noon.Unix(), "exp": noon.Add(2 * time.Minute).Unix(),
	}
}

// sign is an assertion as another library makes it.
func sign(t testing.TB, alg gojose.SignatureAlgorithm, k any, header map[string]any, claims any) string {
	t.Helper()
	options := (&gojose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		options.WithHeader(gojose.HeaderKey(name), value)
	}
	s, err := gojose.NewSigner(gojose.SigningKey{Algorithm: alg, Key: k}, options)
	if err != nil {
		t.Fatal(err)
	}
	b, ok := claims.([]byte)
	if !ok {
		if b, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestVerifyClient(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		alg    gojose.SignatureAlgorithm
		key    int
		header map[string]any
		want   string
	}{
		"RS256 without kid":            {gojose.RS256, 0, nil, "one"},
		"RS256 with kid":               {gojose.RS256, 0, map[string]any{"kid": "one"}, "one"},
		"PS256, the second credential": {gojose.PS256, 1, nil, "two"},
		"RS384, the third":             {gojose.RS384, 1, nil, "three"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := VerifyClient(sign(t, tt.alg, key(t, tt.key), tt.header, claims()), expected(t))
			sum := sha256.Sum256([]byte("id-1"))
			want := Proof{Hash: base64.RawURLEncoding.EncodeToString(sum[:]), ExpiresAt: noon.Add(2*time.Minute + skew), Kid: tt.want}
			if err != nil || got != want {
				t.Errorf("VerifyClient = %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// SEC-10, SEC-11: whom it is for, by whom, for how long, and that it has a name.
func TestVerifyClientJudgesClaims(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	drop := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	tests := map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"as it should be":                {func(map[string]any) {}, true},
		"aud: array of one":              {set("aud", []string{issuer}), false},
		"aud: us and an attacker":        {set("aud", []string{issuer, "https://evil.example/"}), false},
		"aud: token endpoint":            {set("aud", issuer+"oauth/token"), false},
		"aud: issuer without slash":      {set("aud", strings.TrimSuffix(issuer, "/")), false},
		"aud: other case":                {set("aud", strings.ToUpper(issuer)), false},
		"aud: number":                    {set("aud", 1), false},
		"aud: null":                      {set("aud", nil), false},
		"aud: missing":                   {drop("aud"), false},
		"iss of another client":          {set("iss", "other"), false},
		"iss missing":                    {drop("iss"), false},
		"sub of another client":          {set("sub", "other"), false},
		"sub missing":                    {drop("sub"), false},
		"jti missing":                    {drop("jti"), false},
		"jti empty":                      {set("jti", ""), false},
		"jti a number":                   {set("jti", 7), false},
		"jti of 64":                      {set("jti", strings.Repeat("j", 64)), true},
		"jti of 65":                      {set("jti", strings.Repeat("j", 65)), false},
		"exp missing":                    {drop("exp"), false},
		"exp as text":                    {set("exp", fmt.Sprint(at(time.Minute))), false},
		"exp null":                       {set("exp", nil), false},
		"exp with fraction":              {set("exp", float64(at(time.Minute))+0.5), true},
		"exp in 5 minutes":               {set("exp", at(MaxAhead)), true},
		"exp in 5 minutes and skew":      {set("exp", at(MaxAhead+skew)), true},
		"exp later":                      {set("exp", at(MaxAhead+skew+time.Second)), false},
		"exp in two days":                {set("exp", at(48*time.Hour)), false},
		"exp beyond all":                 {set("exp", 1e300), false},
		"exp negative":                   {set("exp", -1), false},
		"exp 9 s ago":                    {set("exp", at(-9*time.Second)), true},
		"exp 10 s ago":                   {set("exp", at(-10*time.Second)), false},
		"iat missing":                    {drop("iat"), false},
		"iat 60 s ahead":                 {set("iat", at(time.Minute)), true},
		"iat 61 s ahead":                 {set("iat", at(61*time.Second)), false},
		"iat as text":                    {set("iat", "now"), false},
		"nbf past":                       {set("nbf", at(-time.Minute)), true},
		"nbf ahead":                      {set("nbf", at(2*time.Minute)), false},
		"nbf as text":                    {set("nbf", "now"), false},
		"something else in it (ignored)": {set("client", map[string]any{"name": "x"}), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := claims()
			tt.change(c)
			got, err := VerifyClient(sign(t, gojose.RS256, key(t, 0), nil, c), expected(t))
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRefused) || err != nil && got != (Proof{}) {
				t.Errorf("VerifyClient = %+v, %v, want accepted %v", got, err, tt.ok)
			}
		})
	}
}

// SEC-10, SEC-266: the compatibility switches, in both positions.
func TestAudienceSwitches(t *testing.T) {
	t.Parallel()
	endpoint := issuer + "oauth/token"
	for name, aud := range map[string]any{
		"endpoint": endpoint, "array": []string{issuer}, "array of the endpoint": []string{endpoint},
		"array of two": []string{issuer, endpoint}, "nested": [][]string{{issuer}}, "empty array": []string{},
	} {
		c := claims()
		c["aud"] = aud
		raw := sign(t, gojose.RS256, key(t, 0), nil, c)
		for _, others := range []bool{false, true} {
			for _, array := range []bool{false, true} {
				e := expected(t)
				e.ArrayAudience = array
				if others {
					e.OtherAudiences = []string{endpoint}
				}
				want := name == "endpoint" && others || name == "array" && array || name == "array of the endpoint" && others && array
				if _, err := VerifyClient(raw, e); (err == nil) != want {
					t.Errorf("%s with OtherAudiences %v, ArrayAudience %v: %v, want accepted %v", name, others, array, err, want)
				}
			}
		}
	}
}

// SEC-12, SEC-87: the key is a registered one and fits the algorithm, whatever
// the header offers.
func TestVerifyClientJudgesKeys(t *testing.T) {
	t.Parallel()
	attacker := key(t, 2)
	public := publicPEM(t, key(t, 0).Public())
	// An assertion under HS256 with the bytes of the public key.
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	body, err := json.Marshal(claims())
	if err != nil {
		t.Fatal(err)
	}
	input := head + "." + base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, []byte(public))
	mac.Write([]byte(input))
	confused := input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(body) + "."

	good := sign(t, gojose.RS256, key(t, 0), nil, claims())
	expired := expected(t)
	expired.Credentials[0].ExpiresAt = noon
	lasting := expected(t)
	lasting.Credentials[0].ExpiresAt = noon.Add(1)
	unnamed := expected(t)
	unnamed.Credentials[0].Kid = ""
	plain := expected(t)
	plain.Credentials[0].Alg = ""
	broken := expected(t)
	broken.Credentials = append([]Credential{{Kid: "zero", PEM: "broken"}}, broken.Credentials...)
	nameless := expected(t)
	nameless.ClientID = ""

	tests := map[string]struct {
		raw string
		e   Expected
		ok  bool
	}{
		"good":                           {good, expected(t), true},
		"embedded jwk":                   {sign(t, gojose.RS256, attacker, map[string]any{"jwk": gojose.JSONWebKey{Key: attacker.Public()}}, claims()), expected(t), false},
		"jku":                            {sign(t, gojose.RS256, attacker, map[string]any{"jku": "https://evil.example/jwks"}, claims()), expected(t), false},
		"x5u":                            {sign(t, gojose.RS256, attacker, map[string]any{"x5u": "https://evil.example/cert"}, claims()), expected(t), false},
		"foreign key, our kid":           {sign(t, gojose.RS256, attacker, map[string]any{"kid": "one"}, claims()), expected(t), false},
		"jku beside a good key":          {sign(t, gojose.RS256, key(t, 0), map[string]any{"jku": "https://evil.example/jwks"}, claims()), expected(t), true},
		"kid of another credential":      {sign(t, gojose.RS256, key(t, 0), map[string]any{"kid": "two"}, claims()), expected(t), false},
		"kid, credential without":        {sign(t, gojose.RS256, key(t, 0), map[string]any{"kid": "any"}, claims()), unnamed, true},
		"algorithm not the credential's": {sign(t, gojose.PS256, key(t, 0), nil, claims()), expected(t), false},
		"RS512":                          {sign(t, gojose.RS512, key(t, 0), nil, claims()), expected(t), false},
		"HS256 with the public key":      {confused, expected(t), false},
		"none":                           {unsigned, expected(t), false},
		"credential at its end":          {good, expired, false},
		"credential before its end":      {good, lasting, true},
		"credential without algorithm":   {good, plain, true},
		"a broken credential beside it":  {good, broken, true},
		"no credentials":                 {good, Expected{ClientID: clientID, Issuer: issuer, Now: noon}, false},
		"no client":                      {good, nameless, false},
		"signature cut":                  {good[:len(good)-2], expected(t), false},
		"with a line break":              {good + "\n", expected(t), false},
		"empty":                          {"", expected(t), false},
		"critical extension":             {sign(t, gojose.RS256, key(t, 0), map[string]any{"crit": []string{"exp"}, "exp": 1}, claims()), expected(t), false},
		"an access token's type":         {sign(t, gojose.RS256, key(t, 0), map[string]any{"typ": "at+jwt"}, claims()), expected(t), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := VerifyClient(tt.raw, tt.e)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("VerifyClient = %v, want accepted %v", err, tt.ok)
			}
		})
	}
}

func TestVerifyClientBoundsSize(t *testing.T) {
	t.Parallel()
	c := claims()
	c["pad"] = ""
	pad := MaxSize - len(sign(t, gojose.RS256, key(t, 0), nil, c))
	c["pad"] = strings.Repeat("p", pad*3/4-2)
	if raw := sign(t, gojose.RS256, key(t, 0), nil, c); len(raw) > MaxSize {
		t.Fatalf("%d bytes", len(raw))
	} else if _, err := VerifyClient(raw, expected(t)); err != nil {
		t.Errorf("%d bytes: %v", len(raw), err)
	}
	c["pad"] = strings.Repeat("p", pad*3/4+8)
	if raw := sign(t, gojose.RS256, key(t, 0), nil, c); len(raw) <= MaxSize {
		t.Fatalf("%d bytes", len(raw))
	} else if _, err := VerifyClient(raw, expected(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("%d bytes: %v, want ErrRefused", len(raw), err)
	}
}

// SEC-92: a name given twice would be read one way here and another way there.
func TestRepeatedNamesAreRefused(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(claims())
	if err != nil {
		t.Fatal(err)
	}
	doubled := []byte(strings.Replace(string(body), "{", `{"sub":"other",`, 1))
	if _, err := VerifyClient(sign(t, gojose.RS256, key(t, 0), nil, doubled), expected(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("VerifyClient = %v, want ErrRefused", err)
	}
}

func TestUnverifiedClientID(t *testing.T) {
	t.Parallel()
	if got, err := UnverifiedClientID(sign(t, gojose.RS256, key(t, 2), nil, claims())); err != nil || got != clientID {
		t.Errorf("UnverifiedClientID = %q, %v", got, err)
	}
	for name, value := range map[string]any{"sub": "other", "iss": nil} {
		c := maps.Clone(claims())
		c[name] = value
		if got, err := UnverifiedClientID(sign(t, gojose.RS256, key(t, 2), nil, c)); !errors.Is(err, ErrRefused) {
			t.Errorf("with %s %v: %q, %v, want ErrRefused", name, value, got, err)
		}
	}
	if _, err := UnverifiedClientID("a.b.c"); !errors.Is(err, ErrRefused) {
		t.Errorf("a.b.c: %v, want ErrRefused", err)
	}
}

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	k := key(t, 0)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "c"}, NotAfter: noon}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	weak.N.SetBit(weak.N, 0, 1)
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	tests := map[string]struct {
		text string
		ok   bool
	}{
		"PKIX":               {publicPEM(t, k.Public()), true},
		"PKCS #1":            {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.PublicKey)), true},
		"certificate":        {block("CERTIFICATE", der), true},
		"with line breaks":   {publicPEM(t, k.Public()) + "\r\n \n", true},
		"private key":        {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)), false},
		"EC":                 {publicPEM(t, ec.Public()), false},
		"Ed25519":            {publicPEM(t, ed), false},
		"1024 bits":          {publicPEM(t, weak), false},
		"two blocks":         {publicPEM(t, k.Public()) + publicPEM(t, k.Public()), false},
		"text":               {"key", false},
		"empty":              {"", false},
		"broken":             {block("PUBLIC KEY", []byte("x")), false},
		"broken certificate": {block("CERTIFICATE", der[:40]), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParsePublicKey(tt.text)
			if (err == nil) != tt.ok {
				t.Fatalf("ParsePublicKey = %v, want read %v", err, tt.ok)
			}
			if tt.ok && !k.PublicKey.Equal(got) {
				t.Error("another key was read")
			}
		})
	}
}

func FuzzVerifyClient(f *testing.F) {
	good := sign(f, gojose.RS256, key(f, 0), nil, claims())
	f.Add(good)
	f.Add("a.b.c")
	f.Add(sign(f, gojose.RS256, key(f, 2), map[string]any{"kid": "one"}, claims()))
	e := expected(f)
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := VerifyClient(raw, e)
		if err == nil && raw != good {
			t.Errorf("accepted %q", raw)
		}
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("VerifyClient = %v, want ErrRefused", err)
		}
	})
}

func BenchmarkVerifyClient(b *testing.B) {
	raw := sign(b, gojose.RS256, key(b, 0), nil, claims())
	e := expected(b)
	for b.Loop() {
		if _, err := VerifyClient(raw, e); err != nil {
			b.Fatal(err)
		}
	}
}
