package grant_test

import (
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

func TestCodeExchange(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c, u := f.client(t, nil), f.user(t)
	session := f.session(t, u)
	got := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) {
		code.Audience, code.SessionID, code.Scopes = audience, session.ID, []string{"openid", "email", "read:x", "gone:x", "offline_access"}
	})))
	if got.Scope != "openid email read:x offline_access" || got.ExpiresIn != 600 || got.IDToken == "" || got.RefreshToken == "" {
		t.Errorf("answer is %+v", got)
	}
	claims, err := f.Authenticate(t.Context(), f.tenant(t), got.AccessToken)
	if err != nil || claims.Subject != u.ID || claims.GrantType != "" || len(claims.Audience) != 2 {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	family := f.family(t, got.RefreshToken)
	if family.SessionID != session.ID || family.Audience != audience || !family.Rotating || family.UserID != u.ID ||
		!family.ExpiresAt.Equal(noon.Add(2592000*time.Second)) || !family.IdleExpiresAt.Equal(noon.Add(1296000*time.Second)) ||
		family.Device.InitialIP != origin.IP || family.GrantType != oauth.GrantAuthorizationCode {
		t.Errorf("family is %+v", family)
	}
	f.wantEvents(t, []string{"seacft"}, "seacft issued")
}

// SEC-109: without a refresh token offline_access is not granted.
func TestCodeWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, func(r *tenant.ResourceServer) { r.AllowOfflineAccess = false })
	c, u := f.client(t, nil), f.user(t)
	got := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Audience = audience })))
	if got.RefreshToken != "" || got.Scope != "openid email" {
		t.Errorf("answer is %+v", got)
	}
}

// SEC-49, SEC-51: each binding refuses alone; only a wrong verifier uses the code up.
func TestCodeBindings(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other, u := f.client(t, nil), f.client(t, nil), f.user(t)
	const invalid = "Invalid authorization code"
	tests := map[string]struct {
		change      func(*oauth.TokenRequest)
		status      int
		code        string
		description string
		reason      string
		spent       bool
	}{
		"no code":        {func(r *oauth.TokenRequest) { r.Code = "" }, 400, oauth.InvalidRequest, "Missing required parameter: code", "missing_parameter", false},
		"unknown code":   {func(r *oauth.TokenRequest) { r.Code += "x" }, 403, oauth.InvalidGrant, invalid, "unknown_code", false},
		"another client": {func(r *oauth.TokenRequest) { r.Client = credentials(other) }, 403, oauth.InvalidGrant, invalid, "wrong_client", false},
		"another redirect URI": {func(r *oauth.TokenRequest) { r.RedirectURI = callback + "/" }, 403, oauth.UnauthorizedClient,
			"The redirect URI is wrong. You sent https://app.example, and we expected https://app.example", "wrong_redirect_uri", false},
		"no redirect URI": {func(r *oauth.TokenRequest) { r.RedirectURI = "" }, 400, oauth.InvalidRequest, "Missing required parameter: redirect_uri", "missing_parameter", false},
		"no verifier":     {func(r *oauth.TokenRequest) { r.CodeVerifier = "" }, 400, oauth.InvalidRequest, "Missing required parameter: code_verifier", "missing_parameter", false},
		"wrong verifier":  {func(r *oauth.TokenRequest) { r.CodeVerifier = challenge }, 403, oauth.InvalidGrant, "Failed to verify code verifier", "wrong_verifier", true},
		"short verifier":  {func(r *oauth.TokenRequest) { r.CodeVerifier = "short" }, 403, oauth.InvalidGrant, "Failed to verify code verifier", "wrong_verifier", true},
		"refresh value as a code (SEC-47)": {func(r *oauth.TokenRequest) {
			r.Code = "brt_AAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		}, 403, oauth.InvalidGrant, invalid, "unknown_code", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			right := codeRequest(c, f.code(t, c, u, nil))
			wrong := right
			tt.change(&wrong)
			_, err := f.exchange(t, wrong)
			wantError(t, err, tt.status, tt.code, tt.description, tt.reason)
			_, err = f.exchange(t, right)
			if tt.spent {
				wantError(t, err, 403, oauth.InvalidGrant, invalid, "code_reused")
			} else if err != nil {
				t.Errorf("the right request after it: %v", err)
			}
		})
	}
	t.Run("verifier without a challenge (SEC-57)", func(t *testing.T) {
		value := f.code(t, c, u, func(code *tenant.Code) { code.CodeChallenge, code.CodeChallengeMethod = "", "" })
		_, err := f.exchange(t, codeRequest(c, value))
		wantError(t, err, 403, oauth.InvalidGrant, "Failed to verify code verifier", "wrong_verifier")
	})
	t.Run("no redirect URI in either request", func(t *testing.T) {
		r := codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.RedirectURISent = false }))
		r.RedirectURI = ""
		f.mustExchange(t, r)
	})
}

