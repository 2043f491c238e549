package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const resourceServerColumns = `tenant_id, document, signing_secret, created_at`

func scanResourceServer(row scanner) (tenant.ResourceServer, error) {
	var (
		tenantID, secret string
		doc              json.RawMessage
		created          time.Time
	)
	if err := row.Scan(&tenantID, rawOf{&doc}, &secret, instant{&created}); err != nil {
		return tenant.ResourceServer{}, err
	}
	r, err := tenant.ParseResourceServer(tenantID, doc)
	r.SigningSecret, r.CreatedAt = secret, created
	return r, err
}

// ResourceServer finds an API by its identifier, from the cache under t's
// configuration version.
func (s *Store) ResourceServer(ctx context.Context, t tenant.Tenant, audience string) (tenant.ResourceServer, error) {
	return cached(s, t, "resource server", audience, func() (tenant.ResourceServer, error) {
		rows, err := s.read.query(ctx, `
			SELECT `+resourceServerColumns+` FROM resource_servers WHERE tenant_id = $1 AND identifier = $2`, t.ID, audience)
		return one(rows, err, scanResourceServer)
	})
}

// ResourceServerByID finds an API by its id.
func (s *Store) ResourceServerByID(ctx context.Context, tenantID, id string) (tenant.ResourceServer, error) {
	return resourceServerByID(ctx, s.read, tenantID, id)
}

