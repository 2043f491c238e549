package authtest_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bulla-auth/bulla/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const callback = "https://app.example.com/callback"

// spa registers a public client whose refresh tokens rotate, and lets users sign in to it.
func spa(t *testing.T, srv *authtest.Server) authtest.Client {
	t.Helper()
	c := srv.CreateClient(t, map[string]any{
		"name": "spa", "app_type": "spa", "token_endpoint_auth_method": "none", "callbacks": []string{callback},
		"grant_types":   []string{"authorization_code", "refresh_token"},
		"refresh_token": map[string]any{"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0, "token_lifetime": 2592000, "idle_token_lifetime": 1296000},
	})
	srv.EnableConnection(t, c.ID)
	return c
}

// The main job, over the wire: sign in, issue, refresh, look up, revoke.
func TestMainJob(t *testing.T) {
	t.Parallel()
	mainJob(t)
}

func mainJob(t *testing.T, opts ...authtest.Option) {
	t.Helper()
	srv := authtest.Start(t, opts...)
	api := srv.CreateAPI(t, "https://api.example.com", "read:things", "write:things")
	client := spa(t, srv)
	user := srv.CreateUser(t, "ann@example.com")

	answer := srv.Authorize(t, authtest.LoginRequest{
		Client: client, RedirectURI: callback, Audience: api.Identifier, Email: user.Email,
		Scope: "openid profile email offline_access read:things", Params: map[string]string{"state": "s t+a/t&e"},
	})
	if got := answer.Params.Get("state"); got != "s t+a/t&e" {
		t.Errorf("state = %q, want it as it was sent", got)
	}
	if got := answer.Params.Get("iss"); got != srv.Issuer {
		t.Errorf("iss = %q, want %q (RFC 9207)", got, srv.Issuer)
	}
	tokens := srv.Exchange(t, client, answer)
	if tokens.RefreshToken == "" || tokens.IDToken == "" || !strings.Contains(tokens.Scope, "read:things") {
		t.Fatalf("tokens: refresh %t, ID %t, scope %q", tokens.RefreshToken != "", tokens.IDToken != "", tokens.Scope)
	}

	var profile struct {
		Sub   string `json:"sub"`
		Email string `json:"email"`
	}
	userinfo := func(token string) int {
		req := srv.Request(t, http.MethodGet, "/userinfo", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		resp := srv.Do(t, req)
		if resp.Status == http.StatusOK {
			resp.JSON(t, &profile)
		}
		return resp.Status
	}
	if status := userinfo(tokens.AccessToken); status != http.StatusOK || profile.Sub != user.ID || profile.Email != user.Email {
		t.Errorf("userinfo: %d %+v, want %s", status, profile, user.ID)
	}

	next, p := srv.Refresh(t, client, tokens.RefreshToken)
	if p != nil || next.RefreshToken == tokens.RefreshToken || next.RefreshToken == "" {
		t.Fatalf("refresh: %+v %+v, want a successor", next, p)
	}
	resp := srv.PostForm(t, "/oauth/revoke", url.Values{"client_id": {client.ID}, "token": {next.RefreshToken}})
	if resp.Status != http.StatusOK {
		t.Fatalf("revoke: %s", resp)
	}
	if _, p := srv.Refresh(t, client, next.RefreshToken); p == nil || p.Code != "invalid_grant" {
		t.Errorf("refresh after revocation: %+v, want invalid_grant", p)
	}
	if status := userinfo(next.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo after revocation: %d, want 401 (D5)", status)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	resp := srv.Get(t, "/.well-known/openid-configuration")
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
		Token   string `json:"token_endpoint"`
	}
	if resp.JSON(t, &discovery); discovery.Issuer != srv.Issuer || !strings.HasPrefix(discovery.Token, srv.Issuer) {
		t.Fatalf("discovery: %s", resp)
	}
	if resp.Proto != "HTTP/2.0" {
		t.Errorf("protocol %s, want HTTP/2.0", resp.Proto)
	}
	resp = srv.Get(t, strings.TrimPrefix(discovery.JWKSURI, srv.URL))
	var keys struct {
		Keys []struct {
			Kid string   `json:"kid"`
			X5C []string `json:"x5c"`
			X5T string   `json:"x5t"`
		} `json:"keys"`
	}
	if resp.JSON(t, &keys); len(keys.Keys) == 0 || keys.Keys[0].Kid == "" || len(keys.Keys[0].X5C) == 0 || keys.Keys[0].X5T == "" {
		t.Errorf("jwks: %s", resp)
	}
}

func TestManagement(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	client := srv.CreateClient(t, map[string]any{"name": "one of them", "app_type": "non_interactive"})
	var list []authtest.Client
	srv.Manage(t, http.MethodGet, "clients", nil, &list)
	if !slices.ContainsFunc(list, func(c authtest.Client) bool { return c.ID == client.ID }) {
		t.Errorf("the client is not in the list of %d", len(list))
	}
	api := srv.CreateAPI(t, "https://api.example.com", "read:things")
	srv.Grant(t, client.ID, api.Identifier, "read:things")
	if tokens := srv.ClientCredentials(t, client, api.Identifier); tokens.Scope != "read:things" {
		t.Errorf("scope %q, want read:things", tokens.Scope)
	}
	if resp := srv.TryManage(t, http.MethodPost, "clients", map[string]any{"name": "x", "no_such_field": 1}); resp.Status != http.StatusBadRequest {
		t.Errorf("unknown field: %s, want 400", resp)
	}
}

// A restart keeps everything: keys, tokens, families, secrets; it does not offer
// the first administrator's link again (SEC-177).
func TestRestart(t *testing.T) {
	t.Parallel()
	restart(t)
}

func restart(t *testing.T, opts ...authtest.Option) {
	t.Helper()
	srv := authtest.Start(t, opts...)
	if srv.AdministratorLink == "" {
		t.Error("no link for the first administrator at the first start")
	}
	client := spa(t, srv)
	user := srv.CreateUser(t, "ann@example.com")
	tokens := srv.Login(t, authtest.LoginRequest{Client: client, RedirectURI: callback, Email: user.Email, Scope: "openid offline_access"})
	before := srv.Get(t, "/.well-known/jwks.json")

	srv.Restart(t)

	if srv.AdministratorLink != "" {
		t.Error("the link for the first administrator is offered again")
	}
	var kids [2][]string
	after := srv.Get(t, "/.well-known/jwks.json")
	for i, resp := range []authtest.Response{before, after} {
		var set struct {
			Keys []struct {
				Kid string `json:"kid"`
			} `json:"keys"`
		}
		resp.JSON(t, &set)
		for _, k := range set.Keys {
			kids[i] = append(kids[i], k.Kid)
		}
	}
	if len(kids[0]) == 0 || kids[0][0] != kids[1][0] {
		t.Errorf("signing key %v became %v", kids[0], kids[1])
	}
	if _, p := srv.Refresh(t, client, tokens.RefreshToken); p != nil {
		t.Errorf("refresh after a restart: %+v", p)
	}
	srv.Manage(t, http.MethodGet, "users/"+url.PathEscape(user.ID), nil, nil)
}

// The clock is the server's: a refresh token that is not used dies at its idle
// deadline, and an access token at its end.
func TestAdvance(t *testing.T) {
	t.Parallel()
	advance(t)
}

func advance(t *testing.T, opts ...authtest.Option) {
	t.Helper()
	srv := authtest.Start(t, opts...)
	client := spa(t, srv)
	user := srv.CreateUser(t, "ann@example.com")
	tokens := srv.Login(t, authtest.LoginRequest{Client: client, RedirectURI: callback, Email: user.Email, Scope: "openid offline_access"})
	before := srv.Now()
	srv.Advance(1296000*time.Second - time.Millisecond)
	if got := srv.Now().Sub(before); got != 1296000*time.Second-time.Millisecond {
		t.Errorf("advanced by %v", got)
	}
	next, p := srv.Refresh(t, client, tokens.RefreshToken)
	if p != nil {
		t.Fatalf("a millisecond before the deadline: %+v", p)
	}
	srv.Advance(1296000 * time.Second)
	if _, p := srv.Refresh(t, client, next.RefreshToken); p == nil || p.Code != "invalid_grant" {
		t.Errorf("on the deadline: %+v, want invalid_grant", p)
	}
}

// Pause lets a test see that its request waits between reading and writing.
func TestPause(t *testing.T) {
	t.Parallel()
	paused := 0
	srv := authtest.Start(t, authtest.Pause(func() { paused++ }))
	client := spa(t, srv)
	user := srv.CreateUser(t, "ann@example.com")
	srv.Login(t, authtest.LoginRequest{Client: client, RedirectURI: callback, Email: user.Email})
	if paused != 1 {
		t.Errorf("paused %d times in one login, want 1", paused)
	}
}

// The first administrator's link works once (SEC-177).
func TestAdministratorLink(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	b := srv.NewBrowser(t)
	page := b.Get(t, srv.AdministratorLink)
	if page.Status != http.StatusOK {
		t.Fatalf("setup: %s", page)
	}
	form := page.Form(t)
	form.Set("email", "admin@example.com")
	form.Set("password", authtest.Password)
	if resp := b.Submit(t, page, form); resp.Status/100 > 3 {
		t.Fatalf("setup: %s", resp)
	}
	var users []struct {
		Email string `json:"email"`
	}
	srv.Manage(t, http.MethodGet, "users-by-email?email=admin%40example.com", nil, &users)
	if len(users) != 1 {
		t.Errorf("%d administrators, want 1", len(users))
	}
	if resp := b.Get(t, srv.AdministratorLink); resp.Status == http.StatusOK {
		t.Errorf("second use: %d, want a refusal (SEC-177)", resp.Status)
	}
}
