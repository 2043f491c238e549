package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const clientColumns = `tenant_id, document, secrets, keys, created_at`

func scanClient(row scanner) (tenant.Client, error) {
	var (
		tenantID string
		doc      json.RawMessage
		secrets  []tenant.ClientSecret
		keys     []tenant.ClientKey
		created  time.Time
	)
	if err := row.Scan(&tenantID, rawOf{&doc}, jsonOf{&secrets}, jsonOf{&keys}, instant{&created}); err != nil {
		return tenant.Client{}, err
	}
	c, err := tenant.ParseClient(tenantID, doc)
	c.Secrets, c.Keys, c.CreatedAt = secrets, keys, created
	return c, err
}

// Client finds a client, from the cache under t's configuration version.
func (s *Store) Client(ctx context.Context, t tenant.Tenant, id string) (tenant.Client, error) {
	return cached(s, t, "client", id, func() (tenant.Client, error) {
		return clientByID(ctx, s.read, t.ID, id)
	})
}

func clientByID(ctx context.Context, run runner, tenantID, id string) (tenant.Client, error) {
	rows, err := run.query(ctx, `SELECT `+clientColumns+` FROM clients WHERE tenant_id = $1 AND client_id = $2`, tenantID, id)
	return one(rows, err, scanClient)
}

// Clients lists clients, oldest first.
func (s *Store) Clients(ctx context.Context, tenantID string, f tenant.ClientFilter, p tenant.Page) (tenant.List[tenant.Client], error) {
	w := newWhere(tenantID)
	w.is("global", f.Global)
	w.is("first_party", f.FirstParty)
	w.in("app_type", f.AppTypes)
	w.equal("name", f.Name)
	return list(ctx, s.read, listing[tenant.Client]{
		columns: clientColumns, table: "clients", key: createdThenID("client_id"), scan: scanClient,
		position: func(c tenant.Client) []string { return age(c.CreatedAt.UnixMilli(), c.ID) },
	}, w, p)
}

// CreateClient inserts a client; ErrExists when its id is taken.
func (s *Store) CreateClient(ctx context.Context, c tenant.Client, e tenant.Event) error {
	return s.write(ctx, c.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertClient(c); err != nil {
			return err
		}
		return tx.configured(c.TenantID, e)
	})
}

func (tx *Tx) insertClient(c tenant.Client) error {
	doc, err := document(c, c.Document)
	if err != nil {
		return err
	}
	_, err = tx.exec(`
		INSERT INTO clients (tenant_id, client_id, name, global, first_party, app_type, document, secrets, keys, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		c.TenantID, c.ID, c.Name, bit(c.Global), bit(c.FirstParty), c.AppType, doc, jsonText(c.Secrets), jsonText(c.Keys), millis(c.CreatedAt))
	return err
}

// UpdateClient writes the document, secrets and keys that change returns; the
// document, where there is one, is the whole truth about the rest.
func (s *Store) UpdateClient(ctx context.Context, tenantID, id string, change func(tenant.Client) (tenant.Client, error), e tenant.Event) (tenant.Client, error) {
	return written(ctx, s, tenantID, "config", func(tx *Tx, out *tenant.Client) error {
		old, err := clientByID(tx.ctx, tx.run, tenantID, id)
		if err != nil {
			return err
		}
		c, err := change(old)
		if err != nil {
			return err
		}
		doc, err := document(c, c.Document)
		if err != nil {
			return err
		}
		if *out, err = tenant.ParseClient(tenantID, json.RawMessage(doc)); err != nil {
			return err
		}
		out.Secrets, out.Keys, out.CreatedAt = c.Secrets, c.Keys, old.CreatedAt
		if err := tx.must(`
			UPDATE clients SET name = $3, global = $4, first_party = $5, app_type = $6, document = $7, secrets = $8, keys = $9
			 WHERE tenant_id = $1 AND client_id = $2`,
			tenantID, id, out.Name, bit(out.Global), bit(out.FirstParty), out.AppType, doc, jsonText(c.Secrets), jsonText(c.Keys)); err != nil {
			return err
		}
		return tx.configured(tenantID, e)
	})
}

// DeleteClient deletes a client and all that is its own (management-api.md §14),
// and marks it: its access tokens are refused from now on (SEC-134).
func (s *Store) DeleteClient(ctx context.Context, d tenant.Deletion) error {
	return s.write(ctx, d.TenantID, "config", func(tx *Tx) error {
		n, err := tx.exec(`DELETE FROM clients WHERE tenant_id = $1 AND client_id = $2`, d.TenantID, d.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return tenant.ErrNotFound
		}
		if err := tx.execAll([]any{d.TenantID, d.ID},
			`DELETE FROM client_grants WHERE tenant_id = $1 AND client_id = $2`,
			`DELETE FROM consents WHERE tenant_id = $1 AND client_id = $2`,
			`DELETE FROM codes WHERE tenant_id = $1 AND client_id = $2`,
			`DELETE FROM device_codes WHERE tenant_id = $1 AND client_id = $2`,
		); err != nil {
			return err
		}
		if _, err := tx.exec(`
			UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
			 WHERE tenant_id = $1 AND client_id = $2 AND revoked_at IS NULL`,
			d.TenantID, d.ID, millis(d.At), orText(d.Reason, "client_deleted")); err != nil {
			return err
		}
		if err := tx.disableClient(d.TenantID, d.ID); err != nil {
			return err
		}
		if err := tx.mark(d.TenantID, tenant.MarkSubject{Kind: "client", ID: d.ID}, d.At, d.DeniedUntil); err != nil {
			return err
		}
		return tx.configured(d.TenantID, d.Event)
	})
}

// execAll runs statements that take the same parameters.
func (tx *Tx) execAll(args []any, statements ...string) error {
	for _, st := range statements {
		if _, err := tx.exec(st, args...); err != nil {
			return err
		}
	}
	return nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
