package grant_test

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// issued is what one login has got: with a family and without.
type issued struct {
	client          tenant.Client
	user            tenant.User
	session         tenant.Session
	api             tenant.ResourceServer
	code, plainCode string
	family, plain   oauth.TokenResponse
}

// SEC-120, SEC-124, SEC-129, SEC-134: every end makes the access tokens that hang
// on it inactive at once, at userinfo, the Management API (both ask Authenticate)
// and introspection; and what does not hang on it lives.
func TestEveryEndDeniesAccessTokens(t *testing.T) {
	t.Parallel()
	deletion := func(f *fixture, t *testing.T, id string) tenant.Deletion {
		ring := token.NewRing(f.store, f.vault)
		tnt := f.tenant(t)
		return tenant.Deletion{
			TenantID: f.tenantID, ID: id, At: f.clock.Now(), Reason: "test", DeniedUntil: f.clock.Now().Add(token.MaxLifetime), Event: f.event(),
			FamilyHash: func(id tenant.FamilyID) string {
				hash, err := ring.AuthorizationHash(t.Context(), tnt, string(id))
				if err != nil {
					t.Error(err)
				}
				return hash
			},
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ends := map[string]struct {
		do func(*fixture, *testing.T, issued)
		// family and plain: which tokens end.
		family, plain bool
	}{
		"nothing": {func(*fixture, *testing.T, issued) {}, false, false},
		"refresh token revoked": {func(f *fixture, t *testing.T, i issued) {
			must(t, f.revoke(t, i.client, i.family.RefreshToken))
		}, true, false},
		"refresh token reused": {func(f *fixture, t *testing.T, i issued) {
			f.mustExchange(t, refreshRequest(i.client, i.family.RefreshToken))
			_, err := f.exchange(t, refreshRequest(i.client, i.family.RefreshToken))
			wantRefused(t, err, "reused")
		}, true, false},
		"code with a family presented again": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.exchange(t, codeRequest(i.client, i.code))
			if e := oauth.AsError(err); e.Reason != "code_reused" {
				t.Fatal(err)
			}
		}, true, false},
		"code without a family presented again": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.exchange(t, codeRequest(i.client, i.plainCode))
			if e := oauth.AsError(err); e.Reason != "code_reused" {
				t.Fatal(err)
			}
		}, false, true},
		"families revoked by an administrator": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.store.RevokeFamilies(t.Context(), tenant.RefreshTokenFilter{UserID: i.user.ID}, deletion(f, t, ""), 99)
			must(t, err)
		}, true, false},
		"session revoked with what came from it": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.store.EndSessions(t.Context(), tenant.SessionEnd{
				Deletion: deletion(f, t, ""), Filter: tenant.SessionFilter{ID: i.session.ID}, WithFamilies: true, Limit: 9})
			must(t, err)
		}, true, true},
		"consent withdrawn": {func(f *fixture, t *testing.T, i issued) {
			must(t, f.store.DeleteConsents(t.Context(), f.tenantID, tenant.ConsentFilter{UserID: i.user.ID}, deletion(f, t, "")))
		}, true, true},
		"revoked, and the tenant deletes the consent with it": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.store.UpdateSettings(t.Context(), f.tenantID, func(s tenant.Settings) (tenant.Settings, error) {
				s.Flags.RevokeRefreshTokenGrant = true
				s.Document = []byte(`{"flags":{"revoke_refresh_token_grant":true}}`)
				return s, nil
			}, f.event())
			must(t, err)
			must(t, f.revoke(t, i.client, i.family.RefreshToken))
		}, true, true},
		"evicted": {func(f *fixture, t *testing.T, i issued) {
			_, err := f.store.UpdateSettings(t.Context(), f.tenantID, func(s tenant.Settings) (tenant.Settings, error) {
				s.RefreshTokenLimit = 1
				s.Document = []byte(`{"refresh_token_limit":1}`)
				return s, nil
			}, f.event())
			must(t, err)
			f.clock.Advance(time.Millisecond)
			f.loginTo(t, i.client, i.user, audience)
		}, true, false},
		"user blocked": {func(f *fixture, t *testing.T, i issued) {
			f.changeUser(t, i.user.ID, func(u *tenant.User) { u.Blocked = true })
		}, true, true},
		"user blocked and unblocked": {func(f *fixture, t *testing.T, i issued) {
			f.changeUser(t, i.user.ID, func(u *tenant.User) { u.Blocked = true })
			f.changeUser(t, i.user.ID, func(u *tenant.User) { u.Blocked = false })
		}, true, true},
		"user deleted": {func(f *fixture, t *testing.T, i issued) {
			must(t, f.store.DeleteUser(t.Context(), deletion(f, t, i.user.ID)))
		}, true, true},
		"client deleted": {func(f *fixture, t *testing.T, i issued) {
			must(t, f.store.DeleteClient(t.Context(), deletion(f, t, i.client.ID)))
		}, true, true},
		"API deleted": {func(f *fixture, t *testing.T, i issued) {
			must(t, f.store.DeleteResourceServer(t.Context(), deletion(f, t, i.api.ID)))
		}, true, true},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			cast := func() issued {
				i := issued{client: f.client(t, nil), user: f.user(t)}
				i.session = f.session(t, i.user)
				consent := tenant.Consent{
					TenantID: f.tenantID, ID: f.name("consent"), UserID: i.user.ID, ClientID: i.client.ID, Audience: audience,
					Scopes: []string{"openid"}, CreatedAt: noon, UpdatedAt: noon,
				}
				must(t, f.store.Answer(t.Context(), tenant.Grant{
					TenantID: f.tenantID, At: noon, Guard: tenant.Guard{ConfigVersion: f.tenant(t).ConfigVersion}, Consent: &consent}))
				with := func(scopes ...string) func(*tenant.Code) {
					return func(c *tenant.Code) {
						c.Audience, c.Scopes, c.SessionID, c.ConsentID = audience, scopes, i.session.ID, consent.ID
					}
				}
				i.code = f.code(t, i.client, i.user, with("openid", "offline_access"))
				i.plainCode = f.code(t, i.client, i.user, with("openid"))
				i.family, i.plain = f.mustExchange(t, codeRequest(i.client, i.code)), f.mustExchange(t, codeRequest(i.client, i.plainCode))
				return i
			}
			api := f.api(t, audience, nil)
			i, bystander := cast(), cast()
			i.api = api
			reader := f.resourceServerClient(t, audience)
			tt.do(f, t, i)
			for what, x := range map[string]struct {
				value string
				ended bool
			}{"of the family": {i.family.AccessToken, tt.family}, "without a family": {i.plain.AccessToken, tt.plain}} {
				if got := f.active(t, x.value); got == x.ended {
					t.Errorf("access token %s: active = %v", what, got)
				}
				if got := f.introspect(t, reader, x.value); (got == notActive) != x.ended {
					t.Errorf("access token %s, introspected: %s", what, got)
				}
				if _, err := f.Userinfo(t.Context(), f.tenant(t), x.value); (err != nil) != x.ended {
					t.Errorf("access token %s at userinfo: %v", what, err)
				}
			}
			if name == "API deleted" {
				return
			}
			for _, value := range []string{bystander.family.AccessToken, bystander.plain.AccessToken} {
				if !f.active(t, value) {
					t.Error("somebody else's access token has ended too")
				}
			}
		})
	}
}