func resourceServerByID(ctx context.Context, run runner, tenantID, id string) (tenant.ResourceServer, error) {
	rows, err := run.query(ctx, `SELECT `+resourceServerColumns+` FROM resource_servers WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, scanResourceServer)
}

// ResourceServers lists APIs, oldest first; identifiers, if any, choose.
func (s *Store) ResourceServers(ctx context.Context, tenantID string, identifiers []string, p tenant.Page) (tenant.List[tenant.ResourceServer], error) {
	w := newWhere(tenantID)
	w.in("identifier", identifiers)
	return list(ctx, s.read, listing[tenant.ResourceServer]{
		columns: resourceServerColumns, table: "resource_servers", key: createdThenID("id"), scan: scanResourceServer,
		position: func(r tenant.ResourceServer) []string { return age(r.CreatedAt.UnixMilli(), r.ID) },
	}, w, p)
}

// CreateResourceServer inserts an API; ErrExists when its id or identifier is taken.
func (s *Store) CreateResourceServer(ctx context.Context, r tenant.ResourceServer, e tenant.Event) error {
	return s.write(ctx, r.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertResourceServer(r); err != nil {
			return err
		}
		return tx.configured(r.TenantID, e)
	})
}

func (tx *Tx) insertResourceServer(r tenant.ResourceServer) error {
	doc, err := document(r, r.Document)
	if err != nil {
		return err
	}
	_, err = tx.exec(`
		INSERT INTO resource_servers (tenant_id, id, identifier, document, signing_secret, created_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		r.TenantID, r.ID, r.Identifier, doc, r.SigningSecret, millis(r.CreatedAt))
	return err
}

// UpdateResourceServer writes what change returns. An identifier never changes.
// A scope that leaves the API leaves its client grants and consents with it, and
// the machine tokens of those grants are refused (management-endpoints.md §2).
func (s *Store) UpdateResourceServer(ctx context.Context, tenantID, id string, change func(tenant.ResourceServer) (tenant.ResourceServer, error), e tenant.Event) (tenant.ResourceServer, error) {
	return written(ctx, s, tenantID, "config", func(tx *Tx, out *tenant.ResourceServer) error {
		old, err := resourceServerByID(tx.ctx, tx.run, tenantID, id)
		if err != nil {
			return err
		}
		r, err := change(old)
		if err != nil {
			return err
		}
		doc, err := document(r, r.Document)
		if err != nil {
			return err
		}
		if *out, err = tenant.ParseResourceServer(tenantID, json.RawMessage(doc)); err != nil {
			return err
		}
		out.SigningSecret, out.CreatedAt = r.SigningSecret, old.CreatedAt
		if err := tx.must(`
			UPDATE resource_servers SET document = $3, signing_secret = $4 WHERE tenant_id = $1 AND id = $2`,
			tenantID, id, doc, r.SigningSecret); err != nil {
			return err
		}
		if gone := missing(old.ScopeValues(), out.ScopeValues()); len(gone) > 0 {
			if err := tx.withdrawScopes(tenantID, old.Identifier, gone); err != nil {
				return err
			}
		}
		return tx.configured(tenantID, e)
	})
}

// missing are the values of from that to lacks.
func missing(from, to []string) []string {
	return slices.DeleteFunc(slices.Clone(from), func(v string) bool { return slices.Contains(to, v) })
}

// withdrawScopes takes scopes that an API no longer defines out of what clients
// and users were allowed: should one come back with another meaning, nobody has
// it who was not given it anew.
func (tx *Tx) withdrawScopes(tenantID, audience string, gone []string) error {
	rows, err := tx.query(`SELECT `+clientGrantColumns+` FROM client_grants WHERE tenant_id = $1 AND audience = $2`, tenantID, audience)
	grants, err := all(rows, err, scanClientGrant)
	if err != nil {
		return err
	}
	for _, g := range grants {
		rest := missing(g.Scope, gone)
		if len(rest) == len(g.Scope) && !g.AllowAllScopes {
			continue
		}
		doc, err := withMember(g.Document, "scope", rest)
		if err != nil {
			return err
		}
		if err := tx.must(`UPDATE client_grants SET document = $3, epoch = epoch + 1 WHERE tenant_id = $1 AND id = $2`,
			tenantID, g.ID, doc); err != nil {
			return err
		}
		if err := tx.mark(tenantID, grantSubject(g), tx.now, time.Time{}); err != nil {
			return err
		}
	}
	rows, err = tx.query(`SELECT `+consentColumns+` FROM consents WHERE tenant_id = $1 AND audience = $2`, tenantID, audience)
	consents, err := all(rows, err, scanConsent)
	if err != nil {
		return err
	}
	for _, c := range consents {
		rest := missing(c.Scopes, gone)
		if len(rest) == len(c.Scopes) {
			continue
		}
		if err := tx.must(`UPDATE consents SET scopes = $3, updated_at = $4 WHERE tenant_id = $1 AND id = $2`,
			tenantID, c.ID, jsonText(rest), millis(latest(c.UpdatedAt, tx.now))); err != nil {
			return err
		}
	}
	return nil
}

// DeleteResourceServer deletes an API with its client grants, consents and
// families, and marks its audience (SEC-134).
func (s *Store) DeleteResourceServer(ctx context.Context, d tenant.Deletion) error {
	return s.write(ctx, d.TenantID, "config", func(tx *Tx) error {
		r, err := resourceServerByID(tx.ctx, tx.run, d.TenantID, d.ID)
		if err != nil {
			return err
		}
		if err := tx.must(`DELETE FROM resource_servers WHERE tenant_id = $1 AND id = $2`, d.TenantID, d.ID); err != nil {
			return err
		}
		if err := tx.execAll([]any{d.TenantID, r.Identifier},
			`DELETE FROM client_grants WHERE tenant_id = $1 AND audience = $2`,
			`DELETE FROM consents WHERE tenant_id = $1 AND audience = $2`,
		); err != nil {
			return err
		}
		if _, err := tx.exec(`
			UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
			 WHERE tenant_id = $1 AND audience = $2 AND revoked_at IS NULL`,
			d.TenantID, r.Identifier, millis(d.At), orText(d.Reason, "resource_server_deleted")); err != nil {
			return err
		}
		if err := tx.mark(d.TenantID, tenant.MarkSubject{Kind: "audience", ID: r.Identifier}, d.At, d.DeniedUntil); err != nil {
			return err
		}
		return tx.configured(d.TenantID, d.Event)
	})
}