// SEC-48, REL-28: dead at its deadline.
func TestCodeExpires(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	first, second := f.code(t, c, u, nil), f.code(t, c, u, nil)
	f.clock.Advance(time.Minute - time.Millisecond)
	f.mustExchange(t, codeRequest(c, first))
	f.clock.Advance(time.Millisecond)
	_, err := f.exchange(t, codeRequest(c, second))
	wantError(t, err, 403, oauth.InvalidGrant, "Invalid authorization code", "code_expired")
}

// SEC-52: what the login rests on is looked at again.
func TestCodeStateIsRechecked(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, nil)
	const invalid = "Invalid authorization code"
	t.Run("blocked", func(t *testing.T) {
		u := f.user(t)
		value := f.code(t, c, u, nil)
		f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
		_, err := f.exchange(t, codeRequest(c, value))
		wantError(t, err, 403, oauth.Unauthorized, "user is blocked", "user_blocked")
	})
	t.Run("deleted", func(t *testing.T) {
		u := f.user(t)
		value := f.code(t, c, u, nil)
		if err := f.store.DeleteUser(t.Context(), tenant.Deletion{TenantID: f.tenantID, ID: u.ID, At: noon, Event: f.event()}); err != nil {
			t.Fatal(err)
		}
		_, err := f.exchange(t, codeRequest(c, value))
		if e := oauth.AsError(err); e.Code != oauth.InvalidGrant || e.Description != invalid {
			t.Errorf("code of a deleted user: %v", err)
		}
	})
	t.Run("logged out", func(t *testing.T) {
		u := f.user(t)
		session := f.session(t, u)
		value := f.code(t, c, u, func(code *tenant.Code) { code.SessionID = session.ID })
		if err := f.store.EndSession(t.Context(), f.tenantID, session.ID, f.event()); err != nil {
			t.Fatal(err)
		}
		_, err := f.exchange(t, codeRequest(c, value))
		wantError(t, err, 403, oauth.InvalidGrant, invalid, "session_ended")
	})
	t.Run("consent withdrawn", func(t *testing.T) {
		u := f.user(t)
		value := f.code(t, c, u, func(code *tenant.Code) { code.ConsentID = "65a0000000000000000000aa" })
		_, err := f.exchange(t, codeRequest(c, value))
		wantError(t, err, 403, oauth.InvalidGrant, invalid, "consent_withdrawn")
	})
}

// SEC-50: a second presentation ends what the first was given.
func TestCodeReuse(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	for name, offline := range map[string]bool{"with a family": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			value := f.code(t, c, u, func(code *tenant.Code) {
				if !offline {
					code.Scopes = []string{"openid"}
				}
			})
			got := f.mustExchange(t, codeRequest(c, value))
			if !f.active(t, got.AccessToken) {
				t.Fatal("a new access token is not active")
			}
			f.clock.Advance(2 * time.Minute) // a late replay
			_, err := f.exchange(t, codeRequest(c, value))
			wantError(t, err, 403, oauth.InvalidGrant, "Invalid authorization code", "code_reused")
			if f.active(t, got.AccessToken) {
				t.Error("the access token of the first exchange is active")
			}
			if offline {
				_, err = f.exchange(t, refreshRequest(c, got.RefreshToken))
				wantError(t, err, 403, oauth.InvalidGrant, "Unknown or invalid refresh token.", "code_reused")
			}
		})
	}
}

// SEC-50, REL-7: of 64 redemptions at once one succeeds.
func TestCodeRace(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	value := f.code(t, c, u, nil)
	now := f.tenant(t)
	var wg sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		wg.Go(func() { _, errs[i] = f.Exchange(t.Context(), now, codeRequest(c, value), origin) })
	}
	wg.Wait()
	granted := 0
	for _, err := range errs {
		if err == nil {
			granted++
		} else if e := oauth.AsError(err); e.Code != oauth.InvalidGrant {
			t.Errorf("a loser hears %v", err)
		}
	}
	if granted != 1 {
		t.Errorf("%d redemptions succeeded, want 1", granted)
	}
}

// D4: a commit of unknown outcome is settled by reading.
func TestCodeUnknownOutcome(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	value := f.code(t, c, u, nil)
	f.faults.fail("", "RedeemCode")
	got := f.mustExchange(t, codeRequest(c, value))
	f.faults.fail("", "")
	f.mustExchange(t, refreshRequest(c, got.RefreshToken))
	hash := token.Hash(value)
	if code, err := f.store.Code(t.Context(), f.tenantID, hash); err != nil || code.RedeemedAt.IsZero() {
		t.Errorf("code is %+v, %v", code, err)
	}
}
