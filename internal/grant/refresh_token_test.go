package grant_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

const unknownRefresh = "Unknown or invalid refresh token."

func wantRefused(t testing.TB, err error, reason string) {
	t.Helper()
	wantError(t, err, 403, oauth.InvalidGrant, unknownRefresh, reason)
}

// idClaims are the claims of an ID token; its signature is not this test's matter.
func idClaims(t testing.TB, raw string) map[string]any {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// refresh-tokens.md §8.1, SEC-125.
func TestRefresh(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	session := f.session(t, u)
	first := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) {
		code.SessionID, code.WithAuthTime = session.ID, true
	})))
	if got := idClaims(t, first.IDToken); got["nonce"] != "n-1" || got["auth_time"] != float64(noon.Unix()) || got["sid"] != session.ID {
		t.Errorf("ID token of the login has %v", got)
	}
	f.clock.Advance(time.Hour)
	f.changeUser(t, u.ID, func(u *tenant.User) { u.Email = "new@example.com" })
	second := f.mustExchange(t, refreshRequest(c, first.RefreshToken))
	if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken || second.Scope != "openid email offline_access" {
		t.Errorf("answer is %+v", second)
	}
	got := idClaims(t, second.IDToken)
	if _, has := got["nonce"]; has || got["auth_time"] != float64(noon.Unix()) || got["sid"] != session.ID || got["email"] != "new@example.com" {
		t.Errorf("ID token of the refresh has %v", got)
	}
	claims, err := f.Authenticate(t.Context(), f.tenant(t), second.AccessToken)
	if err != nil || claims.GrantType != "refresh_token" || !claims.IssuedAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	f.wantEvents(t, []string{"sertft"}, "sertft rotated")
}

// SEC-106, SEC-123: only the whole value counts, and no near miss ends anybody's session.
func TestRefreshNearMisses(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	value := f.login(t, c, u).RefreshToken
	for _, near := range []string{
		value[:len(value)-1], value[1:], value + "A", value + "\n", " " + value, strings.ToUpper(value), value + "=",
		value[:20] + "\n" + value[20:], strings.Replace(value, "brt_", "rt_", 1), value[:40] + "A" + value[41:], "brt_",
	} {
		if near == value {
			continue
		}
		_, err := f.exchange(t, refreshRequest(c, near))
		wantRefused(t, err, "unknown")
	}
	_, err := f.exchange(t, refreshRequest(c, ""))
	wantError(t, err, 400, oauth.InvalidRequest, "Missing required parameter: refresh_token", "missing_parameter")
	f.mustExchange(t, refreshRequest(c, value))
}

// SEC-108: another client's try changes nothing for the owner and is logged.
func TestRefreshWrongClient(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other, u := f.client(t, nil), f.client(t, nil), f.user(t)
	old := f.login(t, c, u).RefreshToken
	live := f.mustExchange(t, refreshRequest(c, old)).RefreshToken
	for _, value := range []string{old, live} {
		_, err := f.exchange(t, refreshRequest(other, value))
		wantRefused(t, err, "wrong_client")
	}
	f.mustExchange(t, refreshRequest(c, live))
	for _, e := range f.events(t, "fertft") {
		if e.ClientID != other.ID || e.FamilyID == "" || e.UserID != u.ID || e.Details["latestCounter"] == nil {
			t.Errorf("event is %+v", e)
		}
	}
}

// SEC-120, SEC-121, SEC-124: a used value ends the family, however old it is.
func TestRefreshReuse(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]int{"the predecessor": 1, "its predecessor": 2, "the first of ten": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			c, u := f.client(t, nil), f.user(t)
			bystander := f.login(t, c, u)
			answers := []oauth.TokenResponse{f.login(t, c, u)}
			for range 10 {
				answers = append(answers, f.mustExchange(t, refreshRequest(c, answers[len(answers)-1].RefreshToken)))
			}
			live := answers[len(answers)-1]
			_, err := f.exchange(t, refreshRequest(c, answers[10-back].RefreshToken))
			wantRefused(t, err, "reused")
			_, err = f.exchange(t, refreshRequest(c, live.RefreshToken))
			wantRefused(t, err, "reused")
			for _, a := range answers {
				if f.active(t, a.AccessToken) {
					t.Error("an access token of the family is active")
				}
			}
			if !f.active(t, bystander.AccessToken) {
				t.Error("an access token of another family is not active")
			}
			f.mustExchange(t, refreshRequest(c, bystander.RefreshToken))
			events := f.events(t, "ferrt", "fertft")
			if len(events) != 2 || events[0].Type != "ferrt" || events[1].Type != "fertft" {
				t.Fatalf("events are %+v", events)
			}
			e := events[0]
			if e.Reason != "reused" || e.FamilyID != f.family(t, live.RefreshToken).ID || e.Generation != uint32(10-back) ||
				e.ClientID != c.ID || e.UserID != u.ID || e.Origin.IP != origin.IP || e.Details["latestCounter"] == nil {
				t.Errorf("event is %+v", e)
			}
		})
	}
}

