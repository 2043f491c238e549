package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// signerOf is the private key of the record, to forge tokens with.
func signerOf(t testing.TB, w *world, record tenant.SigningKey) *rsa.PrivateKey {
	t.Helper()
	der, err := w.vault.Open(t.Context(), w.tenant, purposeSigningKey, record.Kid, record.Private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

func bareSigner(t testing.TB, w *world, _ *ringState) jose.Signer {
	t.Helper()
	return jose.NewRSASigner(jose.RS256, signerOf(t, w, *w.key(t, familyRSA, tenant.KeyCurrent)))
}

// forge signs claims with a key of the tenant under any header.
func forge(t testing.TB, w *world, record tenant.SigningKey, typ, claims string) string {
	t.Helper()
	e := jose.NewEncoder(jose.Header{Alg: jose.RS256, Typ: typ, Kid: record.Kid}, jose.NewRSASigner(jose.RS256, signerOf(t, w, record)))
	raw, err := e.Encode(nil, []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

const goodJTI = `AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA`

func goodClaims() map[string]string {
	return map[string]string{
		"iss": `"https://t1.example:8443/"`, "sub": `"auth0|u1"`, "aud": `"https://api.example/"`,
		"iat": "1772366400", "exp": "1772452800", "azp": `"CID"`, "scope": `"openid"`, "jti": `"` + goodJTI + `"`,
	}
}

func object(claims map[string]string) string {
	var members []string
	for name, value := range claims {
		members = append(members, `"`+name+`":`+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// SEC-80, SEC-87, SEC-96: only what we mint as an access token is one, however
// well it is signed.
func TestAuthenticateJudgesClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	current := *w.key(t, familyRSA, tenant.KeyCurrent)
	set := func(name, value string) func(map[string]string) { return func(c map[string]string) { c[name] = value } }
	drop := func(name string) func(map[string]string) { return func(c map[string]string) { delete(c, name) } }
	tests := map[string]struct {
		typ    string
		change func(map[string]string)
		want   error
	}{
		"as minted":                  {"JWT", func(map[string]string) {}, nil},
		"two audiences":              {"JWT", set("aud", `["a","b"]`), nil},
		"gty of a refresh":           {"JWT", set("gty", `["refresh_token","password"]`), nil},
		"no scope":                   {"JWT", drop("scope"), nil},
		"at+jwt":                     {"at+jwt", func(c map[string]string) { c["client_id"] = c["azp"]; delete(c, "azp") }, nil},
		"at+jwt with azp":            {"at+jwt", func(map[string]string) {}, tenant.ErrTokenInvalid},
		"at+jwt with both":           {"at+jwt", set("client_id", `"CID"`), tenant.ErrTokenInvalid},
		"JWT with client_id":         {"JWT", set("client_id", `"CID"`), tenant.ErrTokenInvalid},
		"logout token":               {"logout+jwt", func(map[string]string) {}, tenant.ErrTokenInvalid},
		"other case of type":         {"jwt", func(map[string]string) {}, tenant.ErrTokenInvalid},
		"no type":                    {"", func(map[string]string) {}, tenant.ErrTokenInvalid},
		"with nonce":                 {"JWT", set("nonce", `"n"`), tenant.ErrTokenInvalid},
		"with sid":                   {"JWT", set("sid", `"s"`), tenant.ErrTokenInvalid},
		"with events":                {"JWT", set("events", `{}`), tenant.ErrTokenInvalid},
		"no jti":                     {"JWT", drop("jti"), tenant.ErrTokenInvalid},
		"short jti":                  {"JWT", set("jti", `"AAAA"`), tenant.ErrTokenInvalid},
		"no azp":                     {"JWT", drop("azp"), tenant.ErrTokenInvalid},
		"no sub":                     {"JWT", drop("sub"), tenant.ErrTokenInvalid},
		"empty sub":                  {"JWT", set("sub", `""`), tenant.ErrTokenInvalid},
		"null aud":                   {"JWT", set("aud", `null`), tenant.ErrTokenInvalid},
		"no aud":                     {"JWT", drop("aud"), tenant.ErrTokenInvalid},
		"empty aud":                  {"JWT", set("aud", `[]`), tenant.ErrTokenInvalid},
		"nested aud":                 {"JWT", set("aud", `[["a"]]`), tenant.ErrTokenInvalid},
		"issuer without slash":       {"JWT", set("iss", `"https://t1.example:8443"`), tenant.ErrTokenInvalid},
		"issuer in other case":       {"JWT", set("iss", `"https://T1.example:8443/"`), tenant.ErrTokenInvalid},
		"another issuer":             {"JWT", set("iss", `"https://t2.example:8443/"`), tenant.ErrTokenInvalid},
		"scope as array":             {"JWT", set("scope", `["openid"]`), tenant.ErrTokenInvalid},
		"no exp":                     {"JWT", drop("exp"), tenant.ErrTokenInvalid},
		"exp as text":                {"JWT", set("exp", `"1772452800"`), tenant.ErrTokenInvalid},
		"exp with fraction":          {"JWT", set("exp", `1772452800.5`), tenant.ErrTokenInvalid},
		"exp with exponent":          {"JWT", set("exp", `1.7724528e9`), tenant.ErrTokenInvalid},
		"exp beyond all":             {"JWT", set("exp", `1e400`), tenant.ErrTokenInvalid},
		"exp negative":               {"JWT", set("exp", `-1`), tenant.ErrTokenInvalid},
		"exp far away":               {"JWT", set("exp", `253402300800`), tenant.ErrTokenInvalid},
		"iat 10 s ahead":             {"JWT", set("iat", `1772370010`), nil},
		"iat 11 s ahead":             {"JWT", set("iat", `1772370011`), tenant.ErrTokenInvalid},
		"one second left":            {"JWT", set("exp", `1772370001`), nil},
		"at its end":                 {"JWT", set("exp", `1772370000`), tenant.ErrTokenExpired},
		"past its end":               {"JWT", set("exp", `1772366401`), tenant.ErrTokenExpired},
		"expired, of another issuer": {"JWT", func(c map[string]string) { c["exp"] = "1772366401"; c["iss"] = `"x"` }, tenant.ErrTokenInvalid},
	}
	now := noon.Add(time.Hour) // 1772370000
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := goodClaims()
			tt.change(claims)
			_, err := w.ring.Authenticate(t.Context(), w.tenant, forge(t, w, current, tt.typ, object(claims)), now)
			if !errors.Is(err, tt.want) {
				t.Errorf("Authenticate = %v, want %v", err, tt.want)
			}
		})
	}
}

// SEC-140, SEC-141, SEC-144, keys-and-validation.md §5: which key may have signed.
func TestAuthenticateJudgesKeys(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), otherWorld(t)
	good := object(goodClaims())
	current := *w.key(t, familyRSA, tenant.KeyCurrent)
	renamed := *other.key(t, familyRSA, tenant.KeyCurrent)
	foreign := forge(t, other, renamed, "JWT", good)
	under := func(kid string) string {
		e := jose.NewEncoder(jose.Header{Alg: jose.RS256, Typ: "JWT", Kid: kid},
			jose.NewRSASigner(jose.RS256, signerOf(t, other, renamed)))
		raw, err := e.Encode(nil, []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	// The published confusion: HS256 with the bytes of the public key.
	confused := func(kid string) string {
		e := jose.NewEncoder(jose.Header{Alg: jose.HS256, Typ: "JWT", Kid: kid}, jose.NewHMACSigner([]byte(current.Public)))
		raw, err := e.Encode(nil, []byte(good))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	expired := goodClaims()
	expired["exp"] = "1772366401"
	badlySigned := forge(t, w, current, "JWT", object(expired))
	badlySigned = badlySigned[:len(badlySigned)-4] + flip(badlySigned[len(badlySigned)-4]) + badlySigned[len(badlySigned)-3:]
	unsigned := b64.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64.EncodeToString([]byte(good)) + "."

	tests := map[string]struct {
		raw  string
		want error
	}{
		"current":                         {forge(t, w, current, "JWT", good), nil},
		"previous":                        {forge(t, w, *w.key(t, familyRSA, tenant.KeyPrevious), "JWT", good), nil},
		"next has signed nothing":         {forge(t, w, *w.key(t, familyRSA, tenant.KeyNext), "JWT", good), tenant.ErrTokenSignature},
		"revoked":                         {forge(t, w, *w.key(t, familyRSA, tenant.KeyRevoked), "JWT", good), tenant.ErrTokenSignature},
		"of another tenant":               {foreign, tenant.ErrTokenSignature},
		"of another tenant, our kid":      {under(current.Kid), tenant.ErrTokenSignature},
		"unknown kid":                     {under("../../etc/passwd"), tenant.ErrTokenSignature},
		"no kid":                          {under(""), tenant.ErrTokenSignature},
		"HS256 with the public key":       {confused(current.Kid), tenant.ErrTokenSignature},
		"HS256 without kid":               {confused(""), tenant.ErrTokenSignature},
		"none":                            {unsigned, tenant.ErrTokenMalformed},
		"SEC-95 expired and badly signed": {badlySigned, tenant.ErrTokenSignature},
		"empty":                           {"", tenant.ErrTokenMalformed},
		"a word":                          {"token", tenant.ErrTokenMalformed},
		"two parts":                       {"a.b", tenant.ErrTokenMalformed},
		"17 KiB":                          {strings.Repeat("a", 17<<10), tenant.ErrTokenMalformed},
		"17 KiB opaque":                   {"bat_" + strings.Repeat("a", 17<<10), tenant.ErrTokenMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := w.ring.Authenticate(t.Context(), w.tenant, tt.raw, noon)
			if !errors.Is(err, tt.want) {
				t.Errorf("Authenticate = %v, want %v", err, tt.want)
			}
		})
	}
}

// flip is another character of the alphabet.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// SEC-80: the matrix of kinds: each is refused in the place of the others.
func TestKindsAreNotMistaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, _, _, err := w.refresh.New(t.Context(), w.tenant, zeros)
	if err != nil {
		t.Fatal(err)
	}
	withSession := idToken()
	withSession.SessionID, withSession.Nonce, withSession.AuthTime = "sid", "nonce", noon
	hs := api("HS256", "")
	if hs.SigningSecret, err = w.vault.SealSigningSecret(t.Context(), w.tenant, hs.ID, strings.Repeat("s", 43)); err != nil {
		t.Fatal(err)
	}
	logout := forge(t, w, *w.key(t, familyRSA, tenant.KeyCurrent), "logout+jwt",
		`{"iss":"https://t1.example:8443/","sub":"auth0|u1","aud":"CID","iat":1772366400,"exp":1772366520,"jti":"`+goodJTI+
			`","events":{"http://schemas.openid.net/event/backchannel-logout":{}},"sid":"s"}`)
	assertion := forge(t, w, *w.key(t, familyRSA, tenant.KeyCurrent), "JWT",
		`{"iss":"CID","sub":"CID","aud":"https://t1.example:8443/","iat":1772366400,"exp":1772366520,"jti":"`+goodJTI+`"}`)
	tokens := map[string]struct {
		raw                 string
		access, id, refresh bool
	}{
		"access, JWT":      {raw: mustAccess(t, w, accessToken(api("", ""))), access: true},
		"access, RFC 9068": {raw: mustAccess(t, w, accessToken(api("", "rfc9068_profile"))), access: true},
		"access, opaque":   {raw: mustAccess(t, w, accessToken(nil)), access: true},
		"access, HS256":    {raw: mustAccess(t, w, accessToken(hs))},
		"ID":               {raw: mustID(t, w, idToken()), id: true},
		"ID, of a login":   {raw: mustID(t, w, withSession), id: true},
		"logout":           {raw: logout},
		"assertion":        {raw: assertion},
		"refresh":          {raw: value, refresh: true},
		"a hash":           {raw: Hash(value)},
	}
	for name, tt := range tokens {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := w.ring.Authenticate(t.Context(), w.tenant, tt.raw, noon); (err == nil) != tt.access {
				t.Errorf("as an access token: %v, want accepted %v", err, tt.access)
			}
			if _, err := w.ring.VerifyIDTokenHint(t.Context(), w.tenant, tt.raw); (err == nil) != tt.id {
				t.Errorf("as an ID token: %v, want accepted %v", err, tt.id)
			}
			if _, err := w.refresh.Parse(t.Context(), w.tenant, tt.raw); (err == nil) != tt.refresh {
				t.Errorf("as a refresh token: %v, want accepted %v", err, tt.refresh)
			}
		})
	}
}

// SEC-2, SEC-148: a fault is no refusal, and nothing is minted in it.
func TestFaultsAreNotRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := mustAccess(t, w, accessToken(api("ES256", "")))
	w.keys.fault = errStorage
	te := w.changed()
	if _, err := w.ring.Authenticate(t.Context(), te, raw, noon); !errors.Is(err, errStorage) {
		t.Errorf("Authenticate = %v, want the fault", err)
	}
	if got, err := w.minter.AccessToken(t.Context(), te, accessToken(api("ES256", ""))); !errors.Is(err, errStorage) || got != "" {
		t.Errorf("AccessToken = %q, %v, want the fault", got, err)
	}
	w.keys.fault = nil
	if _, err := w.ring.Authenticate(t.Context(), te, raw, noon); err != nil {
		t.Errorf("a fault was remembered: %v", err)
	}
}

