package grant_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// resourceServerClient is the API itself, as a client (management-endpoints.md §1).
func (f *fixture) resourceServerClient(t testing.TB, identifier string) tenant.Client {
	t.Helper()
	return f.client(t, func(c *tenant.Client) {
		c.AppType, c.ResourceServerIdentifier, c.GrantTypes = "resource_server", identifier, nil
	})
}

// loginTo is a login for an API.
func (f *fixture) loginTo(t testing.TB, c tenant.Client, u tenant.User, audience string) oauth.TokenResponse {
	t.Helper()
	return f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) {
		code.Audience, code.Scopes = audience, []string{"openid", "read:x", "offline_access"}
	})))
}

// introspect is the answer as it stands on the wire.
func (f *fixture) introspect(t testing.TB, c tenant.Client, value string) string {
	t.Helper()
	resp, err := f.Introspect(t.Context(), f.tenant(t), oauth.IntrospectionRequest{Client: credentials(c), Token: value}, origin)
	if err != nil {
		t.Fatalf("introspect: %v", err)
	}
	body, err := json.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const notActive = `{"active":false}`

// SEC-131: who hears about whose token; all others hear the same.
func TestIntrospectAudience(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	f.api(t, "https://other.example/", nil)
	owner, stranger, u := f.client(t, nil), f.client(t, nil), f.user(t)
	api, otherAPI := f.resourceServerClient(t, audience), f.resourceServerClient(t, "https://other.example/")
	unlinked := f.resourceServerClient(t, "")
	pretender := f.client(t, func(c *tenant.Client) { c.ResourceServerIdentifier = audience }) // a web application that says so
	granted := f.client(t, nil)
	f.grantTo(t, granted.ID, audience, "read:x")

	jwt, opaque := f.loginTo(t, owner, u, audience), f.login(t, owner, u)
	machine := f.mustExchange(t, oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(granted), Audience: audience})
	tokens := map[string]struct {
		value string
		full  []tenant.Client
	}{
		"access token of an API":       {jwt.AccessToken, []tenant.Client{owner, api}},
		"opaque access token":          {opaque.AccessToken, []tenant.Client{owner}},
		"refresh token":                {jwt.RefreshToken, []tenant.Client{owner}},
		"access token of a machine":    {machine.AccessToken, []tenant.Client{granted, api}},
		"ID token":                     {jwt.IDToken, nil},
		"nonsense":                     {"x", nil},
		"a part of an access token":    {jwt.AccessToken[:len(jwt.AccessToken)-1], nil},
		"a part of a refresh token":    {jwt.RefreshToken[:60], nil},
		"a changed refresh token":      {jwt.RefreshToken[:40] + "--" + jwt.RefreshToken[42:], nil},
		"access token with whitespace": {jwt.AccessToken + " ", nil},
	}
	for name, tt := range tokens {
		for _, caller := range []tenant.Client{owner, stranger, api, otherAPI, unlinked, pretender, granted} {
			want := false
			for _, c := range tt.full {
				want = want || c.ID == caller.ID
			}
			if got := f.introspect(t, caller, tt.value); (got != notActive) != want {
				t.Errorf("%s, asked by %s (%s): %s, want active = %v", name, caller.ID, caller.AppType, got, want)
			}
		}
	}
	got := f.introspect(t, api, jwt.AccessToken)
	var claims map[string]any
	if err := json.Unmarshal([]byte(got), &claims); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"active": true, "iss": "https://localhost:8443/", "sub": u.ID, "client_id": owner.ID, "scope": "openid read:x offline_access",
		"token_type": "Bearer", "iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 600),
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	refresh := f.introspect(t, owner, jwt.RefreshToken)
	if err := json.Unmarshal([]byte(refresh), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["aud"] != audience || claims["exp"] != float64(noon.Add(1296000*time.Second).Unix()) {
		t.Errorf("a refresh token's answer is %s", refresh)
	}
}

// SEC-131: without a credential of one's own there is no answer at all.
func TestIntrospectAuthentication(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	public := f.client(t, func(c *tenant.Client) { c.AuthMethod, c.AppType = oauth.AuthNone, "native" })
	value := f.login(t, public, u).AccessToken
	wrong := credentials(c)
	wrong.Secret = "wrong"
	for name, a := range map[string]oauth.ClientAuthentication{
		"public client": credentials(public), "wrong secret": wrong,
		"no secret": {Method: oauth.AuthNone, ClientID: c.ID}, "unknown": {Method: oauth.AuthSecretPost, ClientID: "unknown", Secret: secret},
	} {
		_, err := f.Introspect(t.Context(), f.tenant(t), oauth.IntrospectionRequest{Client: a, Token: value}, origin)
		if e := oauth.AsError(err); err == nil || e.Status != 401 || e.Code != oauth.InvalidClient || e.Description != "Client authentication failed." {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := f.Introspect(t.Context(), f.tenant(t), oauth.IntrospectionRequest{Client: credentials(c)}, origin)
	wantError(t, err, 400, oauth.InvalidRequest, "Missing required parameter: token", "missing_parameter")
}

// SEC-132, SEC-129, SEC-134: active is what holds now.
func TestIntrospectReflectsNow(t *testing.T) {
	t.Parallel()
	ends := map[string]struct {
		end func(*fixture, *testing.T, tenant.Client, tenant.User, oauth.TokenResponse)
		// refresh: the refresh token has ended too.
		refresh bool
	}{
		"nothing": {func(*fixture, *testing.T, tenant.Client, tenant.User, oauth.TokenResponse) {}, false},
		"access token expired": {func(f *fixture, _ *testing.T, _ tenant.Client, _ tenant.User, _ oauth.TokenResponse) {
			f.clock.Advance(600 * time.Second)
		}, false},
		"refresh token revoked": {func(f *fixture, t *testing.T, c tenant.Client, _ tenant.User, r oauth.TokenResponse) {
			if err := f.revoke(t, c, r.RefreshToken); err != nil {
				t.Fatal(err)
			}
		}, true},
		"refresh token expired": {func(f *fixture, _ *testing.T, _ tenant.Client, _ tenant.User, _ oauth.TokenResponse) {
			f.clock.Advance(1296000 * time.Second)
		}, true},
		"user blocked": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User, _ oauth.TokenResponse) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
		}, true},
		"user deleted": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User, _ oauth.TokenResponse) {
			if err := f.store.DeleteUser(t.Context(), tenant.Deletion{TenantID: f.tenantID, ID: u.ID, At: f.clock.Now(), Event: f.event()}); err != nil {
				t.Fatal(err)
			}
		}, true},
		"API deleted": {func(f *fixture, t *testing.T, _ tenant.Client, _ tenant.User, _ oauth.TokenResponse) {
			api, err := f.store.ResourceServer(t.Context(), f.tenant(t), audience)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.store.DeleteResourceServer(t.Context(), tenant.Deletion{TenantID: f.tenantID, ID: api.ID, At: f.clock.Now(), Event: f.event()}); err != nil {
				t.Fatal(err)
			}
		}, true},
		"client lost the grant": {func(f *fixture, t *testing.T, c tenant.Client, _ tenant.User, _ oauth.TokenResponse) {
			f.changeClient(t, c.ID, func(c *tenant.Client) { c.GrantTypes = []string{oauth.GrantAuthorizationCode} })
			f.clock.Advance(600 * time.Second)
		}, true},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			f.api(t, audience, nil)
			c, u := f.client(t, nil), f.user(t)
			got := f.loginTo(t, c, u, audience)
			tt.end(f, t, c, u, got)
			if answer := f.introspect(t, c, got.AccessToken); (answer == notActive) != (name != "nothing") {
				t.Errorf("access token: %s", answer)
			}
			if answer := f.introspect(t, c, got.RefreshToken); (answer == notActive) != tt.refresh {
				t.Errorf("refresh token: %s", answer)
			}
		})
	}
}

// SEC-123: a value that was rotated is not active, and asking ends nobody's family.
func TestIntrospectOldValue(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	old := f.login(t, c, u).RefreshToken
	live := f.mustExchange(t, refreshRequest(c, old)).RefreshToken
	if got := f.introspect(t, c, old); got != notActive {
		t.Errorf("an old value: %s", got)
	}
	f.mustExchange(t, refreshRequest(c, live))
}

// SEC-2: a fault of ours is never "inactive".
func TestIntrospectFaults(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	got := f.login(t, c, u)
	for call, value := range map[string]string{"Denied": got.AccessToken, "Mark": got.AccessToken, "User": got.RefreshToken, "RefreshToken": got.RefreshToken} {
		f.faults.fail(call, "")
		_, err := f.Introspect(t.Context(), f.tenant(t), oauth.IntrospectionRequest{Client: credentials(c), Token: value}, origin)
		f.faults.fail("", "")
		wantUnavailable(t, err)
	}
}