// SEC-122: reuse that cannot be committed is a fault, and is found again.
func TestRefreshReuseFault(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	old := f.login(t, c, u).RefreshToken
	live := f.mustExchange(t, refreshRequest(c, old)).RefreshToken
	f.faults.fail("RevokeFamily", "")
	_, err := f.exchange(t, refreshRequest(c, old))
	wantUnavailable(t, err)
	f.faults.fail("", "")
	_, err = f.exchange(t, refreshRequest(c, old))
	wantRefused(t, err, "reused")
	_, err = f.exchange(t, refreshRequest(c, live))
	wantRefused(t, err, "reused")
}

// SEC-116, SEC-118: a retry inside the leeway gets the same successor.
func TestRefreshLeeway(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 })
	u := f.user(t)
	first := f.login(t, c, u).RefreshToken
	second := f.mustExchange(t, refreshRequest(c, first))
	f.clock.Advance(10*time.Second - time.Millisecond)
	retry := f.mustExchange(t, refreshRequest(c, first))
	if retry.RefreshToken != second.RefreshToken || retry.AccessToken == second.AccessToken {
		t.Error("a retry must get the identical successor and another access token")
	}
	third := f.mustExchange(t, refreshRequest(c, second.RefreshToken)) // the successor is used
	_, err := f.exchange(t, refreshRequest(c, first))
	wantRefused(t, err, "reused")
	_, err = f.exchange(t, refreshRequest(c, third.RefreshToken))
	wantRefused(t, err, "reused")
	f.wantEvents(t, []string{"sertft", "ferrt", "fertft"},
		"sertft rotated", "sertft replayed", "sertft rotated", "ferrt reused", "fertft reused")

	late := f.login(t, c, u).RefreshToken
	f.mustExchange(t, refreshRequest(c, late))
	f.clock.Advance(10 * time.Second) // on the end of the leeway
	_, err = f.exchange(t, refreshRequest(c, late))
	wantRefused(t, err, "reused")
}

// SEC-116: a hundred repeats, then busy, which ends nothing.
func TestRefreshRepeats(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 })
	first := f.login(t, c, f.user(t)).RefreshToken
	successor := f.mustExchange(t, refreshRequest(c, first)).RefreshToken
	for range 100 {
		if got := f.mustExchange(t, refreshRequest(c, first)).RefreshToken; got != successor {
			t.Fatal("a repeat got another successor")
		}
	}
	_, err := f.exchange(t, refreshRequest(c, first))
	wantError(t, err, 429, oauth.TooManyRequests, "The refresh token was repeated too often.", "repeats")
	f.mustExchange(t, refreshRequest(c, successor))
}

// REL-28, refresh-tokens.md §7: dead on the deadline, alive before it.
func TestRefreshExpiry(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) { c.Refresh.TokenLifetimeSeconds, c.Refresh.IdleTokenLifetimeSeconds = 100, 60 })
	u := f.user(t)
	idle := f.login(t, c, u).RefreshToken
	f.clock.Advance(60 * time.Second)
	_, err := f.exchange(t, refreshRequest(c, idle))
	wantRefused(t, err, "idle")

	value := f.login(t, c, u).RefreshToken
	f.clock.Advance(60*time.Second - time.Millisecond)
	value = f.mustExchange(t, refreshRequest(c, value)).RefreshToken // idle restarts, capped by absolute
	f.clock.Advance(40 * time.Second)
	value = f.mustExchange(t, refreshRequest(c, value)).RefreshToken // a millisecond before the end
	f.clock.Advance(time.Millisecond)
	_, err = f.exchange(t, refreshRequest(c, value))
	wantRefused(t, err, "absolute")
}

