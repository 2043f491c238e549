package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// tokens.md §4.3, SEC-79: the protocol claims, each when it is due.
func TestIDTokenClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const head = `{"iss":"https://t1.example:8443/","sub":"auth0|u1","aud":"CID0123456789","iat":1772366400,"exp":1772370000`
	tests := map[string]struct {
		change func(*IDToken)
		want   string
	}{
		"openid alone is tiny (SEC-82)": {func(*IDToken) {}, head + `}`},
		"session":                       {func(i *IDToken) { i.SessionID = "s" }, head + `,"sid":"s"}`},
		"nonce":                         {func(i *IDToken) { i.Nonce = `n"<` }, head + `,"nonce":"n\"\u003c"}`},
		"auth_time is an integer":       {func(i *IDToken) { i.AuthTime = noon.Add(-time.Minute) }, head + `,"auth_time":1772366340}`},
		"second factor":                 {func(i *IDToken) { i.AMR = []string{"mfa"} }, head + `,"amr":["mfa"]}`},
		// OIDC Core appendix A.3 and A.4: hashes beside these values.
		"at_hash": {func(i *IDToken) { i.AccessToken = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y" },
			head + `,"at_hash":"77QmUPtjPfzWtF2AnpK9RQ"}`},
		"c_hash": {func(i *IDToken) { i.Code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk" },
			head + `,"c_hash":"LDktKdoQak3Pk0cnXxCltA"}`},
		"email": {func(i *IDToken) { i.Scopes = []string{"openid", "email"} },
			`{"email":"a@b.example","email_verified":false,` + head[1:] + `}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := idToken()
			tt.change(&i)
			header, claims := parts(t, mustID(t, w, i))
			if want := `{"alg":"RS256","typ":"JWT","kid":"` + w.key(t, familyRSA, tenant.KeyCurrent).Kid + `"}`; header != want {
				t.Errorf("header = %s, want %s", header, want)
			}
			if claims != tt.want {
				t.Errorf("claims = %s\nwant     %s", claims, tt.want)
			}
		})
	}
}

// tokens.md §9: HS256 under the client's newest secret that works; never for a
// public client.
func TestIDTokenHS256(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const newest, older = "newest-secret-of-the-client-0123456789abcdef", "older-secret-of-the-client-0123456789abcdef0"
	encoded := base64.URLEncoding.EncodeToString([]byte(strings.Repeat("raw", 12)))
	secret := func(value string, expires time.Time) tenant.ClientSecret {
		s, err := w.vault.NewClientSecret(t.Context(), w.tenant, client.ID, value)
		if err != nil {
			t.Fatal(err)
		}
		s.ExpiresAt = expires
		return s
	}
	tests := map[string]struct {
		secrets []tenant.ClientSecret
		encoded bool
		want    string
		err     error
	}{
		"newest":         {[]tenant.ClientSecret{secret(newest, time.Time{}), secret(older, noon.Add(time.Hour))}, false, newest, nil},
		"expired at now": {[]tenant.ClientSecret{secret(newest, noon), secret(older, noon.Add(1))}, false, older, nil},
		"encoded":        {[]tenant.ClientSecret{secret(encoded, time.Time{})}, true, strings.Repeat("raw", 12), nil},
		"none":           {nil, false, "", ErrNoKey},
		"dropped":        {[]tenant.ClientSecret{{Hash: "h1.x"}}, false, "", tenant.ErrNotFound},
		"too short":      {[]tenant.ClientSecret{secret("short", time.Time{})}, false, "", jose.ErrKey},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			i := idToken()
			i.Client.JWT = tenant.JWTConfiguration{Alg: "HS256", SecretEncoded: tt.encoded}
			i.Client.Secrets = tt.secrets
			raw, err := w.minter.IDToken(t.Context(), w.tenant, i)
			if tt.err != nil {
				if !errors.Is(err, tt.err) || raw != "" {
					t.Errorf("IDToken = %q, %v, want %v", raw, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if header, _ := parts(t, raw); header != `{"alg":"HS256","typ":"JWT"}` {
				t.Errorf("header = %s, want no kid", header)
			}
			token, err := jose.ParseCompact(raw)
			if err != nil {
				t.Fatal(err)
			}
			key := jose.Key{Secret: jose.Secret(tt.want)}
			if err := key.Verify(jose.HS256, token.SigningInput, token.Signature); err != nil {
				t.Errorf("not signed with %q: %v", tt.want, err)
			}
		})
	}
	i := idToken()
	i.Client.JWT.Alg, i.Client.AuthMethod, i.Client.Secrets = "HS256", "none", []tenant.ClientSecret{secret(newest, time.Time{})}
	if header, _ := parts(t, mustID(t, w, i)); !strings.Contains(header, "RS256") {
		t.Errorf("a public client got %s", header)
	}
}

func TestIDTokenRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := map[string]func(*IDToken){
		"no end":    func(i *IDToken) { i.ExpiresAt = time.Time{} },
		"31 days":   func(i *IDToken) { i.ExpiresAt = i.IssuedAt.Add(31 * 24 * time.Hour) },
		"no user":   func(i *IDToken) { i.User = tenant.User{} },
		"no client": func(i *IDToken) { i.Client = tenant.Client{} },
		"too large": func(i *IDToken) { i.User.Name, i.Scopes = strings.Repeat("n", 9000), []string{"profile"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			i := idToken()
			change(&i)
			if raw, err := w.minter.IDToken(t.Context(), w.tenant, i); err == nil || raw != "" {
				t.Errorf("IDToken = %q, %v, want a refusal", raw, err)
			}
		})
	}
}

func TestHalfHash(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("value"))
	if got, want := halfHash(jose.ES256, "value"), base64.RawURLEncoding.EncodeToString(sum[:16]); got != want {
		t.Errorf("halfHash(ES256) = %s, want %s", got, want)
	}
	if got := halfHash(jose.RS512, "value"); len(got) != 43 {
		t.Errorf("halfHash(RS512) = %s, want half of SHA-512", got)
	}
}

var fullUser = tenant.User{
	ID: "auth0|u1", Email: "zoe@b.example", EmailVerified: true, PhoneNumber: "+4912345", PhoneVerified: true,
	Name: "Zoë", GivenName: "Zoë", FamilyName: "B", Nickname: "z", Picture: "https://p.example/z.png",
	CreatedAt: time.Date(2023, 6, 14, 21, 36, 26, 399e6, time.UTC), UpdatedAt: time.Date(2023, 6, 14, 23, 36, 26, 0, time.FixedZone("", 7200)),
	UserMetadata: json.RawMessage(`{"secret":"m"}`), AppMetadata: json.RawMessage(`{"roles":["x"]}`), Username: "zb",
	Identities: []tenant.Identity{{Connection: "c", UserID: "u1", Provider: "auth0"}},
	Attributes: map[string]json.RawMessage{
		"locale": json.RawMessage(`"de"`), "address": json.RawMessage(`{"country":"DE"}`), "gender": json.RawMessage(`null`),
		"website": json.RawMessage(`broken`), "iss": json.RawMessage(`"https://evil.example/"`), "sub": json.RawMessage(`"admin"`),
		"favorite_color": json.RawMessage(`"red"`),
	},
}

// tokens.md §7: scopes release claims; each claim name is a scope of its own;
// unknown ones release nothing, nor does metadata or an attribute named like a
// protocol claim (SEC-81).
func TestProfileClaims(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ scope, want string }{
		"openid": {"openid", `{}`},
		"none":   {"", `{}`},
		"profile": {"openid profile", `{"name":"Zoë","family_name":"B","given_name":"Zoë","nickname":"z","picture":"https://p.example/z.png",` +
			`"locale":"de","updated_at":"2023-06-14T21:36:26.000Z"}`},
		"email":          {"openid email", `{"email":"zoe@b.example","email_verified":true}`},
		"email_verified": {"email_verified", `{"email_verified":true}`},
		"phone":          {"phone", `{"phone_number":"+4912345","phone_number_verified":true}`},
		"phone_number":   {"phone_number", `{"phone_number":"+4912345"}`},
		"address":        {"address", `{"address":{"country":"DE"}}`},
		"the issue's":    {"openid name email family_name", `{"name":"Zoë","family_name":"B","email":"zoe@b.example","email_verified":true}`},
		"created_at":     {"created_at", `{"created_at":"2023-06-14T21:36:26.399Z"}`},
		"identities":     {"identities", `{"identities":[{"connection":"c","user_id":"u1","provider":"auth0","isSocial":false}]}`},
		"twice":          {"name profile name email", `{"name":"Zoë","family_name":"B","given_name":"Zoë","nickname":"z","picture":"https://p.example/z.png","locale":"de","updated_at":"2023-06-14T21:36:26.000Z","email":"zoe@b.example","email_verified":true}`},
		"not standard":   {"favorite_color user_metadata app_metadata username iss sub roles blocked", `{}`},
		"other case":     {"EMAIL Profile", `{}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(ProfileClaims(fullUser, strings.Fields(tt.scope)))
			if err != nil || string(got) != tt.want {
				t.Errorf("ProfileClaims(%q) = %s, %v\nwant %s", tt.scope, got, err, tt.want)
			}
		})
	}
	if got, _ := json.Marshal(ProfileClaims(tenant.User{ID: "auth0|u2"}, []string{"profile", "email", "phone", "identities", "created_at"})); string(got) != `{}` {
		t.Errorf("claims of an empty profile = %s, want only keys that exist", got)
	}
	got, _ := json.Marshal(UserinfoClaims(fullUser, []string{"openid", "name"}))
	if string(got) != `{"sub":"auth0|u1","name":"Zoë"}` {
		t.Errorf("UserinfoClaims = %s", got)
	}
}

// Every scope that stands for a claim is one that a client may ask for.
func TestClaimNamesAreStandardScopes(t *testing.T) {
	t.Parallel()
	for _, c := range profileClaims {
		if !tenant.StandardScope(c.name) {
			t.Errorf("claim %s is not a scope", c.name)
		}
	}
}
