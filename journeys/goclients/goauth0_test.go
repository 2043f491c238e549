package goclients

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/auth0/go-auth0"
	"github.com/auth0/go-auth0/authentication"
	"github.com/auth0/go-auth0/authentication/oauth"
	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
)

const realmGrant = "http://auth0.com/oauth/grant-type/password-realm"

// wantStatus fails unless err is the Management API's answer with that status.
func wantStatus(t *testing.T, err error, want int) {
	t.Helper()
	var answer management.Error
	if !errors.As(err, &answer) || answer.Status() != want {
		t.Errorf("got %v, want status %d", err, want)
	}
}

func TestManagementClients(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	c := application(t, m, "authorization_code", "refresh_token")
	if c.GetClientID() == "" || len(c.GetClientSecret()) < 43 {
		t.Fatalf("create: id %q and a secret of %d characters", c.GetClientID(), len(c.GetClientSecret()))
	}
	got, err := m.Client.Read(ctx, c.GetClientID())
	if err != nil || got.GetName() != c.GetName() || got.GetRefreshToken().GetRotationType() != "rotating" {
		t.Fatalf("read: %v, %v", got, err)
	}
	if err := m.Client.Update(ctx, c.GetClientID(), &management.Client{Description: auth0.String("changed")}); err != nil {
		t.Fatalf("update: %v", err)
	}
	rotated, err := m.Client.RotateSecret(ctx, c.GetClientID())
	if err != nil || rotated.GetClientSecret() == c.GetClientSecret() {
		t.Fatalf("rotate secret: %v", err)
	}
	found := false
	for page := 0; !found; page++ {
		list, err := m.Client.List(ctx, management.Page(page), management.PerPage(10))
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		found = slices.ContainsFunc(list.Clients, func(x *management.Client) bool { return x.GetClientID() == c.GetClientID() })
		if !list.HasNext() {
			break
		}
	}
	if !found {
		t.Error("the client is on no page")
	}
	if err := m.Client.Delete(ctx, c.GetClientID()); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err = m.Client.Read(ctx, c.GetClientID())
	wantStatus(t, err, http.StatusNotFound)
}

func TestManagementResourceServersAndGrants(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	rs := api(t, m)
	if got, err := m.ResourceServer.Read(ctx, rs.GetIdentifier()); err != nil || got.GetID() != rs.GetID() {
		t.Fatalf("read by identifier: %v, %v", got, err)
	}
	if err := m.ResourceServer.Update(ctx, rs.GetID(), &management.ResourceServer{TokenLifetime: auth0.Int(600)}); err != nil {
		t.Fatalf("update: %v", err)
	}
	if list, err := m.ResourceServer.List(ctx); err != nil || list.Total < 2 {
		t.Fatalf("list: %v, %v", list, err)
	}
	c := application(t, m, "client_credentials")
	g := &management.ClientGrant{ClientID: c.ClientID, Audience: rs.Identifier, Scope: &[]string{"read:orders"}}
	if err := m.ClientGrant.Create(ctx, g); err != nil {
		t.Fatalf("create client grant: %v", err)
	}
	list, err := m.ClientGrant.List(ctx, management.Parameter("client_id", c.GetClientID()))
	if err != nil || len(list.ClientGrants) != 1 || list.ClientGrants[0].GetID() != g.GetID() {
		t.Fatalf("list client grants: %v, %v", list, err)
	}
	if err := m.ClientGrant.Delete(ctx, g.GetID()); err != nil {
		t.Fatalf("delete client grant: %v", err)
	}
	if err := m.ResourceServer.Delete(ctx, rs.GetID()); err != nil {
		t.Fatalf("delete resource server: %v", err)
	}
	_, err = m.ResourceServer.Read(ctx, rs.GetID())
	wantStatus(t, err, http.StatusNotFound)
}

func TestManagementUsers(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	u, _ := person(t, m)
	if err := m.User.Update(ctx, u.GetID(), &management.User{Name: auth0.String("Grace"), AppMetadata: &map[string]any{"plan": "free"}}); err != nil {
		t.Fatalf("update: %v", err)
	}
	got, err := m.User.Read(ctx, u.GetID())
	if err != nil || got.GetName() != "Grace" || got.GetAppMetadata()["plan"] != "free" {
		t.Fatalf("read: %v, %v", got, err)
	}
	byEmail, err := m.User.ListByEmail(ctx, u.GetEmail())
	if err != nil || len(byEmail) != 1 || byEmail[0].GetID() != u.GetID() {
		t.Fatalf("by e-mail: %v, %v", byEmail, err)
	}
	again := &management.User{Connection: auth0.String(connection), Email: u.Email, Password: auth0.String("Aa1!" + rand.Text())}
	wantStatus(t, m.User.Create(ctx, again), http.StatusConflict)
	if err := m.User.Delete(ctx, u.GetID()); err != nil {
		t.Fatalf("delete: %v", err)
	}
	_, err = m.User.Read(ctx, u.GetID())
	wantStatus(t, err, http.StatusNotFound)
}

