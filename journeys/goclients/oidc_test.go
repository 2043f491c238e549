package goclients

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/auth0/go-auth0/management"
)

// The libraries that most Go programs sign in with: discovery, code with PKCE, the ID
// token's signature and claims, userinfo, refresh.
func TestOIDC(t *testing.T) {
	t.Parallel()
	m := newManagement(t)
	rs := api(t, m)
	c := application(t, m, "authorization_code", "refresh_token")
	u, password := person(t, m)
	ctx := oidc.ClientContext(withClient(t), issuer.HTTP)

	provider, err := oidc.NewProvider(ctx, issuer.URL)
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	config := oauth2.Config{
		ClientID: c.GetClientID(), ClientSecret: c.GetClientSecret(), RedirectURL: callback, Endpoint: provider.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess, "read:orders"},
	}
	verifier, nonce, state := oauth2.GenerateVerifier(), rand.Text(), rand.Text()
	back := signIn(t, config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce), oauth2.SetAuthURLParam("audience", rs.GetIdentifier())), u.GetEmail(), password)
	if back.Get("state") != state || back.Get("iss") != issuer.URL {
		t.Fatalf("the callback got %v", back)
	}
	if _, err := config.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier())); err == nil {
		t.Fatal("a code with another verifier was accepted")
	}

	// A wrong verifier spends the code, so sign in once more.
	back = signIn(t, config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oidc.Nonce(nonce), oauth2.SetAuthURLParam("audience", rs.GetIdentifier())), u.GetEmail(), password)
	token, err := config.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("exchange: %v", err)
	}
	idToken := verified(t, ctx, provider, c, token)
	if idToken.Subject != u.GetID() || idToken.Nonce != nonce {
		t.Errorf("ID token of %q with nonce %q, want %q and %q", idToken.Subject, idToken.Nonce, u.GetID(), nonce)
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil || info.Subject != u.GetID() || info.Email != u.GetEmail() || !info.EmailVerified {
		t.Errorf("userinfo: %+v, %v", info, err)
	}

	// An API that knows only discovery accepts the access token, as RFC 9068 says it may.
	if at, err := provider.Verifier(&oidc.Config{ClientID: rs.GetIdentifier()}).Verify(ctx, token.AccessToken); err != nil || at.Subject != u.GetID() {
		t.Errorf("access token: %v", err)
	}

	old := token.RefreshToken
	refreshed, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: old}).Token()
	if err != nil || refreshed.RefreshToken == old || refreshed.AccessToken == token.AccessToken {
		t.Fatalf("refresh: %v", err)
	}
	if again := verified(t, ctx, provider, c, refreshed); again.Subject != u.GetID() {
		t.Errorf("refreshed ID token of %q", again.Subject)
	}
	_, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: old}).Token()
	var refusal *oauth2.RetrieveError
	if !errors.As(err, &refusal) || refusal.ErrorCode != "invalid_grant" || refusal.Response.StatusCode != http.StatusForbidden {
		t.Errorf("reuse: %v, want 403 invalid_grant", err)
	}
}

// verified checks the ID token that came with token.
func verified(t *testing.T, ctx context.Context, provider *oidc.Provider, c *management.Client, token *oauth2.Token) *oidc.IDToken {
	t.Helper()
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("no ID token")
	}
	idToken, err := provider.Verifier(&oidc.Config{ClientID: c.GetClientID()}).Verify(ctx, raw)
	if err != nil {
		t.Fatalf("ID token: %v", err)
	}
	return idToken
}

// x/oauth2 tries HTTP Basic first and the body next; the first must do.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	m := newManagement(t)
	rs := api(t, m)
	c := application(t, m, "client_credentials")
	if err := m.ClientGrant.Create(t.Context(), &management.ClientGrant{ClientID: c.ClientID, Audience: rs.Identifier, Scope: &[]string{"read:orders"}}); err != nil {
		t.Fatalf("create client grant: %v", err)
	}
	config := clientcredentials.Config{
		ClientID: c.GetClientID(), ClientSecret: c.GetClientSecret(), TokenURL: issuer.URL + "oauth/token",
		EndpointParams: map[string][]string{"audience": {rs.GetIdentifier()}},
	}
	token, err := config.Token(withClient(t))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(token.AccessToken, ".") != 2 || token.Type() != "Bearer" {
		t.Errorf("token of type %q with %d dots", token.Type(), strings.Count(token.AccessToken, "."))
	}
}