// security.md §30: the texts about the user, and to whom they are told.
func TestRefreshUserState(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other := f.client(t, nil), f.client(t, nil)
	t.Run("blocked and unblocked", func(t *testing.T) {
		u := f.user(t)
		got := f.login(t, c, u)
		f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
		_, err := f.exchange(t, refreshRequest(c, got.RefreshToken))
		wantError(t, err, 403, oauth.Unauthorized, "user is blocked", "user_blocked")
		if f.active(t, got.AccessToken) {
			t.Error("an access token of a blocked user is active")
		}
		_, err = f.exchange(t, refreshRequest(other, got.RefreshToken))
		wantRefused(t, err, "wrong_client")
		f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = false })
		f.mustExchange(t, refreshRequest(c, got.RefreshToken))
	})
	t.Run("deleted", func(t *testing.T) {
		u := f.user(t)
		value := f.login(t, c, u).RefreshToken
		err := f.store.DeleteUser(t.Context(), tenant.Deletion{
			TenantID: f.tenantID, ID: u.ID, At: f.clock.Now(), Reason: "user_deleted", DeniedUntil: f.clock.Now().Add(time.Hour), Event: f.event(),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.exchange(t, refreshRequest(c, value))
		wantError(t, err, 403, oauth.InvalidGrant, "The refresh_token was generated for a user who doesn't exist anymore.", "user_deleted")
		_, err = f.exchange(t, refreshRequest(other, value))
		wantRefused(t, err, "wrong_client")
		_, err = f.exchange(t, refreshRequest(c, value[:len(value)-1]+"A"))
		if oauth.AsError(err).Description != unknownRefresh {
			t.Errorf("a near miss hears %v", err)
		}
	})
}

// SEC-113: narrowing is for one access token; it never widens.
func TestRefreshNarrowing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c, u := f.client(t, nil), f.user(t)
	value := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) {
		code.Audience, code.Scopes = audience, []string{"openid", "read:x", "offline_access"}
	}))).RefreshToken
	for _, step := range []struct {
		scope, want string
		id          bool
	}{
		{"", "openid read:x offline_access", true},
		{"read:x", "read:x", false},
		{"openid write:x read:x admin", "openid read:x", true},
		{"", "openid read:x offline_access", true},
	} {
		r := refreshRequest(c, value)
		r.Scope = step.scope
		got := f.mustExchange(t, r)
		if got.Scope != step.want || (got.IDToken != "") != step.id || got.RefreshToken == "" {
			t.Errorf("scope %q: %+v, want %q", step.scope, got, step.want)
		}
		value = got.RefreshToken
	}
}

// refresh-tokens.md §11.
func TestRefreshOtherAPIs(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	f.api(t, "https://second/", nil)
	f.api(t, "https://third/", nil)
	c := f.client(t, func(c *tenant.Client) {
		c.Refresh.Policies = []tenant.ResourcePolicy{
			{Audience: "https://second/", Scope: []string{"write:x"}}, {Audience: audience, Scope: []string{"write:x"}},
		}
	})
	u := f.user(t)
	value := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) {
		code.Audience, code.Scopes = audience, []string{"openid", "read:x", "offline_access"}
	}))).RefreshToken
	for _, step := range []struct{ audience, scope, want, aud string }{
		{"", "", "openid read:x offline_access write:x", audience},
		{audience, "", "openid read:x offline_access write:x", audience},
		{"https://second/", "", "openid offline_access write:x", "https://second/"},
		{"https://second/", "openid read:x write:x", "openid write:x", "https://second/"},
	} {
		r := refreshRequest(c, value)
		r.Audience, r.Scope = step.audience, step.scope
		got := f.mustExchange(t, r)
		claims, err := f.Authenticate(t.Context(), f.tenant(t), got.AccessToken)
		if err != nil || got.Scope != step.want || claims.Audience[0] != step.aud {
			t.Errorf("audience %q, scope %q: %+v for %v, want %q", step.audience, step.scope, got.Scope, claims.Audience, step.want)
		}
		value = got.RefreshToken
	}
	if got := f.family(t, value).ResourceServers; len(got) != 1 || got[0].Audience != "https://second/" {
		t.Errorf("the family remembers %+v", got)
	}
	r := refreshRequest(c, value)
	r.Audience = "https://third/"
	_, err := f.exchange(t, r)
	wantError(t, err, 403, oauth.AccessDenied, `Client is not authorized to access "https://third/". You need to create a "client-grant" associated to this API.`, "no_client_grant")
	r.Audience = "https://unknown/"
	_, err = f.exchange(t, r)
	wantError(t, err, 403, oauth.AccessDenied, "Service not enabled within domain: https://unknown/", "unknown_audience")
	r.Audience = ""
	f.mustExchange(t, r) // nothing was used up (SEC-119)
}

