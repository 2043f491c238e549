package grant_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// SEC-4, SEC-8, SEC-14: unknown client, wrong secret and wrong method have one answer.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	post := f.client(t, nil)
	public := f.client(t, func(c *tenant.Client) { c.AuthMethod = oauth.AuthNone })
	either := f.client(t, func(c *tenant.Client) { c.AuthMethod = "" })
	f.grantTo(t, post.ID, audience, "read:x")
	f.grantTo(t, either.ID, audience, "read:x")
	auth := func(method, id, secret string) oauth.ClientAuthentication {
		return oauth.ClientAuthentication{Method: method, ClientID: id, Secret: secret}
	}
	request := func(a oauth.ClientAuthentication) oauth.TokenRequest {
		return oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: a, Audience: audience}
	}
	raw := auth(oauth.AuthSecretBasic, either.ID, "decoded otherwise")
	raw.RawSecret = secret
	for name, a := range map[string]oauth.ClientAuthentication{
		"post":             auth(oauth.AuthSecretPost, post.ID, secret),
		"unset, in body":   auth(oauth.AuthSecretPost, either.ID, secret),
		"unset, in header": auth(oauth.AuthSecretBasic, either.ID, secret),
		"undecoded header": raw,
	} {
		if _, err := f.exchange(t, request(a)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, tt := range map[string]struct {
		auth   oauth.ClientAuthentication
		reason string
	}{
		"unknown client":              {auth(oauth.AuthSecretPost, "nobody", secret), "unknown_client"},
		"unknown client, no secret":   {auth(oauth.AuthNone, "nobody", ""), "unknown_client"},
		"other case (SEC-16)":         {auth(oauth.AuthSecretPost, strings.ToUpper(post.ID), secret), "unknown_client"},
		"wrong secret":                {auth(oauth.AuthSecretPost, post.ID, secret+"x"), "wrong_secret"},
		"another client's secret":     {auth(oauth.AuthSecretPost, post.ID, "secret"), "wrong_secret"},
		"blank secret":                {auth(oauth.AuthSecretPost, post.ID, "   "), "wrong_secret"},
		"right secret in the header":  {auth(oauth.AuthSecretBasic, post.ID, secret), "wrong_auth_method"},
		"no secret":                   {auth(oauth.AuthNone, post.ID, ""), "wrong_auth_method"},
		"secret of a public client":   {auth(oauth.AuthSecretPost, public.ID, secret), "wrong_auth_method"},
		"blank secret of a public":    {auth(oauth.AuthSecretPost, public.ID, " "), "wrong_auth_method"},
		"unset, without any secret":   {auth(oauth.AuthNone, either.ID, ""), "wrong_auth_method"},
		"unset, a secret that is not": {auth(oauth.AuthSecretPost, either.ID, "None"), "wrong_secret"},
	} {
		_, err := f.exchange(t, request(tt.auth))
		e := oauth.AsError(err)
		if e.Status != 401 || e.Code != oauth.AccessDenied || e.Description != "Unauthorized" || e.Reason != tt.reason {
			t.Errorf("%s: %v (%d, reason %q), want the one answer and reason %q", name, err, e.Status, e.Reason, tt.reason)
		}
	}
	_, err := f.exchange(t, request(auth(oauth.AuthNone, "", "")))
	wantError(t, err, 400, oauth.InvalidRequest, "Missing required parameter: client_id", "missing_parameter")
}

// SEC-9: an old secret works until its end, and not at it.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.client(t, nil)
	f.grantTo(t, c.ID, audience)
	f.changeClient(t, c.ID, func(c *tenant.Client) {
		c.Secrets[0].ExpiresAt = noon.Add(time.Minute)
	})
	request := oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c), Audience: audience}
	f.clock.Advance(time.Minute - time.Millisecond)
	f.mustExchange(t, request)
	f.clock.Advance(time.Millisecond)
	_, err := f.exchange(t, request)
	wantError(t, err, 401, oauth.AccessDenied, "Unauthorized", "wrong_secret")
}

