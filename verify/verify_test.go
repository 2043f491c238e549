package verify

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// SEC-96: every claim of a wrong value or type, and the boundaries in time,
// with a good signature.
func TestClaimsAreJudged(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	v := fixed(t, k)
	now := noon.Unix()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := map[string]struct {
		change claimSet
		want   error
	}{
		"good":                        {claimSet{}, nil},
		"second audience":             {claimSet{"aud": "other"}, nil},
		"audience among several":      {claimSet{"aud": []string{"x", testAudience}}, nil},
		"issuer without slash":        {claimSet{"iss": strings.TrimSuffix(testIssuer, "/")}, ErrIssuer},
		"issuer in caps":              {claimSet{"iss": strings.ToUpper(testIssuer)}, ErrIssuer},
		"issuer missing":              {claimSet{"iss": nil}, ErrIssuer},
		"issuer array":                {claimSet{"iss": []string{testIssuer}}, ErrClaims},
		"issuer null":                 {claimSet{"iss": raw("null")}, ErrClaims},
		"issuer in another case name": {claimSet{"iss": nil, "ISS": testIssuer}, ErrIssuer},
		"audience of others":          {claimSet{"aud": "https://api.example"}, ErrAudience},
		"audience missing":            {claimSet{"aud": nil}, ErrAudience},
		"audience empty":              {claimSet{"aud": ""}, ErrClaims},
		"audience empty list":         {claimSet{"aud": []string{}}, ErrClaims},
		"audience with an empty one":  {claimSet{"aud": []string{testAudience, ""}}, ErrClaims},
		"audience nested":             {claimSet{"aud": [][]string{{testAudience}}}, ErrClaims},
		"audience object":             {claimSet{"aud": claimSet{testAudience: true}}, ErrClaims},
		"audience with a number":      {claimSet{"aud": []any{testAudience, 1}}, ErrClaims},
		"audience null":               {claimSet{"aud": raw("null")}, ErrClaims},
		"subject number":              {claimSet{"sub": 7}, ErrClaims},
		"no exp":                      {claimSet{"exp": nil}, ErrClaims},
		"exp null":                    {claimSet{"exp": raw("null")}, ErrClaims},
		"exp string":                  {claimSet{"exp": "1900000000"}, ErrClaims},
		"exp fraction":                {claimSet{"exp": raw("1900000000.5")}, ErrClaims},
		"exp with exponent":           {claimSet{"exp": raw("1.9e9")}, ErrClaims},
		"exp beyond range":            {claimSet{"exp": raw("1e400")}, ErrClaims},
		"exp in the year 10000":       {claimSet{"exp": raw("253402300800")}, ErrClaims},
		"exp beyond int64":            {claimSet{"exp": raw("99999999999999999999")}, ErrClaims},
		"exp negative":                {claimSet{"exp": -1}, ErrClaims},
		"exp zero":                    {claimSet{"exp": 0}, ErrClaims},
		"exp true":                    {claimSet{"exp": true}, ErrClaims},
		"dead at exp":                 {claimSet{"exp": now}, ErrExpired},
		"a second before exp":         {claimSet{"exp": now + 1}, nil},
		"last year to be shown":       {claimSet{"exp": raw("253402300799")}, nil},
		"nbf now":                     {claimSet{"nbf": now}, nil},
		"nbf in a second":             {claimSet{"nbf": now + 1}, ErrNotYetValid},
		"nbf string":                  {claimSet{"nbf": "1"}, ErrClaims},
		"iat now":                     {claimSet{"iat": now}, nil},
		"iat in a second":             {claimSet{"iat": now + 1}, ErrNotYetValid},
		"iat missing":                 {claimSet{"iat": nil}, nil},
		"iat fraction":                {claimSet{"iat": raw("1.5")}, ErrClaims},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims, err := v.Verify(t.Context(), k.token(t, goodClaims(testIssuer).with(tt.change)))
			if !errors.Is(err, tt.want) || err != nil && !errors.Is(err, ErrInvalidToken) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			if err != nil && claims.Raw() != nil {
				t.Error("a refused token has claims (SEC-105)")
			}
		})
	}
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	for _, tt := range []struct {
		skew, exp, nbf time.Duration
		want           error
	}{
		{0, -9 * time.Second, 0, nil}, // the default is 10 s
		{0, -10 * time.Second, 0, ErrExpired},
		{0, time.Hour, 10 * time.Second, nil},
		{0, time.Hour, 11 * time.Second, ErrNotYetValid},
		{time.Minute, -59 * time.Second, time.Minute, nil},
		{time.Minute, -60 * time.Second, 0, ErrExpired},
		{-1, 0, 0, ErrExpired},
	} {
		v := mustNew(t, Options{
			Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), ClockSkew: tt.skew,
			Now: func() time.Time { return noon },
		})
		raw := k.token(t, goodClaims(testIssuer).with(claimSet{"exp": noon.Add(tt.exp).Unix(), "nbf": noon.Add(tt.nbf).Unix()}))
		if _, err := v.Verify(t.Context(), raw); !errors.Is(err, tt.want) {
			t.Errorf("skew %v, exp %v, nbf %v: %v, want %v", tt.skew, tt.exp, tt.nbf, err, tt.want)
		}
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// SEC-87, SEC-88, SEC-91, SEC-93: what a header says never picks the algorithm
// or the key. Each of these is signed by the attacker, who knows the public key.
func TestHeadersDoNotPersuade(t *testing.T) {
	t.Parallel()
	k, attacker := key(0, "k0"), key(1, "k0")
	v := fixed(t, k)
	payload := goodClaims(testIssuer).json(t)
	der, err := x509.MarshalPKIXPublicKey(&k.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, err := json.Marshal(attacker.public())
	if err != nil {
		t.Fatal(err)
	}
	signed := func(header string, s jose.Signer) string {
		input := b64(header) + "." + b64(string(payload))
		sig, err := s.Sign([]byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	evil := jose.NewRSASigner(jose.RS256, attacker.key)
	tests := map[string]struct {
		raw  string
		want error
	}{
		"none, no signature":   {b64(`{"alg":"none"}`) + "." + b64(string(payload)) + ".", ErrMalformed},
		"none":                 {signed(`{"alg":"none","kid":"k0"}`, evil), ErrAlgorithm},
		"NoNe":                 {signed(`{"alg":"NoNe","kid":"k0"}`, evil), ErrAlgorithm},
		"HMAC under the PEM":   {signed(`{"alg":"HS256","kid":"k0"}`, jose.NewHMACSigner(pemKey)), ErrAlgorithm},
		"HMAC under the DER":   {signed(`{"alg":"HS256","kid":"k0"}`, jose.NewHMACSigner(der)), ErrAlgorithm},
		"lower case alg":       {signed(`{"alg":"rs256","kid":"k0"}`, evil), ErrAlgorithm},
		"PS256, not allowed":   {signed(`{"alg":"PS256","kid":"k0"}`, jose.NewRSASigner(jose.PS256, k.key)), ErrAlgorithm},
		"embedded jwk":         {signed(`{"alg":"RS256","kid":"k0","jwk":`+string(jwk)+`}`, evil), ErrSignature},
		"embedded jwk, no kid": {signed(`{"alg":"RS256","jwk":`+string(jwk)+`}`, evil), ErrSignature},
		"jku":                  {signed(`{"alg":"RS256","kid":"k0","jku":"https://evil.example/keys"}`, evil), ErrSignature},
		"x5u":                  {signed(`{"alg":"RS256","kid":"k0","x5u":"https://evil.example/cert"}`, evil), ErrSignature},
		"x5c":                  {signed(`{"alg":"RS256","kid":"k0","x5c":["AAAA"],"x5t":"AAAA"}`, evil), ErrSignature},
		"crit":                 {signed(`{"alg":"RS256","kid":"k0","crit":["b64"],"b64":false}`, evil), ErrMalformed},
		"kid a path":           {signed(`{"alg":"RS256","kid":"../../dev/null"}`, evil), ErrUnknownKey},
		"kid a query":          {signed(`{"alg":"RS256","kid":"' OR 1=1 --"}`, evil), ErrUnknownKey},
		"kid a URL":            {signed(`{"alg":"RS256","kid":"https://evil.example/keys"}`, evil), ErrUnknownKey},
		"kid too long":         {signed(`{"alg":"RS256","kid":"`+strings.Repeat("k", 257)+`"}`, evil), ErrMalformed},
		"encrypted":            {b64(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.a.a.a", ErrMalformed},
		"longer signature":     {k.token(t, goodClaims(testIssuer)) + "A", ErrSignature},
		"1 MiB":                {strings.Repeat("a.", 1<<19), ErrMalformed},
		"empty":                {"", ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := v.Verify(t.Context(), tt.raw)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			if err == nil || strings.Contains(err.Error(), "evil") || len(err.Error()) > 80 {
				t.Errorf("the error says more than it may (SEC-99): %v", err)
			}
		})
	}
}

// SEC-95: a token that is wrong in several ways is first of all forged.
func TestSignatureComesFirst(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	v := fixed(t, k)
	bad := goodClaims("https://evil.example/").with(claimSet{"exp": 1, "aud": 7})
	if _, err := v.Verify(t.Context(), key(1, "k0").token(t, bad)); err != ErrSignature {
		t.Errorf("forged, expired, of another issuer: %v, want ErrSignature", err)
	}
	old := goodClaims(testIssuer).with(claimSet{"exp": noon.Add(-time.Hour).Unix()})
	if _, err := v.Verify(t.Context(), key(1, "k0").token(t, old)); err != ErrSignature {
		t.Errorf("forged and expired: %v, want ErrSignature", err)
	}
	if _, err := v.Verify(t.Context(), k.token(t, old.with(claimSet{"iss": "x"}))); err != ErrIssuer {
		t.Errorf("expired, of another issuer: %v, want ErrIssuer", err)
	}
}

// SEC-80: a JWT of another kind is no access token.
func TestTyp(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	signer := jose.NewRSASigner(jose.RS256, k.key)
	for _, tt := range []struct {
		required, typ string
		drop          string
		want          error
	}{
		{"", "", "", nil},
		{"", "JWT", "", nil},
		{"", "at+jwt", "jti", nil},
		{"", "application/AT+JWT", "", nil},
		{"", "logout+jwt", "", ErrType},
		{"", "dpop+jwt", "", ErrType},
		{"at+jwt", "at+jwt", "", nil},
		{"at+jwt", "application/at+jwt", "", nil},
		{"at+jwt", "JWT", "", ErrType},
		{"at+jwt", "", "", ErrType},
		{"at+jwt", "at+jwt", "jti", ErrClaims},
		{"at+jwt", "at+jwt", "client_id", ErrClaims},
		{"at+jwt", "at+jwt", "sub", ErrClaims},
		{"at+jwt", "at+jwt", "iat", ErrClaims},
		{"JWT", "jwt", "", nil},
	} {
		v := mustNew(t, Options{
			Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), RequiredTyp: tt.required,
			Now: func() time.Time { return noon },
		})
		c := goodClaims(testIssuer)
		delete(c, tt.drop)
		raw := sign(t, jose.Header{Alg: jose.RS256, Typ: tt.typ, Kid: k.kid}, signer, c.json(t))
		if _, err := v.Verify(t.Context(), raw); !errors.Is(err, tt.want) {
			t.Errorf("required %q, typ %q, without %q: %v, want %v", tt.required, tt.typ, tt.drop, err, tt.want)
		}
	}
}

func TestHS256(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte("s3cret--"), 4)
	v := mustNew(t, Options{
		Issuer: testIssuer, Audience: []string{testAudience}, Secret: secret,
		Now: func() time.Time { return noon },
	})
	payload := goodClaims(testIssuer).json(t)
	for _, kid := range []string{"", "any"} {
		raw := sign(t, jose.Header{Alg: jose.HS256, Typ: "JWT", Kid: kid}, jose.NewHMACSigner(secret), payload)
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("kid %q: %v", kid, err)
		}
	}
	other := sign(t, jose.Header{Alg: jose.HS256}, jose.NewHMACSigner(bytes.Repeat([]byte("x"), 32)), payload)
	if _, err := v.Verify(t.Context(), other); err != ErrSignature {
		t.Errorf("another secret: %v, want ErrSignature", err)
	}
	if _, err := v.Verify(t.Context(), key(0, "k0").token(t, goodClaims(testIssuer))); err != ErrAlgorithm {
		t.Errorf("RS256: %v, want ErrAlgorithm", err)
	}
}

func TestKeysAreMatched(t *testing.T) {
	t.Parallel()
	named, other, unnamed := key(0, "k0"), key(1, "k1"), key(2, "")
	tests := map[string]struct {
		set  []signingKey
		with signingKey
		want error
	}{
		"by kid":                         {[]signingKey{named, other}, other, nil},
		"no kid, one key":                {[]signingKey{named}, key(0, ""), nil},
		"no kid, a choice":               {[]signingKey{named, other}, key(0, ""), ErrUnknownKey},
		"kid, one unnamed key":           {[]signingKey{unnamed, other}, key(2, "x"), nil},
		"kid of another key":             {[]signingKey{named, other}, key(0, "k1"), ErrSignature},
		"kid in another case":            {[]signingKey{named}, key(0, "K0"), ErrUnknownKey},
		"unknown kid, keys all have one": {[]signingKey{named}, key(0, "x"), ErrUnknownKey},
	}
	for name, tt := range tests {
		v := fixed(t, tt.set...)
		if _, err := v.Verify(t.Context(), tt.with.token(t, goodClaims(testIssuer))); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Options{Issuer: testIssuer, Audience: []string{"a"}}
	secret := bytes.Repeat([]byte("s3cret--"), 4)
	for name, change := range map[string]func(*Options){
		"no issuer":              func(o *Options) { o.Issuer = "" },
		"issuer without scheme":  func(o *Options) { o.Issuer = "issuer.example" },
		"plain issuer (SEC-220)": func(o *Options) { o.Issuer = "http://issuer.example/" },
		"plain private address":  func(o *Options) { o.Issuer = "http://10.0.0.1/" },
		"issuer with password":   func(o *Options) { o.Issuer = "https://a:b@issuer.example/" },
		"plain JWKS (SEC-220)":   func(o *Options) { o.JWKSURL = "http://issuer.example/keys" },
		"file JWKS":              func(o *Options) { o.JWKSURL = "file:///etc/passwd" },
		"no audience":            func(o *Options) { o.Audience = nil },
		"empty audience":         func(o *Options) { o.Audience = []string{""} },
		"none":                   func(o *Options) { o.Algorithms = []string{"none"} },
		"unknown algorithm":      func(o *Options) { o.Algorithms = []string{"rs256"} },
		"HS256, no secret":       func(o *Options) { o.Algorithms = []string{"HS256"} },
		"HS256 and RS256":        func(o *Options) { o.Algorithms = []string{"HS256", "RS256"}; o.Secret = secret },
		"short secret (SEC-78)":  func(o *Options) { o.Secret = secret[:31] },
		"skew (SEC-96)":          func(o *Options) { o.ClockSkew = 61 * time.Second },
		"keys not JSON":          func(o *Options) { o.Keys = []byte("x") },
		"keys empty":             func(o *Options) { o.Keys = []byte(`{"keys":[]}`) },
		"two sources":            func(o *Options) { o.Secret = secret; o.JWKSURL = testIssuer },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "verify: ") {
			t.Errorf("%s: New = %v, want an error that says what to change", name, err)
		}
	}
	for _, issuer := range []string{"http://localhost:1/", "http://127.0.0.1:1/", "http://[::1]:1/", testIssuer} {
		o := good
		o.Issuer = issuer
		if _, err := New(o); err != nil {
			t.Errorf("New for %s: %v", issuer, err)
		}
	}
}

// SEC-248: the secret in Options is not printed.
func TestSecretIsRedacted(t *testing.T) {
	t.Parallel()
	o := Options{Secret: []byte("s3cret")}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb, o)
		fmt.Fprintf(&out, verb, o.Secret)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "options", o, "secret", o.Secret)
	j, err := json.Marshal(o.Secret)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	for _, leak := range []string{"s3cret", "733363726574", "115 51", "czNjcmV0"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed forms contain %q", leak)
		}
	}
}