// SEC-111, refresh-tokens.md §6: the client moves to rotation, and away from it.
func TestRefreshModeMigration(t *testing.T) {
	t.Parallel()
	f := start(t)
	reusable := tenant.RefreshPolicy{RotationType: "non-rotating", ExpirationType: "non-expiring", InfiniteTokenLifetime: true, InfiniteIdleTokenLifetime: true}
	rotating := tenant.RefreshPolicy{RotationType: "rotating", ExpirationType: "expiring", TokenLifetimeSeconds: 1000, IdleTokenLifetimeSeconds: 100}
	c := f.client(t, func(c *tenant.Client) { c.Refresh = reusable })
	u := f.user(t)
	value, sibling := f.login(t, c, u).RefreshToken, f.login(t, c, u).RefreshToken
	for range 3 {
		if got := f.mustExchange(t, refreshRequest(c, value)); got.RefreshToken != "" {
			t.Error("a reusable value was replaced")
		}
	}
	if family := f.family(t, value); family.Generation != 0 || !family.Used || !family.ExpiresAt.IsZero() || !family.IdleExpiresAt.IsZero() {
		t.Errorf("family is %+v", family)
	}

	f.changeClient(t, c.ID, func(c *tenant.Client) { c.Refresh = rotating })
	next := f.mustExchange(t, refreshRequest(c, value)).RefreshToken
	if family := f.family(t, next); !family.Rotating || family.Generation != 1 || !family.ExpiresAt.Equal(noon.Add(1000*time.Second)) {
		t.Errorf("family is %+v", family)
	}
	_, err := f.exchange(t, refreshRequest(c, sibling))
	wantRefused(t, err, "unknown") // the sibling is gone
	next = f.mustExchange(t, refreshRequest(c, next)).RefreshToken

	f.changeClient(t, c.ID, func(c *tenant.Client) { c.Refresh = reusable })
	last := f.mustExchange(t, refreshRequest(c, next)).RefreshToken
	if last == "" || last == next {
		t.Fatal("moving away from rotation must give a value that stays")
	}
	for range 2 {
		if got := f.mustExchange(t, refreshRequest(c, last)); got.RefreshToken != "" {
			t.Error("the value does not stay")
		}
	}
	if family := f.family(t, last); family.Rotating || family.Generation != 3 || !family.ExpiresAt.Equal(noon.Add(1000*time.Second)) {
		t.Errorf("family is %+v, want its absolute deadline kept", family)
	}
	_, err = f.exchange(t, refreshRequest(c, next))
	wantRefused(t, err, "reused")
}

// D4: a commit of unknown outcome is settled by reading the attempt; one that did
// not happen uses nothing up.
func TestRefreshUnknownOutcome(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	value := f.login(t, c, u).RefreshToken
	f.faults.fail("", "RotateRefreshToken")
	next := f.mustExchange(t, refreshRequest(c, value)).RefreshToken
	f.faults.fail("RotateRefreshToken", "")
	_, err := f.exchange(t, refreshRequest(c, next))
	wantUnavailable(t, err)
	f.faults.fail("", "")
	f.mustExchange(t, refreshRequest(c, next))
}

// D4: a value survives a change of the tenant's secret; one from before a restored
// backup is refused and ends nothing.
func TestRefreshKeyVersions(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 })
	first := f.login(t, c, f.user(t)).RefreshToken
	mac, err := token.NewRefreshSecret(t.Context(), f.vault, f.tenant(t), 2, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store.AddSecret(t.Context(), mac, f.event()); err != nil {
		t.Fatal(err)
	}
	second := f.mustExchange(t, refreshRequest(c, first)).RefreshToken
	if got := f.family(t, second).KeyVersion; got != 2 {
		t.Errorf("key version is %d, want 2", got)
	}
	if retry := f.mustExchange(t, refreshRequest(c, first)).RefreshToken; retry != second {
		t.Error("a retry after the change got another successor")
	}
	p, err := f.refresh.Parse(t.Context(), f.tenant(t), second)
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]struct {
		generation uint32
		keyVersion uint16
	}{"above the row's": {5, 2}, "live one under the other key": {1, 1}} {
		value, err := f.refresh.Value(t.Context(), f.tenant(t), p, of.generation, of.keyVersion)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.exchange(t, refreshRequest(c, value))
		if wantRefused(t, err, "from_before_restore"); t.Failed() {
			t.Fatal(name)
		}
	}
	f.mustExchange(t, refreshRequest(c, second))
}

// SEC-112: the oldest goes, and its access tokens with it.
func TestRefreshLimit(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, err := f.store.UpdateSettings(t.Context(), f.tenantID, func(s tenant.Settings) (tenant.Settings, error) {
		s.RefreshTokenLimit, s.Document = 2, []byte(`{"refresh_token_limit":2}`)
		return s, nil
	}, f.event())
	if err != nil {
		t.Fatal(err)
	}
	c, u := f.client(t, nil), f.user(t)
	var answers []oauth.TokenResponse
	for range 3 {
		answers = append(answers, f.login(t, c, u))
		f.clock.Advance(time.Second)
	}
	_, err = f.exchange(t, refreshRequest(c, answers[0].RefreshToken))
	wantRefused(t, err, "unknown")
	if f.active(t, answers[0].AccessToken) {
		t.Error("an access token of the evicted family is active")
	}
	f.mustExchange(t, refreshRequest(c, answers[1].RefreshToken))
	f.mustExchange(t, refreshRequest(c, answers[2].RefreshToken))
	f.wantEvents(t, []string{"resource_cleanup"}, "resource_cleanup evicted")
}
