package grant_test

import (
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// authentication-api.md §4.4, tokens.md §6.2.
func TestPasswordGrant(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.client(t, nil)
	f.connection(t, "users", c.ID)
	u := f.user(t)
	request := func(change func(*oauth.TokenRequest)) oauth.TokenRequest {
		r := oauth.TokenRequest{GrantType: oauth.GrantPassword, Client: credentials(c), Username: u.Email, Password: userPassword}
		if change != nil {
			change(&r)
		}
		return r
	}
	tests := map[string]struct {
		change  func(*oauth.TokenRequest)
		scope   string
		refresh bool
	}{
		"no scope, no API": {nil, "openid profile email address phone", false},
		"no scope, an API": {func(r *oauth.TokenRequest) { r.Audience = audience }, "read:x write:x", false},
		"scopes":           {func(r *oauth.TokenRequest) { r.Audience, r.Scope = audience, "openid write:x unknown" }, "openid write:x", false},
		"offline":          {func(r *oauth.TokenRequest) { r.Scope = "openid offline_access" }, "openid offline_access", true},
		"the realm by name": {func(r *oauth.TokenRequest) {
			r.GrantType, r.Realm, r.Scope = oauth.GrantPasswordRealm, "users", "openid"
		}, "openid", false},
		"address in capitals": {func(r *oauth.TokenRequest) { r.Username, r.Scope = strings.ToUpper(u.Email), "openid" }, "openid", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := f.mustExchange(t, request(tt.change))
			if got.Scope != tt.scope || (got.RefreshToken != "") != tt.refresh || (got.IDToken != "") != strings.HasPrefix(tt.scope, "openid") {
				t.Errorf("answer is %+v, want scope %q", got, tt.scope)
			}
		})
	}
	claims, err := f.Authenticate(t.Context(), f.tenant(t), f.mustExchange(t, request(nil)).AccessToken)
	if err != nil || claims.GrantType != "password" || claims.Subject != u.ID {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	refreshed := f.mustExchange(t, refreshRequest(c, f.mustExchange(t, request(func(r *oauth.TokenRequest) { r.Scope = "offline_access" })).RefreshToken))
	if claims, err = f.Authenticate(t.Context(), f.tenant(t), refreshed.AccessToken); err != nil || claims.GrantType != "refresh_token password" {
		t.Errorf("claims of the refresh are %+v, %v", claims, err)
	}
}

func TestPasswordGrantRefuses(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, nil)
	f.connection(t, "users", c.ID)
	f.connection(t, "others")
	u := f.user(t)
	blocked := f.user(t)
	f.changeUser(t, blocked.ID, func(u *tenant.User) { u.Blocked = true })
	const wrong = "Wrong email or password."
	tests := map[string]struct {
		change      func(*oauth.TokenRequest)
		status      int
		code        string
		description string
		reason      string
	}{
		"wrong password":          {func(r *oauth.TokenRequest) { r.Password += "x" }, 403, oauth.InvalidGrant, wrong, "wrong_password"},
		"unknown user":            {func(r *oauth.TokenRequest) { r.Username = "nobody@example.com" }, 403, oauth.InvalidGrant, wrong, "unknown_user"},
		"endless password":        {func(r *oauth.TokenRequest) { r.Password = strings.Repeat("a", 2000) }, 403, oauth.InvalidGrant, wrong, "wrong_password"},
		"blocked":                 {func(r *oauth.TokenRequest) { r.Username = blocked.Email }, 403, oauth.Unauthorized, "user is blocked", "user_blocked"},
		"blocked, wrong password": {func(r *oauth.TokenRequest) { r.Username, r.Password = blocked.Email, "x" }, 403, oauth.InvalidGrant, wrong, "wrong_password"},
		"no username":             {func(r *oauth.TokenRequest) { r.Username = "" }, 400, oauth.InvalidRequest, "Missing required parameter: username", "missing_parameter"},
		"no password":             {func(r *oauth.TokenRequest) { r.Password = "" }, 400, oauth.InvalidRequest, "Missing required parameter: password", "missing_parameter"},
		"no realm":                {func(r *oauth.TokenRequest) { r.GrantType = oauth.GrantPasswordRealm }, 400, oauth.InvalidRequest, "Missing required parameter: realm", "missing_parameter"},
		"unknown realm":           {func(r *oauth.TokenRequest) { r.GrantType, r.Realm = oauth.GrantPasswordRealm, "nowhere" }, 400, oauth.InvalidRequest, "Unknown realm nowhere", "unknown_realm"},
		"realm not enabled":       {func(r *oauth.TokenRequest) { r.GrantType, r.Realm = oauth.GrantPasswordRealm, "others" }, 400, oauth.InvalidRequest, "Unknown realm others", "connection_not_enabled"},
		"unknown audience":        {func(r *oauth.TokenRequest) { r.Audience = "https://unknown/" }, 403, oauth.AccessDenied, "Service not enabled within domain: https://unknown/", "unknown_audience"},
		"both offline and online": {func(r *oauth.TokenRequest) { r.Scope = "offline_access online_access" }, 400, oauth.InvalidRequest,
			"Cannot request both online_access and offline_access scopes", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := oauth.TokenRequest{GrantType: oauth.GrantPassword, Client: credentials(c), Username: u.Email, Password: userPassword}
			tt.change(&r)
			_, err := f.exchange(t, r)
			wantError(t, err, tt.status, tt.code, tt.description, tt.reason)
		})
	}
	for _, e := range f.events(t, "fp", "fu", "fepft") {
		if want := map[string]string{"wrong_password": "fp", "unknown_user": "fu"}[e.Reason]; want != "" && e.Type != want || want == "" && e.Type != "fepft" {
			t.Errorf("reason %q is an event of type %s", e.Reason, e.Type)
		}
		if e.ClientID != c.ID || e.Origin.IP != origin.IP {
			t.Errorf("event is %+v", e)
		}
	}
	t.Run("no default connection", func(t *testing.T) {
		_, err := f.store.UpdateSettings(t.Context(), f.tenantID, func(s tenant.Settings) (tenant.Settings, error) {
			s.DefaultDirectory, s.Document = "", []byte("{}")
			return s, nil
		}, f.event())
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.exchange(t, oauth.TokenRequest{GrantType: oauth.GrantPassword, Client: credentials(c), Username: u.Email, Password: userPassword})
		wantError(t, err, 403, oauth.ServerError, "Authorization server not configured with default connection.", "no_default_connection")
	})
}

// REL-9: an outcome that was lost is settled by the family that was written.
func TestPasswordUnknownOutcome(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	f.connection(t, "users", c.ID)
	f.faults.fail("", "IssueRefreshToken")
	got := f.mustExchange(t, oauth.TokenRequest{
		GrantType: oauth.GrantPassword, Client: credentials(c), Username: u.Email, Password: userPassword, Scope: "offline_access",
	})
	f.faults.fail("", "")
	f.mustExchange(t, refreshRequest(c, got.RefreshToken))
}
