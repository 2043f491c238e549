package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const tenantColumns = `tenant_id, domain, settings, data_key, config_version, created_at, advanced`

func scanTenant(row scanner) (tenant.Tenant, error) {
	var t tenant.Tenant
	var settings json.RawMessage
	var advanced sql.NullInt64
	if err := row.Scan(&t.ID, &t.Domain, rawOf{&settings}, &t.DataKey, &t.ConfigVersion, instant{&t.CreatedAt}, &advanced); err != nil {
		return t, err
	}
	t.Test, t.Advanced = advanced.Valid, time.Duration(advanced.Int64)*time.Millisecond
	var err error
	t.Settings, err = parseSettings(settings)
	return t, err
}

func parseSettings(doc json.RawMessage) (tenant.Settings, error) {
	s := tenant.Settings{Document: doc}
	if err := json.Unmarshal(doc, &s); err != nil {
		return s, fmt.Errorf("parse settings: %w", err)
	}
	return s, nil
}

// TenantByHost finds the tenant of a Host header, in lower case. Each call learns
// the configuration version of now: that is what makes every cached object of
// the request current (SEC-129). Where all commits go through this process it
// counts those that changed configuration instead of asking the database. It
// names no tenant_id, since it finds one.
func (s *Store) TenantByHost(ctx context.Context, host string) (tenant.Tenant, error) {
	generation, exclusive := s.engine.generation() // before the read: what is kept is at least as new
	if !exclusive {
		return s.readTenantByHost(ctx, host)
	}
	key := cacheKey{"", "host", host}
	if t, ok := s.cache.get(key, generation); ok {
		return t.(tenant.Tenant), nil
	}
	t, err := s.readTenantByHost(ctx, host)
	if err == nil {
		s.cache.put(key, generation, t)
	}
	return t, err
}

func (s *Store) readTenantByHost(ctx context.Context, host string) (tenant.Tenant, error) {
	type found struct {
		id      string
		version int64
	}
	rows, err := s.read.query(ctx, `SELECT tenant_id, config_version FROM tenants WHERE domain = $1`, host)
	f, err := one(rows, err, func(row scanner) (f found, err error) {
		err = row.Scan(&f.id, &f.version)
		return f, err
	})
	if err != nil {
		return tenant.Tenant{}, err
	}
	key := cacheKey{f.id, "tenant", ""}
	if t, ok := s.cache.get(key, f.version); ok {
		return t.(tenant.Tenant), nil
	}
	t, err := s.Tenant(ctx, f.id)
	if err == nil {
		s.cache.put(key, t.ConfigVersion, t)
	}
	return t, err
}

// Tenant reads a tenant with its configuration version of now.
func (s *Store) Tenant(ctx context.Context, id string) (tenant.Tenant, error) {
	rows, err := s.read.query(ctx, `SELECT `+tenantColumns+` FROM tenants WHERE tenant_id = $1`, id)
	return one(rows, err, scanTenant)
}

// Tenants lists all tenants, oldest first. It is for the operator and the
// clean-up: no request that names a tenant gets there.
func (s *Store) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	rows, err := s.read.query(ctx, `SELECT `+tenantColumns+` FROM tenants ORDER BY created_at, tenant_id`)
	return all(rows, err, scanTenant)
}

// CreateTenant writes a whole tenant or nothing; ErrExists when its id or its
// domain is taken.
func (s *Store) CreateTenant(ctx context.Context, f tenant.Founding) error {
	t := f.Tenant
	settings, err := document(t.Settings, t.Settings.Document)
	if err != nil {
		return err
	}
	var advanced any // NULL but for a test tenant
	if t.Test {
		advanced = t.Advanced.Milliseconds()
	}
	return s.write(ctx, t.ID, "config", func(tx *Tx) error {
		if _, err := tx.exec(`INSERT INTO tenants (`+tenantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			t.ID, t.Domain, settings, t.DataKey, max(t.ConfigVersion, 1), millis(t.CreatedAt), advanced); err != nil {
			return err
		}
		for _, x := range f.ResourceServers {
			x.TenantID = t.ID
			if err := tx.insertResourceServer(x); err != nil {
				return err
			}
		}
		for _, x := range f.Connections {
			x.TenantID = t.ID
			if err := tx.insertConnection(x); err != nil {
				return err
			}
		}
		for _, x := range f.Clients {
			x.TenantID = t.ID
			if err := tx.insertClient(x); err != nil {
				return err
			}
		}
		for _, x := range f.Keys {
			x.TenantID = t.ID
			if err := tx.insertSigningKey(x); err != nil {
				return err
			}
		}
		for _, x := range f.Secrets {
			x.TenantID = t.ID
			if err := tx.insertSecret(x); err != nil {
				return err
			}
		}
		for _, x := range f.Tickets {
			x.TenantID = t.ID
			if err := tx.insertTicket(x); err != nil {
				return err
			}
		}
		tx.appendEvent(f.Event)
		return nil
	})
}

