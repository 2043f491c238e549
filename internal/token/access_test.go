package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// parts are the header and the claims of a JWT, as they were written.
func parts(t testing.TB, raw string) (header, claims string) {
	t.Helper()
	p := strings.Split(raw, ".")
	if len(p) != 3 {
		t.Fatalf("%q has %d parts, want 3", raw, len(p))
	}
	h, err1 := base64.RawURLEncoding.DecodeString(p[0])
	c, err2 := base64.RawURLEncoding.DecodeString(p[1])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return string(h), string(c)
}

var jtiPattern = regexp.MustCompile(`"jti":"([A-Za-z0-9_-]{43})"`)

// SEC-79, SEC-82: the claims of each profile (tokens.md §3), whole, and nothing else.
func TestAccessTokenProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rsaKid := w.key(t, familyRSA, tenant.KeyCurrent).Kid
	const head = `{"iss":"https://t1.example:8443/","sub":"auth0|u1","aud":`
	const both = `["https://api.example/","https://t1.example:8443/userinfo"]`
	const one = `"https://api.example/"`
	const times = `,"iat":1772366400,"exp":1772452800`
	const azp = `,"azp":"CID0123456789"`
	tests := map[string]struct {
		change       func(*AccessToken)
		api          *tenant.ResourceServer
		header, want string
	}{
		"user": {nil, api("", ""), `{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","jti":"…"}`},
		"user, without openid": {func(a *AccessToken) { a.Userinfo, a.Scopes = false, []string{"read:x"} }, api("RS256", "access_token"),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`, head + one + times + azp + `,"scope":"read:x","jti":"…"}`},
		"no scope": {func(a *AccessToken) { a.Userinfo, a.Scopes = false, nil }, api("", ""),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`, head + one + times + azp + `,"jti":"…"}`},
		"permissions": {func(a *AccessToken) { a.Permissions = []string{"read:x", "write:x"} }, api("", "access_token_authz"),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","permissions":["read:x","write:x"],"jti":"…"}`},
		"no permissions": {nil, api("", "access_token_authz"), `{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","permissions":[],"jti":"…"}`},
		"permissions, without the dialect": {func(a *AccessToken) { a.Permissions = []string{"read:x"} }, api("", ""),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`, head + both + times + azp + `,"scope":"openid read:x","jti":"…"}`},
		"refresh of a code": {func(a *AccessToken) { a.GrantType = []string{"refresh_token"} }, api("", ""),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","gty":"refresh_token","jti":"…"}`},
		"refresh of a password": {func(a *AccessToken) { a.GrantType = []string{"refresh_token", "password"} }, api("", ""),
			`{"alg":"RS256","typ":"JWT","kid":"` + rsaKid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","gty":["refresh_token","password"],"jti":"…"}`},
		"RFC 9068": {func(a *AccessToken) { a.GrantType = []string{"refresh_token"} }, api("PS256", "rfc9068_profile"),
			`{"alg":"PS256","typ":"at+jwt","kid":"` + rsaKid + `"}`,
			head + both + times + `,"client_id":"CID0123456789","scope":"openid read:x","jti":"…"}`},
		"RFC 9068 with permissions": {func(a *AccessToken) { a.Permissions = []string{"read:x"} }, api("", "rfc9068_profile_authz"),
			`{"alg":"RS256","typ":"at+jwt","kid":"` + rsaKid + `"}`,
			head + both + times + `,"client_id":"CID0123456789","scope":"openid read:x","permissions":["read:x"],"jti":"…"}`},
		"ES256": {nil, api("ES256", ""), `{"alg":"ES256","typ":"JWT","kid":"` + w.key(t, familyES256, tenant.KeyCurrent).Kid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","jti":"…"}`},
		"EdDSA": {nil, api("EdDSA", ""), `{"alg":"EdDSA","typ":"JWT","kid":"` + w.key(t, familyEdDSA, tenant.KeyCurrent).Kid + `"}`,
			head + both + times + azp + `,"scope":"openid read:x","jti":"…"}`},
		"HS256 is never for userinfo": {nil, api("HS256", ""), `{"alg":"HS256","typ":"JWT"}`,
			head + one + times + azp + `,"scope":"openid read:x","jti":"…"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := accessToken(tt.api)
			if tt.change != nil {
				tt.change(&a)
			}
			if tt.api.SigningAlg == "HS256" {
				var err error
				if tt.api.SigningSecret, err = w.vault.SealSigningSecret(t.Context(), w.tenant, tt.api.ID, strings.Repeat("s", 43)); err != nil {
					t.Fatal(err)
				}
			}
			header, claims := parts(t, mustAccess(t, w, a))
			if header != tt.header {
				t.Errorf("header = %s, want %s", header, tt.header)
			}
			if got := jtiPattern.ReplaceAllString(claims, `"jti":"…"`); got != tt.want {
				t.Errorf("claims = %s\nwant     %s", got, tt.want)
			}
		})
	}
}

func TestMachineToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := accessToken(api("", ""))
	a.Subject, a.GrantType, a.Userinfo, a.Scopes = MachineSubject(client.ID), []string{"client-credentials"}, false, []string{"read:x"}
	raw := mustAccess(t, w, a)
	c, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon)
	if err != nil || !c.Machine() || c.Subject != "CID0123456789@clients" || len(c.Audience) != 1 {
		t.Errorf("Authenticate = %+v, %v, want a machine's token for one audience", c, err)
	}
	a.ResourceServer = api("", "rfc9068_profile")
	c, err = w.ring.Authenticate(t.Context(), w.tenant, mustAccess(t, w, a), noon)
	if err != nil || !c.Machine() {
		t.Errorf("Authenticate of the RFC 9068 dialect = %+v, %v, want a machine's token", c, err)
	}
}

// D5: the first part of the jti is the keyed hash of the authorization, the rest
// random.
func TestJTI(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), otherWorld(t)
	a := accessToken(api("ES256", ""))
	want, err := w.ring.AuthorizationHash(t.Context(), w.tenant, a.Authorization)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 20 {
		c, err := w.ring.Authenticate(t.Context(), w.tenant, mustAccess(t, w, a), noon)
		if err != nil {
			t.Fatal(err)
		}
		if c.Authorization != want {
			t.Errorf("Authorization = %s, want %s", c.Authorization, want)
		}
		if seen[c.ID] {
			t.Errorf("jti %s came twice", c.ID)
		}
		seen[c.ID] = true
	}
	if again, _ := w.ring.AuthorizationHash(t.Context(), w.tenant, "rt_other"); again == want {
		t.Error("two authorizations have one hash")
	}
	if foreign, _ := other.ring.AuthorizationHash(t.Context(), other.tenant, a.Authorization); foreign == want {
		t.Error("two tenants have one hash: it is not keyed")
	}
	plain := sha256.Sum256([]byte(a.Authorization))
	if want == b64.EncodeToString(plain[:authorizationSize]) {
		t.Error("the hash is not keyed")
	}
}

func TestHS256IsSignedWithTheSecretOfTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := api("HS256", "")
	secret := strings.Repeat("k", 40)
	var err error
	if r.SigningSecret, err = w.vault.SealSigningSecret(t.Context(), w.tenant, r.ID, secret); err != nil {
		t.Fatal(err)
	}
	raw := mustAccess(t, w, accessToken(r))
	dot := strings.LastIndexByte(raw, '.')
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(raw[:dot]))
	if want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); raw[dot+1:] != want {
		t.Errorf("signature = %s, want %s", raw[dot+1:], want)
	}
}

// SEC-85: there is no token without an end; SEC-82: none is too large; D5: none
// is without an authorization to revoke it by.
func TestAccessTokenRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := make([]string, 500)
	for i := range long {
		long[i] = fmt.Sprintf("permission:number:%d", i)
	}
	tests := map[string]struct {
		change func(*AccessToken)
		want   error
	}{
		"no end":           {func(a *AccessToken) { a.ExpiresAt = time.Time{} }, ErrLifetime},
		"ends at once":     {func(a *AccessToken) { a.ExpiresAt = a.IssuedAt }, ErrLifetime},
		"ended before":     {func(a *AccessToken) { a.ExpiresAt = a.IssuedAt.Add(-time.Hour) }, ErrLifetime},
		"31 days":          {func(a *AccessToken) { a.ExpiresAt = a.IssuedAt.Add(31 * 24 * time.Hour) }, ErrLifetime},
		"not issued":       {func(a *AccessToken) { a.IssuedAt = time.Time{} }, ErrLifetime},
		"too large":        {func(a *AccessToken) { a.Scopes = long }, ErrTooLarge},
		"opaque too large": {func(a *AccessToken) { a.Scopes, a.ResourceServer = long, nil }, ErrTooLarge},
		"no authorization": {func(a *AccessToken) { a.Authorization = "" }, nil},
		"no subject":       {func(a *AccessToken) { a.Subject = "" }, nil},
		"no client":        {func(a *AccessToken) { a.Client = tenant.Client{} }, nil},
		"no such key":      {func(a *AccessToken) { a.ResourceServer = api("RS384", "") }, ErrNoKey},
		"none":             {func(a *AccessToken) { a.ResourceServer = api("none", "") }, ErrNoKey},
		"HS256, no secret": {func(a *AccessToken) { a.ResourceServer = api("HS256", "") }, tenant.ErrNotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := accessToken(api("ES256", ""))
			tt.change(&a)
			raw, err := w.minter.AccessToken(t.Context(), w.tenant, a)
			if err == nil || raw != "" || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("AccessToken = %q, %v, want no token and %v", raw, err, tt.want)
			}
		})
	}
}

// A scope is written with the escapes that any string gets.
func TestScopeIsEscaped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := accessToken(api("ES256", ""))
	a.Scopes = []string{`a"b`, `c\d`, `</script>`, "ä"}
	raw := mustAccess(t, w, a)
	if _, claims := parts(t, raw); !strings.Contains(claims, `"scope":"a\"b c\\d \u003c/script\u003e ä"`) {
		t.Errorf("claims = %s", claims)
	}
	c, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon)
	if err != nil || strings.Join(c.Scopes, "|") != strings.Join(a.Scopes, "|") {
		t.Errorf("scopes = %q, %v, want %q", c.Scopes, err, a.Scopes)
	}
}

// tokens.md §2: an opaque token holds no dot, has one spelling, shows nothing,
// and carries the same claims.
func TestOpaqueToken(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), otherWorld(t)
	a := accessToken(nil)
	raw := mustAccess(t, w, a)
	if !strings.HasPrefix(raw, "bat_") || strings.Contains(raw, ".") {
		t.Errorf("token = %q, want bat_ and no dot", raw)
	}
	if b, _ := base64.RawURLEncoding.DecodeString(raw[4:]); bytes.Contains(b, []byte("auth0")) {
		t.Error("the claims can be read")
	}
	c, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon)
	if err != nil || c.Subject != a.Subject || c.ClientID != client.ID || len(c.Audience) != 1 ||
		c.Audience[0] != w.tenant.UserinfoAudience() || strings.Join(c.Scopes, " ") != "openid read:x" || c.Alg != "" {
		t.Errorf("Authenticate = %+v, %v", c, err)
	}
	if _, err := other.ring.Authenticate(t.Context(), other.tenant, raw, noon); !errors.Is(err, tenant.ErrTokenSignature) {
		t.Errorf("SEC-144: at another tenant = %v, want ErrTokenSignature", err)
	}
	if _, err := w.ring.Authenticate(t.Context(), w.tenant, raw, a.ExpiresAt); !errors.Is(err, tenant.ErrTokenExpired) {
		t.Errorf("at its end = %v, want ErrTokenExpired", err)
	}
	for _, altered := range []string{raw + "\n", raw + "=", raw[:50] + "\n" + raw[50:], " " + raw, "bat_", raw[:len(raw)-1],
		strings.ToUpper(raw), raw[:20] + "A" + raw[21:], raw + "A"} {
		if altered == raw {
			continue
		}
		if c, err := w.ring.Authenticate(t.Context(), w.tenant, altered, noon); err == nil {
			t.Errorf("accepted %q as %+v", altered, c)
		}
	}
}

