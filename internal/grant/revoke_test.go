package grant_test

import (
	"errors"
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func (f *fixture) revoke(t testing.TB, c tenant.Client, value string) error {
	t.Helper()
	return f.Revoke(t.Context(), f.tenant(t), oauth.RevocationRequest{Client: credentials(c), Token: value}, origin)
}

// SEC-126 to SEC-129: any genuine value of the family ends it, for its own client.
func TestRevoke(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other, u := f.client(t, nil), f.client(t, nil), f.user(t)
	public := f.client(t, func(c *tenant.Client) { c.AuthMethod, c.AppType = oauth.AuthNone, "native" })
	for name, pick := range map[string]func(old, live string) string{
		"the live value": func(_, live string) string { return live },
		"an old value":   func(old, _ string) string { return old },
	} {
		t.Run(name, func(t *testing.T) {
			old := f.login(t, c, u).RefreshToken
			got := f.mustExchange(t, refreshRequest(c, f.mustExchange(t, refreshRequest(c, old)).RefreshToken))
			bystander := f.login(t, c, u).RefreshToken
			if err := f.revoke(t, other, pick(old, got.RefreshToken)); err != nil {
				t.Fatalf("another client's revocation: %v, want nil and no effect", err)
			}
			if f.family(t, got.RefreshToken).RevokedAt != (tenant.RefreshToken{}).RevokedAt {
				t.Fatal("another client has ended the family")
			}
			if err := f.revoke(t, c, pick(old, got.RefreshToken)); err != nil {
				t.Fatal(err)
			}
			_, err := f.exchange(t, refreshRequest(c, got.RefreshToken))
			wantRefused(t, err, "revoked_by_client")
			_, err = f.exchange(t, refreshRequest(c, old))
			wantRefused(t, err, "revoked_by_client")
			if f.active(t, got.AccessToken) {
				t.Error("an access token of the family is active")
			}
			if err := f.revoke(t, c, got.RefreshToken); err != nil {
				t.Errorf("again: %v", err)
			}
			f.mustExchange(t, refreshRequest(c, bystander))
		})
	}
	mobile := f.login(t, public, u).RefreshToken
	if err := f.revoke(t, public, mobile); err != nil {
		t.Errorf("public client: %v", err)
	}
	access := f.login(t, c, u).AccessToken
	for name, value := range map[string]string{"nonsense": "x", "an access token": access, "a part": mobile[:30]} {
		if err := f.revoke(t, c, value); err != nil {
			t.Errorf("%s: %v, want nil (RFC 7009 §2.2)", name, err)
		}
	}
	if !f.active(t, access) {
		t.Error("an access token was revoked")
	}
	wantError(t, f.revoke(t, c, ""), 400, oauth.InvalidRequest, "Missing required parameter: token", "missing_parameter")
	bad := oauth.RevocationRequest{Client: oauth.ClientAuthentication{Method: oauth.AuthSecretPost, ClientID: c.ID, Secret: "x"}, Token: "x"}
	wantError(t, f.Revoke(t.Context(), f.tenant(t), bad, origin), 401, oauth.InvalidClient, "Client authentication failed.", "wrong_secret")
	f.wantEvents(t, []string{"srrt"}, "srrt revoked_by_client", "srrt revoked_by_client", "srrt revoked_by_client")
	foreign := 0
	for _, e := range f.events(t, "fertft") {
		if e.Reason == "wrong_client" && e.ClientID == other.ID {
			foreign++
		}
	}
	if foreign != 2 {
		t.Errorf("%d tries of another client are logged, want 2", foreign)
	}
}

// refresh-tokens.md §9.2: where the tenant says so, the grant goes with it.
func TestRevokeDeletesGrant(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, err := f.store.UpdateSettings(t.Context(), f.tenantID, func(s tenant.Settings) (tenant.Settings, error) {
		s.Flags.RevokeRefreshTokenGrant, s.Document = true, []byte(`{"flags":{"revoke_refresh_token_grant":true}}`)
		return s, nil
	}, f.event())
	if err != nil {
		t.Fatal(err)
	}
	c, u := f.client(t, nil), f.user(t)
	first, second := f.login(t, c, u), f.login(t, c, u)
	elsewhere := f.login(t, c, f.user(t))
	if err := f.revoke(t, c, first.RefreshToken); err != nil {
		t.Fatal(err)
	}
	if _, err := f.exchange(t, refreshRequest(c, second.RefreshToken)); oauth.AsError(err).Description != unknownRefresh {
		t.Errorf("a sibling: %v", err)
	}
	if f.active(t, second.AccessToken) {
		t.Error("an access token of a sibling is active")
	}
	f.mustExchange(t, refreshRequest(c, elsewhere.RefreshToken))
}

// SEC-127: success means durable; a fault is said to be one.
func TestRevokeFault(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, nil)
	value := f.login(t, c, f.user(t)).RefreshToken
	for _, call := range []string{"Client", "RefreshToken", "RevokeFamily"} {
		f.faults.fail(call, "")
		wantUnavailable(t, f.revoke(t, c, value))
	}
	f.faults.fail("", "")
	f.mustExchange(t, refreshRequest(c, value))
}

