package goclients

import (
	"crypto/rand"
	"errors"
	"testing"

	"github.com/auth0/go-auth0/v3/management"
	"github.com/auth0/go-auth0/v3/management/client"
	"github.com/auth0/go-auth0/v3/management/option"
)

// The generated client of go-auth0 v3: other types, other paging, the same API.
func TestManagementV3(t *testing.T) {
	t.Parallel()
	ctx := withClient(t)
	m, err := client.New(issuer.Domain,
		option.WithClientCredentials(ctx, issuer.ClientID, issuer.ClientSecret),
		option.WithHTTPClient(issuer.HTTP))
	if err != nil {
		t.Fatalf("client.New: %v", err)
	}

	made, err := m.Clients.Create(ctx, &management.CreateClientRequestContent{Name: "journey " + rand.Text()})
	if err != nil {
		t.Fatalf("create client: %v", err)
	}
	if got, err := m.Clients.Get(ctx, made.GetClientID(), &management.GetClientRequestParameters{}); err != nil || got.GetName() != made.GetName() {
		t.Fatalf("get client: %v, %v", got, err)
	}
	page, err := m.Clients.List(ctx, &management.ListClientsRequestParameters{PerPage: management.Int(2)})
	if err != nil {
		t.Fatalf("list clients: %v", err)
	}
	found := false
	for clients := page.Iterator(); clients.Next(ctx); {
		found = found || clients.Current().GetClientID() == made.GetClientID()
	}
	if !found {
		t.Error("the client is on no page")
	}
	if err := m.Clients.Delete(ctx, made.GetClientID()); err != nil {
		t.Fatalf("delete client: %v", err)
	}
	_, err = m.Clients.Get(ctx, made.GetClientID(), &management.GetClientRequestParameters{})
	var missing *management.NotFoundError
	if !errors.As(err, &missing) {
		t.Errorf("a deleted client: %v, want NotFoundError", err)
	}

	if settings, err := m.Tenants.Settings.Get(ctx, &management.GetTenantSettingsRequestParameters{}); err != nil || settings.GetSessionLifetime() != 168 {
		t.Errorf("tenant settings: %v", err)
	}
	if keys, err := m.Keys.Signing.List(ctx); err != nil || len(keys) == 0 {
		t.Errorf("signing keys: %v, %v", keys, err)
	}
}