// SEC-100: whatever comes in, the verifier neither panics nor errs in a way
// that is not about the token, and what it accepts is the token it knows.
func FuzzVerify(f *testing.F) {
	k := key(0, "k0")
	v := fixed(f, k)
	good := k.token(f, goodClaims(testIssuer))
	f.Add(good)
	f.Add(k.token(f, goodClaims(testIssuer).with(claimSet{"exp": 1})))
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := v.Verify(t.Context(), raw)
		if err == nil && raw != good {
			t.Errorf("accepted %q", raw)
		}
		if err != nil && !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%v is not about the token", err)
		}
	})
}

// Claims are judged without a signature in the way, so that the fuzzer reaches them.
func FuzzClaims(f *testing.F) {
	v := fixed(f, key(0, "k0"))
	f.Add([]byte(`{"iss":"https://issuer.example/","aud":["other"],"exp":1900000000,"scope":"a b","permissions":["a"]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		members, err := jose.AppendMembers(nil, payload)
		if err != nil {
			return
		}
		judged, err := v.checkClaims(&jose.Token{Payload: payload, Claims: members})
		c := Claims{judged}
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) {
				t.Errorf("%v is not about the token", err)
			}
			return
		}
		if c.Issuer() != testIssuer || !c.ExpiresAt().After(noon) {
			t.Errorf("accepted %s", payload)
		}
		_, _, _ = c.Scopes(), c.Permissions(), c.ClientID()
	})
}
