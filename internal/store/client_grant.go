package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const clientGrantColumns = `tenant_id, document, epoch, created_at`

func scanClientGrant(row scanner) (tenant.ClientGrant, error) {
	var (
		tenantID string
		doc      json.RawMessage
		epoch    int64
		created  time.Time
	)
	if err := row.Scan(&tenantID, rawOf{&doc}, &epoch, instant{&created}); err != nil {
		return tenant.ClientGrant{}, err
	}
	g, err := tenant.ParseClientGrant(tenantID, doc)
	g.Epoch, g.CreatedAt = epoch, created
	return g, err
}

// subjectType is the subject type as it is stored: client unless it says user.
func subjectType(s string) string { return orText(s, "client") }

// ClientGrant finds what a client may ask of an audience, from the cache under
// t's configuration version.
func (s *Store) ClientGrant(ctx context.Context, t tenant.Tenant, clientID, audience, subject string) (tenant.ClientGrant, error) {
	// A zero byte cannot be part of a stored id, so no two names are alike.
	name := clientID + "\x00" + audience + "\x00" + subjectType(subject)
	return cached(s, t, "client grant", name, func() (tenant.ClientGrant, error) {
		rows, err := s.read.query(ctx, `
			SELECT `+clientGrantColumns+` FROM client_grants
			 WHERE tenant_id = $1 AND client_id = $2 AND audience = $3 AND subject_type = $4`,
			t.ID, clientID, audience, subjectType(subject))
		return one(rows, err, scanClientGrant)
	})
}

// ClientGrantByID finds a client grant by its id.
func (s *Store) ClientGrantByID(ctx context.Context, tenantID, id string) (tenant.ClientGrant, error) {
	return clientGrantByID(ctx, s.read, tenantID, id)
}

func clientGrantByID(ctx context.Context, run runner, tenantID, id string) (tenant.ClientGrant, error) {
	rows, err := run.query(ctx, `SELECT `+clientGrantColumns+` FROM client_grants WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, scanClientGrant)
}

// ClientGrants lists client grants, oldest first.
func (s *Store) ClientGrants(ctx context.Context, tenantID string, f tenant.ClientGrantFilter, p tenant.Page) (tenant.List[tenant.ClientGrant], error) {
	w := newWhere(tenantID)
	w.equal("client_id", f.ClientID)
	w.equal("audience", f.Audience)
	w.equal("subject_type", f.SubjectType)
	return list(ctx, s.read, listing[tenant.ClientGrant]{
		columns: clientGrantColumns, table: "client_grants", key: createdThenID("id"), scan: scanClientGrant,
		position: func(g tenant.ClientGrant) []string { return age(g.CreatedAt.UnixMilli(), g.ID) },
	}, w, p)
}

// CreateClientGrant inserts a client grant; ErrExists when the client has one
// for the audience and subject type.
func (s *Store) CreateClientGrant(ctx context.Context, g tenant.ClientGrant, e tenant.Event) error {
	return s.write(ctx, g.TenantID, "config", func(tx *Tx) error {
		doc, err := document(g, g.Document)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`
			INSERT INTO client_grants (tenant_id, id, client_id, audience, subject_type, document, epoch, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			g.TenantID, g.ID, g.ClientID, g.Audience, subjectType(g.SubjectType), doc, g.Epoch, millis(g.CreatedAt)); err != nil {
			return err
		}
		return tx.configured(g.TenantID, e)
	})
}

// UpdateClientGrant writes what change returns. When that takes scopes away, the
// epoch rises and the machine tokens that are out are marked (D5).
func (s *Store) UpdateClientGrant(ctx context.Context, tenantID, id string, change func(tenant.ClientGrant) (tenant.ClientGrant, error), e tenant.Event) (tenant.ClientGrant, error) {
	return written(ctx, s, tenantID, "config", func(tx *Tx, out *tenant.ClientGrant) error {
		old, err := clientGrantByID(tx.ctx, tx.run, tenantID, id)
		if err != nil {
			return err
		}
		g, err := change(old)
		if err != nil {
			return err
		}
		doc, err := document(g, g.Document)
		if err != nil {
			return err
		}
		if *out, err = tenant.ParseClientGrant(tenantID, json.RawMessage(doc)); err != nil {
			return err
		}
		out.Epoch, out.CreatedAt = old.Epoch, old.CreatedAt
		if narrower(old, *out) {
			out.Epoch++
			if err := tx.mark(tenantID, grantSubject(old), tx.now, time.Time{}); err != nil {
				return err
			}
		}
		if err := tx.must(`
			UPDATE client_grants SET document = $3, epoch = $4 WHERE tenant_id = $1 AND id = $2`,
			tenantID, id, doc, out.Epoch); err != nil {
			return err
		}
		return tx.configured(tenantID, e)
	})
}

// narrower tells whether to allows less than from.
func narrower(from, to tenant.ClientGrant) bool {
	if to.AllowAllScopes {
		return false
	}
	return from.AllowAllScopes || slices.ContainsFunc(from.Scope, func(scope string) bool { return !slices.Contains(to.Scope, scope) })
}

// grantSubject is the mark of the machine tokens of a client grant.
func grantSubject(g tenant.ClientGrant) tenant.MarkSubject {
	return tenant.MarkSubject{Kind: "client_grant", ID: g.ClientID + " " + g.Audience}
}

// DeleteClientGrant deletes a client grant and marks its machine tokens.
func (s *Store) DeleteClientGrant(ctx context.Context, d tenant.Deletion) error {
	return s.write(ctx, d.TenantID, "config", func(tx *Tx) error {
		g, err := clientGrantByID(tx.ctx, tx.run, d.TenantID, d.ID)
		if err != nil {
			return err
		}
		if err := tx.must(`DELETE FROM client_grants WHERE tenant_id = $1 AND id = $2`, d.TenantID, d.ID); err != nil {
			return err
		}
		if err := tx.mark(d.TenantID, grantSubject(g), d.At, d.DeniedUntil); err != nil {
			return err
		}
		return tx.configured(d.TenantID, d.Event)
	})
}