// SEC-111, SEC-124: what a move to rotation drops, ends with its access tokens.
func TestDroppedSiblingsDenied(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) {
		c.Refresh = tenant.RefreshPolicy{RotationType: "non-rotating", ExpirationType: "non-expiring"}
	})
	u := f.user(t)
	first, second := f.login(t, c, u), f.login(t, c, u)
	f.changeClient(t, c.ID, func(c *tenant.Client) {
		c.Refresh = tenant.RefreshPolicy{RotationType: "rotating", ExpirationType: "expiring", TokenLifetimeSeconds: 1000, IdleTokenLifetimeSeconds: 1000}
	})
	if !f.active(t, second.AccessToken) {
		t.Fatal("it ended too early")
	}
	next := f.mustExchange(t, refreshRequest(c, first.RefreshToken))
	if f.active(t, second.AccessToken) {
		t.Error("an access token of the dropped family is active")
	}
	if !f.active(t, first.AccessToken) || !f.active(t, next.AccessToken) {
		t.Error("an access token of the family that stayed is not active")
	}
	f.wantEvents(t, []string{"srrt"}, "srrt rotation_enabled")
}

// SEC-134: a consent taken back and given again in the same second: what came of
// the first has ended, what comes of the second counts.
func TestConsentGivenAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c, u := f.client(t, nil), f.user(t)
	plain := func() oauth.TokenResponse {
		return f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Audience, code.Scopes = audience, []string{"openid"} })))
	}
	before := plain()
	ring := token.NewRing(f.store, f.vault)
	err := f.store.RevokeFamily(t.Context(), tenant.Revocation{
		TenantID: f.tenantID, ID: f.family(t, f.loginTo(t, c, u, audience).RefreshToken).ID, At: f.clock.Now(), Reason: "test",
		DeniedUntil: f.clock.Now().Add(time.Hour), DeleteConsent: true, Event: f.event(),
		FamilyHash: func(id tenant.FamilyID) string {
			hash, err := ring.AuthorizationHash(t.Context(), f.tenant(t), string(id))
			if err != nil {
				t.Error(err)
			}
			return hash
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.active(t, before.AccessToken) {
		t.Error("the access token of the first consent is active")
	}
	if !f.active(t, plain().AccessToken) {
		t.Error("the access token of the second consent is not active")
	}
}
