package app

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

const (
	// ticketPurpose and ticketLifetime are those of the first administrator's
	// link: there is no default account and no default password (SEC-177).
	ticketPurpose  = "administrator"
	ticketLifetime = 30 * time.Minute
	// setupPath is where the link leads.
	setupPath = "u/setup?ticket="
	// defaultAlgorithm signs unless an API or a client says otherwise (D7).
	defaultAlgorithm = "RS256"
)

// found makes the tenant of a domain in an empty store, in one commit: keys, the
// system API, the default database connection and the ticket of its first
// administrator. link is the address to print; its value is nowhere else.
func (d *data) found(ctx context.Context, domain string, clk clock.Clock, rand io.Reader) (t tenant.Tenant, link string, err error) {
	f, value, err := d.founding(ctx, domain, clk.Now(), rand)
	if err != nil {
		return tenant.Tenant{}, "", err
	}
	t = f.Tenant
	err = d.store.CreateTenant(ctx, f)
	if errors.Is(err, tenant.ErrExists) { // two nodes began on one empty database
		return tenant.Tenant{}, "", fmt.Errorf("another node has just founded the tenant %s; give this one its master key and start again", domain)
	}
	if err != nil {
		return tenant.Tenant{}, "", fmt.Errorf("found the tenant %s: %w", domain, err)
	}
	if d.tenants, err = d.store.Tenants(ctx); err != nil {
		return tenant.Tenant{}, "", fmt.Errorf("read the store: %w", err)
	}
	return t, t.Issuer() + setupPath + value, nil
}

// founding is all that a tenant begins with; ticket is the value of its first
// administrator's link.
func (d *data) founding(ctx context.Context, domain string, now time.Time, rand io.Reader) (f tenant.Founding, ticket string, err error) {
	id, err := newID(rand)
	if err != nil {
		return f, "", err
	}
	t := tenant.Tenant{ID: id, Domain: domain, CreatedAt: now, Settings: tenant.Settings{Document: json.RawMessage(`{}`)}}
	if t.DataKey, err = seal.NewDataKey(d.master, t.ID); err != nil {
		return f, "", err
	}
	f = tenant.Founding{Event: tenant.Event{
		TenantID: t.ID, At: now, Type: audit.ManagementWritten, Description: "Tenant founded", Reason: "first_start",
	}}
	key, err := token.NewSigningKey(ctx, d.vault, t, defaultAlgorithm, tenant.KeyCurrent, now)
	if err != nil {
		return f, "", err
	}
	secret, err := token.NewRefreshSecret(ctx, d.vault, t, 1, now)
	if err != nil {
		return f, "", err
	}
	value, err := token.Random(rand)
	if err != nil {
		return f, "", fmt.Errorf("draw the administrator's ticket: %w", err)
	}
	f.Tenant, f.Keys, f.Secrets = t, []tenant.SigningKey{key}, []tenant.Secret{secret}
	f.Tickets = []tenant.Ticket{{
		TenantID: t.ID, Hash: token.Hash(value), Purpose: ticketPurpose, CreatedAt: now, ExpiresAt: now.Add(ticketLifetime),
	}}
	f.ResourceServers = []tenant.ResourceServer{management.SystemAPI(t)}
	f.Connections = []tenant.Connection{management.DefaultConnection(t)}
	return f, value, nil
}

// newID is 24 hex digits: opaque, and fit for every place an id stands in.
func newID(rand io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