// AdvanceTenant moves the clock of a test tenant forward and returns how far it
// is ahead. ErrNotFound for every other tenant.
func (s *Store) AdvanceTenant(ctx context.Context, id string, d time.Duration) (time.Duration, error) {
	return written(ctx, s, id, "config", func(tx *Tx, out *time.Duration) error {
		rows, err := tx.query(`
			UPDATE tenants SET advanced = advanced + $2 WHERE tenant_id = $1 AND advanced IS NOT NULL RETURNING advanced`,
			id, max(d, 0).Milliseconds())
		ms, err := one(rows, err, scanOne[int64])
		if err != nil {
			return err
		}
		*out = time.Duration(ms) * time.Millisecond
		return tx.configured(id, tenant.Event{})
	})
}

// ofTenant are the tables a tenant has rows in, and last its own.
var ofTenant = []string{
	`DELETE FROM signing_keys WHERE tenant_id = $1`, `DELETE FROM secrets WHERE tenant_id = $1`,
	`DELETE FROM clients WHERE tenant_id = $1`, `DELETE FROM resource_servers WHERE tenant_id = $1`,
	`DELETE FROM client_grants WHERE tenant_id = $1`, `DELETE FROM connections WHERE tenant_id = $1`,
	`DELETE FROM users WHERE tenant_id = $1`, `DELETE FROM sessions WHERE tenant_id = $1`,
	`DELETE FROM login_transactions WHERE tenant_id = $1`, `DELETE FROM codes WHERE tenant_id = $1`,
	`DELETE FROM device_codes WHERE tenant_id = $1`, `DELETE FROM tickets WHERE tenant_id = $1`,
	`DELETE FROM consents WHERE tenant_id = $1`, `DELETE FROM refresh_tokens WHERE tenant_id = $1`,
	`DELETE FROM denials WHERE tenant_id = $1`, `DELETE FROM marks WHERE tenant_id = $1`,
	`DELETE FROM assertions WHERE tenant_id = $1`, `DELETE FROM jobs WHERE tenant_id = $1`,
	`DELETE FROM code_tries WHERE tenant_id = $1`, `DELETE FROM key_sets WHERE tenant_id = $1`,
	`DELETE FROM signatures WHERE tenant_id = $1`, `DELETE FROM revocation_counters WHERE tenant_id = $1`,
	`DELETE FROM events WHERE tenant_id = $1`, `DELETE FROM tenants WHERE tenant_id = $1`,
}

// DeleteTestTenant deletes a test tenant with every row it has; ErrNotFound for
// every other tenant. Nobody may be serving it any more: its events that wait
// are written first, to go with the rest.
func (s *Store) DeleteTestTenant(ctx context.Context, id string) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.write(ctx, id, "config", func(tx *Tx) error {
		err := tx.must(`UPDATE tenants SET advanced = advanced WHERE tenant_id = $1 AND advanced IS NOT NULL`, id)
		if errors.Is(err, tenant.ErrConflict) {
			return tenant.ErrNotFound
		}
		if err != nil {
			return err
		}
		tx.reconfigured = true
		return tx.execAll([]any{id}, ofTenant...)
	})
}

// UpdateSettings writes the settings that change returns.
func (s *Store) UpdateSettings(ctx context.Context, tenantID string, change func(tenant.Settings) (tenant.Settings, error), e tenant.Event) (tenant.Settings, error) {
	return written(ctx, s, tenantID, "config", func(tx *Tx, out *tenant.Settings) error {
		rows, err := tx.query(`SELECT settings FROM tenants WHERE tenant_id = $1`, tenantID)
		doc, err := one(rows, err, scanOne[string])
		if err != nil {
			return err
		}
		old, err := parseSettings(json.RawMessage(doc))
		if err != nil {
			return err
		}
		changed, err := change(old)
		if err != nil {
			return err
		}
		if doc, err = document(changed, changed.Document); err != nil {
			return err
		}
		if *out, err = parseSettings(json.RawMessage(doc)); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE tenants SET settings = $2 WHERE tenant_id = $1`, tenantID, doc); err != nil {
			return err
		}
		return tx.configured(tenantID, e)
	})
}

// configured raises the tenant's configuration version in the commit that
// changed its configuration, and writes the event.
func (tx *Tx) configured(tenantID string, e tenant.Event) error {
	n, err := tx.exec(`UPDATE tenants SET config_version = config_version + 1 WHERE tenant_id = $1`, tenantID)
	if err != nil {
		return err
	}
	if n == 0 {
		return tenant.ErrNotFound
	}
	tx.reconfigured = true
	tx.appendEvent(e)
	return nil
}