func TestGrantTypes(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) { c.GrantTypes = []string{oauth.GrantAuthorizationCode} })
	for grantType, want := range map[string]string{
		oauth.GrantRefreshToken:      "Grant type 'refresh_token' not allowed for the client.",
		oauth.GrantClientCredentials: "Grant type 'client_credentials' not allowed for the client.",
		oauth.GrantPassword:          "Grant type 'password' not allowed for the client.",
	} {
		_, err := f.exchange(t, oauth.TokenRequest{GrantType: grantType, Client: credentials(c)})
		wantError(t, err, 403, oauth.UnauthorizedClient, want, "grant_not_allowed")
	}
	_, err := f.exchange(t, oauth.TokenRequest{GrantType: "magic\"", Client: credentials(c)})
	wantError(t, err, 403, oauth.UnsupportedGrantType, "Unsupported grant type: magic?", "")
}

// authentication-api.md §4.3.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.client(t, nil)
	request := oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c)}
	_, err := f.exchange(t, request)
	wantError(t, err, 403, oauth.AccessDenied, "No audience parameter was provided, and no default audience has been configured", "no_audience")
	request.Audience = "https://unknown/"
	_, err = f.exchange(t, request)
	wantError(t, err, 403, oauth.AccessDenied, "Service not enabled within domain: https://unknown/", "unknown_audience")
	request.Audience = audience
	_, err = f.exchange(t, request)
	wantError(t, err, 403, oauth.AccessDenied, `Client is not authorized to access "https://api.example/". You need to create a "client-grant" associated to this API.`, "no_client_grant")

	f.grantTo(t, c.ID, audience, "read:x")
	got := f.mustExchange(t, request)
	if got.TokenType != "Bearer" || got.ExpiresIn != 600 || got.Scope != "read:x" || got.RefreshToken != "" || got.IDToken != "" {
		t.Errorf("answer is %+v", got)
	}
	claims, err := f.Authenticate(t.Context(), f.tenant(t), got.AccessToken)
	if err != nil || claims.Subject != c.ID+"@clients" || !claims.Machine() || claims.Audience[0] != audience || claims.ExpiresAt.Sub(claims.IssuedAt) != 600*time.Second {
		t.Errorf("claims are %+v, %v", claims, err)
	}
	f.wantEvents(t, []string{"seccft", "feccft"},
		"feccft no_audience", "feccft unknown_audience", "feccft no_client_grant", "seccft ")
}

// D5: revoking a client grant raises its epoch: what is out dies, later tokens live.
func TestClientGrantEpoch(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.client(t, nil)
	g := f.grantTo(t, c.ID, audience, "read:x", "write:x")
	request := oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c), Audience: audience}
	before := f.mustExchange(t, request).AccessToken
	if !f.active(t, before) {
		t.Fatal("a new token is not active")
	}
	_, err := f.store.UpdateClientGrant(t.Context(), f.tenantID, g.ID, func(g tenant.ClientGrant) (tenant.ClientGrant, error) {
		g.Scope, g.Document = []string{"read:x"}, nil
		return g, nil
	}, f.event())
	if err != nil {
		t.Fatal(err)
	}
	if f.active(t, before) {
		t.Error("a token from before the grant lost a scope is active")
	}
	if after := f.mustExchange(t, request).AccessToken; !f.active(t, after) {
		t.Error("a token from after the change is not active")
	}
}

// refresh-tokens.md §13, SEC-119: a rule that says no uses nothing up.
func TestRules(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	code := f.code(t, c, u, nil)
	var seen tenant.RuleContext
	f.rules.set(func(c tenant.RuleContext) (tenant.RuleResult, error) {
		seen = c
		return tenant.RuleResult{Denied: true, Message: `not today, "Ada"`}, nil
	})
	_, err := f.exchange(t, codeRequest(c, code))
	wantError(t, err, 403, oauth.Unauthorized, "not today, ?Ada?", "rule_denied")
	if seen.Protocol != "oidc-basic-profile" || seen.User.ID != u.ID || seen.Client.ID != c.ID {
		t.Errorf("the rules heard %+v", seen)
	}
	f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
		return tenant.RuleResult{}, errors.New("worker died")
	})
	_, err = f.exchange(t, codeRequest(c, code))
	wantUnavailable(t, err)
	f.rules.set(nil)
	refresh := f.mustExchange(t, codeRequest(c, code)).RefreshToken
	f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
		return tenant.RuleResult{Denied: true, Message: "no"}, nil
	})
	_, err = f.exchange(t, refreshRequest(c, refresh))
	wantError(t, err, 403, oauth.Unauthorized, "no", "rule_denied")
	f.rules.set(nil)
	f.mustExchange(t, refreshRequest(c, refresh))
}

