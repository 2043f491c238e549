package grant_test

import (
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// deviceClient is a television: public, native, rotating.
func (f *fixture) deviceClient(t testing.TB, change func(*tenant.Client)) tenant.Client {
	t.Helper()
	return f.client(t, func(c *tenant.Client) {
		c.AppType, c.AuthMethod = "native", oauth.AuthNone
		c.GrantTypes = []string{oauth.GrantDeviceCode, oauth.GrantRefreshToken}
		if change != nil {
			change(c)
		}
	})
}

func (f *fixture) beginDevice(t testing.TB, c tenant.Client, scope, audience string) oauth.DeviceResponse {
	t.Helper()
	resp, err := f.AuthorizeDevice(t.Context(), f.tenant(t), oauth.DeviceRequest{Client: credentials(c), Scope: scope, Audience: audience}, origin)
	if err != nil {
		t.Fatalf("device authorization: %v", err)
	}
	return resp
}

// decide is the user's yes or no at the page.
func (f *fixture) decide(t testing.TB, code string, u tenant.User, decision string, scopes ...string) {
	t.Helper()
	d, err := f.store.DeviceCode(t.Context(), f.tenantID, token.Hash(code))
	if err != nil {
		t.Fatal(err)
	}
	now := f.clock.Now()
	tx := tenant.Transaction{TenantID: f.tenantID, ID: f.name("tx"), Binding: "b", Request: []byte(`{}`), CreatedAt: now, ExpiresAt: now.Add(time.Minute)}
	if err := f.store.CreateTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	d.Decision, d.UserID, d.Scopes, d.Connection, d.AuthTime = decision, u.ID, scopes, "users", now
	err = f.store.DecideDevice(t.Context(), tenant.DeviceDecision{
		TenantID: f.tenantID, At: now, TransactionID: tx.ID, Device: d, Event: f.event(),
		Guard: tenant.Guard{ConfigVersion: f.tenant(t).ConfigVersion, UserID: u.ID, UserVersion: u.Version},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func deviceRequest(c tenant.Client, code string) oauth.TokenRequest {
	return oauth.TokenRequest{GrantType: oauth.GrantDeviceCode, Client: credentials(c), DeviceCode: code}
}

const invalidDeviceCode = "Invalid or expired device code."

// RFC 8628, SEC-66, refresh-tokens.md §2: from the first poll to the family.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.deviceClient(t, nil), f.user(t)
	begun := f.beginDevice(t, c, "openid offline_access", "")
	if len(begun.DeviceCode) != 43 || len(begun.UserCode) != 11 || begun.ExpiresIn != 900 || begun.Interval != 5 ||
		begun.VerificationURI != "https://localhost:8443/activate" || begun.VerificationURIComplete != begun.VerificationURI+"?user_code="+begun.UserCode {
		t.Errorf("answer is %+v", begun)
	}
	poll := func() error { _, err := f.exchange(t, deviceRequest(c, begun.DeviceCode)); return err }
	wantError(t, poll(), 403, oauth.AuthorizationPending, "User has yet to authorize device code.", "")
	f.clock.Advance(5*time.Second - time.Millisecond)
	wantError(t, poll(), 429, oauth.SlowDown, "You are polling faster than the specified interval of 5 seconds.", "")
	f.clock.Advance(time.Millisecond)
	wantError(t, poll(), 403, oauth.AuthorizationPending, "User has yet to authorize device code.", "")
	f.decide(t, begun.DeviceCode, u, tenant.DeviceAllowed, "openid", "offline_access")
	wantError(t, poll(), 429, oauth.SlowDown, "You are polling faster than the specified interval of 5 seconds.", "")
	f.clock.Advance(5 * time.Second)
	resp := f.mustExchange(t, deviceRequest(c, begun.DeviceCode))
	if resp.RefreshToken == "" || resp.IDToken == "" || resp.Scope != "openid offline_access" {
		t.Errorf("answer is %+v", resp)
	}
	if got := f.family(t, resp.RefreshToken); got.GrantType != oauth.GrantDeviceCode || got.UserID != u.ID || !got.Rotating || got.SessionID != "" {
		t.Errorf("family is %+v", got)
	}
	if claims := idClaims(t, resp.IDToken); claims["sid"] != nil || claims["sub"] != u.ID {
		t.Errorf("ID token has %v", claims)
	}
	wantError(t, poll(), 403, oauth.InvalidGrant, invalidDeviceCode, "device_code_reused")
	f.mustExchange(t, refreshRequest(c, resp.RefreshToken))
	f.wantEvents(t, []string{"sede", "fede", "sertft"}, "sede issued", "fede device_code_reused", "sertft rotated")
}

// SEC-66: a code belongs to one client, ends, and is refused with the vendor's words.
func TestDeviceRefusals(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other, u := f.deviceClient(t, nil), f.deviceClient(t, nil), f.user(t)
	exchange := func(c tenant.Client, code string) error { _, err := f.exchange(t, deviceRequest(c, code)); return err }

	wantError(t, exchange(c, ""), 400, oauth.InvalidRequest, "Missing required parameter: device_code", "missing_parameter")
	wantError(t, exchange(c, "unknown"), 403, oauth.InvalidGrant, invalidDeviceCode, "unknown_device_code")

	mine := f.beginDevice(t, c, "openid", "").DeviceCode
	f.decide(t, mine, u, tenant.DeviceAllowed, "openid")
	wantError(t, exchange(other, mine), 403, oauth.InvalidGrant, invalidDeviceCode, "wrong_client")
	if err := exchange(c, mine); err != nil {
		t.Errorf("after a stranger's poll: %v", err)
	}

	denied := f.beginDevice(t, c, "openid", "").DeviceCode
	f.decide(t, denied, u, tenant.DeviceDenied)
	wantError(t, exchange(c, denied), 403, oauth.AccessDenied, "User cancelled the confirmation prompt.", "user_denied")

	late := f.beginDevice(t, c, "openid", "").DeviceCode
	f.decide(t, late, u, tenant.DeviceAllowed, "openid")
	f.clock.Advance(900 * time.Second)
	wantError(t, exchange(c, late), 403, oauth.ExpiredToken, "The device code has expired.", "device_code_expired")
	wantError(t, exchange(c, late), 403, oauth.InvalidGrant, invalidDeviceCode, "device_code_expired")

	web := f.client(t, nil)
	_, err := f.AuthorizeDevice(t.Context(), f.tenant(t), oauth.DeviceRequest{Client: credentials(web)}, origin)
	wantError(t, err, 403, oauth.UnauthorizedClient, "Grant type '"+oauth.GrantDeviceCode+"' not allowed for the client.", "grant_not_allowed")
	_, err = f.AuthorizeDevice(t.Context(), f.tenant(t), oauth.DeviceRequest{Client: credentials(c), Audience: "https://unknown.example/"}, origin)
	wantError(t, err, 403, oauth.AccessDenied, "Service not enabled within domain: https://unknown.example/", "unknown_audience")
	f.wantEvents(t, []string{"fdeaz"}, "fdeaz grant_not_allowed", "fdeaz unknown_audience")
}

// SEC-1, SEC-52, SEC-134: what ends the user's right between the yes and the poll.
func TestDeviceRightEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end    func(*fixture, *testing.T, tenant.Client, tenant.User)
		reason string
	}{
		"user blocked": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
		}, "user_blocked"},
		"blocked and unblocked": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = false })
		}, "revoked"},
		"password changed": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.LastPasswordResetAt = f.clock.Now() })
		}, "password_changed"},
		"user deleted": {func(f *fixture, t *testing.T, _ tenant.Client, u tenant.User) {
			d := tenant.Deletion{TenantID: f.tenantID, ID: u.ID, At: f.clock.Now(), FamilyHash: func(tenant.FamilyID) string { return "" }, Event: f.event()}
			if err := f.store.DeleteUser(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}, "unknown_device_code"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			c, u := f.deviceClient(t, nil), f.user(t)
			code := f.beginDevice(t, c, "openid", "").DeviceCode
			f.decide(t, code, u, tenant.DeviceAllowed, "openid")
			f.clock.Advance(time.Second)
			tt.end(f, t, c, u)
			_, err := f.exchange(t, deviceRequest(c, code))
			if e := oauth.AsError(err); err == nil || e.Reason != tt.reason {
				t.Errorf("error is %v (reason %q), want reason %q", err, e.Reason, tt.reason)
			}
		})
	}
}