func BenchmarkAccessTokenRS256(b *testing.B) {
	w := newWorld(b)
	a := accessToken(api("", ""))
	a.GrantType = []string{"client-credentials"}
	mustAccess(b, w, a)
	b.ReportAllocs()
	for b.Loop() {
		mustAccess(b, w, a)
	}
}

// BenchmarkSignatureRS256 is the floor: the bare signature of as many bytes.
func BenchmarkSignatureRS256(b *testing.B) {
	w := newWorld(b)
	raw := mustAccess(b, w, accessToken(api("", "")))
	s, err := w.ring.state(b.Context(), w.tenant)
	if err != nil {
		b.Fatal(err)
	}
	signer := bareSigner(b, w, s)
	input := []byte(raw[:strings.LastIndexByte(raw, '.')])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := signer.Sign(input); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClaims is what a token costs beside its signature: ring, jti, claims
// and encoding, under a signer that does nothing.
func BenchmarkTokenWithoutSignature(b *testing.B) {
	w := newWorld(b)
	a := accessToken(api("", ""))
	mustAccess(b, w, a)
	s, err := w.ring.state(b.Context(), w.tenant)
	if err != nil {
		b.Fatal(err)
	}
	kid := w.key(b, familyRSA, tenant.KeyCurrent).Kid
	by := s.encoders[encoderName{jose.RS256, typJWT}]
	by.encoder = jose.NewEncoder(jose.Header{Alg: jose.RS256, Typ: typJWT, Kid: kid}, idle{make([]byte, 256)})
	s.encoders[encoderName{jose.RS256, typJWT}] = by
	b.ReportAllocs()
	for b.Loop() {
		mustAccess(b, w, a)
	}
}

// idle is a signer that takes no time.
type idle struct{ signature []byte }

func (i idle) Sign([]byte) ([]byte, error) { return i.signature, nil }

func BenchmarkAccessTokenES256(b *testing.B) {
	w := newWorld(b)
	a := accessToken(api("ES256", ""))
	for b.Loop() {
		mustAccess(b, w, a)
	}
}

func BenchmarkOpaqueToken(b *testing.B) {
	w := newWorld(b)
	a := accessToken(nil)
	for b.Loop() {
		mustAccess(b, w, a)
	}
}

func BenchmarkAuthenticateRS256(b *testing.B) {
	w := newWorld(b)
	raw := mustAccess(b, w, accessToken(api("", "")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.ring.Authenticate(b.Context(), w.tenant, raw, noon); err != nil {
			b.Fatal(err)
		}
	}
}