// OIDC Core §5.3, tokens.md §2 and §7.3.
func TestUserinfo(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	f.api(t, "https://hmac/", func(r *tenant.ResourceServer) {
		sealed, err := f.vault.SealSigningSecret(t.Context(), f.tenant(t), r.ID, "an HS256 secret of 32 bytes or more")
		if err != nil {
			t.Fatal(err)
		}
		r.SigningAlg, r.SigningSecret = "HS256", sealed
	})
	c, u := f.client(t, nil), f.user(t)
	f.grantTo(t, c.ID, audience, "read:x")
	tokenFor := func(audience string, scopes ...string) string {
		return f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Audience, code.Scopes = audience, scopes }))).AccessToken
	}
	f.changeUser(t, u.ID, func(u *tenant.User) { u.Name = "Grace" })
	for name, tt := range map[string]struct{ raw, want string }{
		"opaque": {tokenFor("", "openid", "email"), `{"sub":"` + u.ID + `","email":"` + u.Email + `","email_verified":true}`},
		"JWT":    {tokenFor(audience, "openid", "name", "read:x"), `{"sub":"` + u.ID + `","name":"Grace"}`},
	} {
		got, err := f.Userinfo(t.Context(), f.tenant(t), tt.raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := got.Claims.MarshalJSON()
		if err != nil || string(body) != tt.want || got.ClientID != c.ID {
			t.Errorf("%s: %s for %q, want %s", name, body, got.ClientID, tt.want)
		}
	}
	_, err := f.Userinfo(t.Context(), f.tenant(t), tokenFor("", "email"))
	wantError(t, err, 403, oauth.InsufficientScope, "The access token lacks the scope openid.", "")
	machine := f.mustExchange(t, oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c), Audience: audience}).AccessToken
	login := f.login(t, c, u)
	for name, raw := range map[string]string{
		"nonsense": "x", "empty": "", "ID token": login.IDToken, "refresh token": login.RefreshToken, "machine's": machine,
		"for an API without openid": tokenFor(audience, "read:x"), "HS256": tokenFor("https://hmac/", "openid"), "cut": login.AccessToken[:50],
	} {
		_, err := f.Userinfo(t.Context(), f.tenant(t), raw)
		if e := oauth.AsError(err); e.Status != 401 || e.Code != oauth.InvalidToken || e.Description != "Unauthorized" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SEC-129, SEC-133: what ends a right ends the access tokens at our endpoints at once.
func TestAuthenticateState(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	deletion := func(id string) tenant.Deletion {
		return tenant.Deletion{TenantID: f.tenantID, ID: id, At: f.clock.Now(), Event: f.event()}
	}
	tests := map[string]func(t *testing.T, c tenant.Client, u tenant.User, g tenant.ClientGrant) (machine bool, err error){
		"user blocked": func(t *testing.T, _ tenant.Client, u tenant.User, _ tenant.ClientGrant) (bool, error) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
			return false, nil
		},
		"user deleted": func(t *testing.T, _ tenant.Client, u tenant.User, _ tenant.ClientGrant) (bool, error) {
			return false, f.store.DeleteUser(t.Context(), deletion(u.ID))
		},
		"client deleted": func(t *testing.T, c tenant.Client, _ tenant.User, _ tenant.ClientGrant) (bool, error) {
			return false, f.store.DeleteClient(t.Context(), deletion(c.ID))
		},
		"machine's client deleted": func(t *testing.T, c tenant.Client, _ tenant.User, _ tenant.ClientGrant) (bool, error) {
			return true, f.store.DeleteClient(t.Context(), deletion(c.ID))
		},
		"client grant deleted": func(t *testing.T, _ tenant.Client, _ tenant.User, g tenant.ClientGrant) (bool, error) {
			return true, f.store.DeleteClientGrant(t.Context(), deletion(g.ID))
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			c, u := f.client(t, nil), f.user(t)
			g := f.grantTo(t, c.ID, audience, "read:x")
			user := f.login(t, c, u).AccessToken
			machine := f.mustExchange(t, oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c), Audience: audience}).AccessToken
			if !f.active(t, user) || !f.active(t, machine) {
				t.Fatal("new tokens are not active")
			}
			ofMachine, err := end(t, c, u, g)
			if err != nil {
				t.Fatal(err)
			}
			raw := user
			if ofMachine {
				raw = machine
			}
			if _, err := f.Authenticate(t.Context(), f.tenant(t), raw); !errors.Is(err, tenant.ErrTokenInactive) {
				t.Errorf("Authenticate: %v, want inactive", err)
			}
		})
	}
}