// REL-7: parallel redemptions of one code succeed once.
func TestDeviceParallelRedemption(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.deviceClient(t, nil), f.user(t)
	code := f.beginDevice(t, c, "openid offline_access", "").DeviceCode
	f.decide(t, code, u, tenant.DeviceAllowed, "openid", "offline_access")
	tnt := f.tenant(t)
	failures := make([]error, 64)
	var wg sync.WaitGroup
	for i := range failures {
		wg.Go(func() { _, failures[i] = f.Exchange(t.Context(), tnt, deviceRequest(c, code), origin) })
	}
	wg.Wait()
	won := 0
	for _, err := range failures {
		if err == nil {
			won++
			continue
		}
		wantError(t, err, 403, oauth.InvalidGrant, invalidDeviceCode, "device_code_reused")
	}
	if won != 1 {
		t.Errorf("%d redemptions succeeded, want 1", won)
	}
}

// REL-9, REL-5: a fault uses nothing up; one after the commit is settled by the family.
func TestDeviceFaults(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.deviceClient(t, nil), f.user(t)
	code := f.beginDevice(t, c, "openid offline_access", "").DeviceCode
	f.decide(t, code, u, tenant.DeviceAllowed, "openid", "offline_access")
	f.faults.fail("RedeemDeviceCode", "")
	_, err := f.exchange(t, deviceRequest(c, code))
	wantUnavailable(t, err)
	f.faults.fail("", "RedeemDeviceCode")
	resp := f.mustExchange(t, deviceRequest(c, code))
	f.faults.fail("", "")
	f.mustExchange(t, refreshRequest(c, resp.RefreshToken))
}