func TestManagementKeysLogsTenant(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	keys, err := m.SigningKey.List(ctx)
	if err != nil || !slices.ContainsFunc(keys, (*management.SigningKey).GetCurrent) {
		t.Fatalf("no current key in %v, %v", keys, err)
	}
	person(t, m) // leaves an event
	logs, err := m.Log.List(ctx, management.PerPage(5))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs: %v, %v", logs, err)
	}
	if entry, err := m.Log.Read(ctx, logs[0].GetLogID()); err != nil || entry.GetType() != logs[0].GetType() {
		t.Fatalf("log %s: %v, %v", logs[0].GetLogID(), entry, err)
	}
	if settings, err := m.Tenant.Read(ctx); err != nil || settings.GetSessionLifetime() != 168 {
		t.Fatalf("tenant: %v, %v", settings, err)
	}
}

func newAuthentication(t *testing.T, c *management.Client, more ...authentication.Option) *authentication.Authentication {
	t.Helper()
	options := append([]authentication.Option{authentication.WithClientID(c.GetClientID()), authentication.WithClient(issuer.HTTP)}, more...)
	a, err := authentication.New(t.Context(), issuer.Domain, options...)
	if err != nil {
		t.Fatalf("authentication.New: %v", err)
	}
	return a
}

func TestAuthenticationPasswordRefreshRevoke(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	rs := api(t, m)
	c := application(t, m, realmGrant, "refresh_token")
	u, password := person(t, m)
	a := newAuthentication(t, c, authentication.WithClientSecret(c.GetClientSecret()))

	first, err := a.OAuth.LoginWithPassword(ctx, oauth.LoginWithPasswordRequest{
		Username: u.GetEmail(), Password: password, Realm: connection, Audience: rs.GetIdentifier(), Scope: "openid email offline_access read:orders",
	}, oauth.IDTokenValidationOptions{})
	if err != nil {
		t.Fatalf("password: %v", err)
	}
	info, err := a.UserInfo(ctx, first.AccessToken)
	if err != nil || info.Sub != u.GetID() || info.Email != u.GetEmail() {
		t.Errorf("userinfo: %+v, %v; want %s", info, err, u.GetID())
	}
	second, err := a.OAuth.RefreshToken(ctx, oauth.RefreshTokenRequest{RefreshToken: first.RefreshToken}, oauth.IDTokenValidationOptions{})
	if err != nil || second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
		t.Fatalf("refresh: %v", err)
	}

	records, err := m.User.ListRefreshTokens(ctx, u.GetID())
	if err != nil || len(records.Tokens) != 1 || records.Tokens[0].GetClientID() != c.GetClientID() {
		t.Errorf("the user's refresh tokens: %v, %v", records, err)
	}

	if err := a.OAuth.RevokeRefreshToken(ctx, oauth.RevokeRefreshTokenRequest{Token: second.RefreshToken}); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	_, err = a.OAuth.RefreshToken(ctx, oauth.RefreshTokenRequest{RefreshToken: second.RefreshToken}, oauth.IDTokenValidationOptions{})
	var refusal *authentication.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusForbidden || refusal.Err != "invalid_grant" {
		t.Errorf("after revoking: %v, want 403 invalid_grant", err)
	}
}

func TestAuthenticationClientCredentials(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	rs := api(t, m)
	c := application(t, m, "client_credentials")
	if err := m.ClientGrant.Create(ctx, &management.ClientGrant{ClientID: c.ClientID, Audience: rs.Identifier, Scope: &[]string{"read:orders"}}); err != nil {
		t.Fatalf("create client grant: %v", err)
	}
	a := newAuthentication(t, c, authentication.WithClientSecret(c.GetClientSecret()))
	tokens, err := a.OAuth.LoginWithClientCredentials(ctx, oauth.LoginWithClientCredentialsRequest{Audience: rs.GetIdentifier()}, oauth.IDTokenValidationOptions{})
	if err != nil || tokens.Scope != "read:orders" || tokens.ExpiresIn != 86400 {
		t.Fatalf("client credentials: %+v, %v", tokens, err)
	}
}

func TestAuthenticationCodeWithPKCE(t *testing.T) {
	t.Parallel()
	m, ctx := newManagement(t), t.Context()
	c := application(t, m, "authorization_code", "refresh_token")
	u, password := person(t, m)
	verifier, nonce := oauth2.GenerateVerifier(), rand.Text()
	config := oauth2.Config{ClientID: c.GetClientID(), RedirectURL: callback, Scopes: []string{"openid", "offline_access"}, Endpoint: oauth2.Endpoint{AuthURL: issuer.URL + "authorize"}}
	back := signIn(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce)), u.GetEmail(), password)
	if back.Get("state") != "s" || back.Get("code") == "" {
		t.Fatalf("the callback got %v", back)
	}
	a := newAuthentication(t, c, authentication.WithClientSecret(c.GetClientSecret()))
	request := oauth.LoginWithAuthCodeWithPKCERequest{Code: back.Get("code"), CodeVerifier: verifier, RedirectURI: callback}
	tokens, err := a.OAuth.LoginWithAuthCodeWithPKCE(ctx, request, oauth.IDTokenValidationOptions{Nonce: nonce})
	if err != nil || tokens.RefreshToken == "" || strings.Count(tokens.IDToken, ".") != 2 {
		t.Fatalf("code: %v", err)
	}
	if _, err := a.OAuth.LoginWithAuthCodeWithPKCE(ctx, request, oauth.IDTokenValidationOptions{Nonce: nonce}); err == nil {
		t.Error("the code worked twice")
	}
}