func TestVerifyIDTokenHint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := idToken()
	i.SessionID = "sid1"
	i.ExpiresAt = i.IssuedAt.Add(time.Second) // long gone at any clock: hints do not expire
	got, err := w.ring.VerifyIDTokenHint(t.Context(), w.tenant, mustID(t, w, i))
	want := IDClaims{Subject: "auth0|u1", ClientID: client.ID, SessionID: "sid1", IssuedAt: i.IssuedAt, ExpiresAt: i.ExpiresAt}
	if err != nil || got != want {
		t.Errorf("VerifyIDTokenHint = %+v, %v, want %+v", got, err, want)
	}
}

// SEC-99: errors repeat nothing of the token.
func TestErrorsRepeatNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "canary0123456789"
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"` + canary + `","typ":"` + canary + `"}`))
	body := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"` + canary + `"}`))
	for _, raw := range []string{canary, "bat_" + canary, head + "." + body + ".AAAA", canary + "." + canary + "." + canary, "brt_" + canary} {
		_, err1 := w.ring.Authenticate(t.Context(), w.tenant, raw, noon)
		_, err2 := w.ring.VerifyIDTokenHint(t.Context(), w.tenant, raw)
		_, err3 := w.refresh.Parse(t.Context(), w.tenant, raw)
		if text := fmt.Sprint(err1, err2, err3); strings.Contains(text, canary) {
			t.Errorf("errors repeat the token: %s", text)
		}
	}
}

func FuzzAuthenticate(f *testing.F) {
	w := newWorld(f)
	good := map[string]bool{}
	for _, a := range []AccessToken{accessToken(api("ES256", "")), accessToken(nil)} {
		raw := mustAccess(f, w, a)
		good[raw] = true
		f.Add(raw)
	}
	f.Add("bat_AAAA")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon)
		if err == nil && !good[raw] {
			t.Errorf("accepted %q, which we did not make", raw)
		}
		if err != nil && !errors.Is(err, tenant.ErrTokenMalformed) && !errors.Is(err, tenant.ErrTokenSignature) {
			t.Errorf("Authenticate = %v, want a refusal", err)
		}
	})
}