// style.md, "The path of a request": a request that loses its write is judged
// again under the configuration of now; the rules' answer holds.
func TestJudgedAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	t.Run("configuration moved on", func(t *testing.T) {
		code := f.code(t, c, u, nil)
		once := true
		before := f.rules.count()
		f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
			if once {
				once = false
				f.changeClient(t, c.ID, func(c *tenant.Client) { c.Name = "Renamed" })
			}
			return tenant.RuleResult{}, nil
		})
		f.mustExchange(t, codeRequest(c, code))
		if got := f.rules.count() - before; got != 1 {
			t.Errorf("the rules ran %d times, want once", got)
		}
	})
	t.Run("blocked meanwhile (SEC-52, SEC-124)", func(t *testing.T) {
		u := f.user(t)
		code := f.code(t, c, u, nil)
		f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
			f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
			return tenant.RuleResult{}, nil
		})
		_, err := f.exchange(t, codeRequest(c, code))
		wantError(t, err, 403, oauth.Unauthorized, "user is blocked", "user_blocked")
	})
	t.Run("lost the grant meanwhile (SEC-124)", func(t *testing.T) {
		c := f.client(t, nil)
		code := f.code(t, c, u, nil)
		f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
			f.changeClient(t, c.ID, func(c *tenant.Client) { c.GrantTypes = []string{"refresh_token"} })
			return tenant.RuleResult{}, nil
		})
		_, err := f.exchange(t, codeRequest(c, code))
		wantError(t, err, 403, oauth.UnauthorizedClient, "Grant type 'authorization_code' not allowed for the client.", "grant_not_allowed")
	})
	t.Run("again and again", func(t *testing.T) {
		f.rules.set(nil)
		value := f.login(t, c, u).RefreshToken
		before := f.rules.count()
		f.faults.conflict("RotateRefreshToken")
		_, err := f.exchange(t, refreshRequest(c, value))
		wantUnavailable(t, err)
		if got := f.rules.count() - before; got != 1 {
			t.Errorf("the rules ran %d times, want once", got)
		}
		f.faults.fail("", "")
		f.mustExchange(t, refreshRequest(c, value))
	})
}

// SEC-2, SEC-86, REL-9: a fault at any call gives no token, blames no credential
// and uses nothing up.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c, u := f.client(t, nil), f.user(t)
	f.connection(t, "users", c.ID)
	f.grantTo(t, c.ID, audience)
	session := f.session(t, u)
	code := f.code(t, c, u, func(code *tenant.Code) { code.Audience, code.SessionID = audience, session.ID })
	refresh := f.login(t, c, u).RefreshToken
	requests := map[string]struct {
		request oauth.TokenRequest
		calls   []string
	}{
		"code":    {codeRequest(c, code), []string{"Client", "Code", "User", "Session", "ResourceServer", "RedeemCode"}},
		"refresh": {refreshRequest(c, refresh), []string{"Client", "RefreshToken", "User", "RotateRefreshToken"}},
		"password": {oauth.TokenRequest{GrantType: oauth.GrantPassword, Client: credentials(c), Username: u.Email, Password: userPassword, Scope: "openid offline_access"},
			[]string{"Client", "Connection", "UserForPassword", "IssueRefreshToken"}},
		"client credentials": {oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c), Audience: audience},
			[]string{"Client", "ResourceServer", "ClientGrant"}},
	}
	for name, r := range requests {
		for _, call := range r.calls {
			f.faults.fail(call, "")
			resp, err := f.exchange(t, r.request)
			wantUnavailable(t, err)
			if resp != (oauth.TokenResponse{}) || t.Failed() {
				t.Fatalf("%s with a fault in %s: %+v, %v", name, call, resp, err)
			}
		}
		f.faults.fail("", "")
		f.mustExchange(t, r.request)
	}
	raw := f.login(t, c, u).AccessToken
	for _, call := range []string{"Denied", "Mark", "Client", "User"} {
		f.faults.fail(call, "")
		if _, err := f.Userinfo(t.Context(), f.tenant(t), raw); oauth.AsError(err).Status != 503 {
			t.Errorf("userinfo with a fault in %s: %v, want 503", call, err)
		}
	}
	f.faults.fail("", "")
	if _, err := f.Userinfo(t.Context(), f.tenant(t), raw); err != nil {
		t.Error(err)
	}
}
