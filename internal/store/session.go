package store

import (
	"context"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const sessionColumns = `tenant_id, id, hash, user_id, connection, authenticated_at, amr, created_at, last_used_at, idle_expires_at, expires_at, clients, device, metadata`

func scanSession(row scanner) (tenant.Session, error) {
	var x tenant.Session
	err := row.Scan(&x.TenantID, &x.ID, &x.Hash, &x.UserID, &x.Connection, instant{&x.AuthenticatedAt}, jsonOf{&x.AMR}, instant{&x.CreatedAt},
		instant{&x.LastUsedAt}, instant{&x.IdleExpiresAt}, instant{&x.ExpiresAt}, jsonOf{&x.Clients}, jsonOf{&x.Device}, jsonOf{&x.Metadata})
	return x, err
}

// SessionByHash finds a session that has not been ended by the hash of its
// cookie's value. Whether it has expired is the caller's to judge.
func (s *Store) SessionByHash(ctx context.Context, tenantID, hash string) (tenant.Session, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+sessionColumns+` FROM sessions WHERE tenant_id = $1 AND hash = $2 AND ended_at IS NULL`, tenantID, hash)
	return one(rows, err, scanSession)
}

// Session finds a session that has not been ended.
func (s *Store) Session(ctx context.Context, tenantID, id string) (tenant.Session, error) {
	return sessionByID(ctx, s.read, tenantID, id)
}

func sessionByID(ctx context.Context, run runner, tenantID, id string) (tenant.Session, error) {
	rows, err := run.query(ctx, `
		SELECT `+sessionColumns+` FROM sessions WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL`, tenantID, id)
	return one(rows, err, scanSession)
}

// CompleteLogin writes a successful authentication: ErrConflict when the user is
// not as judged or blocked, or the transaction has moved on. The older session
// of the browser ends (SEC-161).
func (s *Store) CompleteLogin(ctx context.Context, l tenant.Login) error {
	x := l.Session
	return s.write(ctx, x.TenantID, "user "+x.UserID, func(tx *Tx) error {
		if err := tx.must(`
			UPDATE users SET logins_count = logins_count + 1, last_login_at = $4, last_ip = $5,
			       password_hash = CASE WHEN $6 = '' THEN password_hash ELSE $6 END
			 WHERE tenant_id = $1 AND user_id = $2 AND version = $3 AND blocked = 0`,
			x.TenantID, x.UserID, l.UserVersion, millis(x.AuthenticatedAt), l.IP, l.NewPasswordHash); err != nil {
			return err
		}
		if l.Replaces != "" {
			if err := tx.endSession(x.TenantID, l.Replaces, x.CreatedAt); err != nil {
				return err
			}
		}
		if err := tx.insertSession(x); err != nil {
			return err
		}
		if l.Transaction.ID != "" {
			if err := tx.saveTransaction(l.Transaction); err != nil {
				return err
			}
		}
		tx.appendEvent(l.Event)
		return nil
	})
}

func (tx *Tx) insertSession(x tenant.Session) error {
	_, err := tx.exec(`
		INSERT INTO sessions (`+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		x.TenantID, x.ID, x.Hash, x.UserID, x.Connection, millis(x.AuthenticatedAt), jsonText(x.AMR), millis(x.CreatedAt),
		millis(x.LastUsedAt), millis(x.IdleExpiresAt), millis(x.ExpiresAt), jsonText(x.Clients), jsonText(x.Device), jsonText(x.Metadata))
	return err
}

func (tx *Tx) endSession(tenantID, id string, at time.Time) error {
	_, err := tx.exec(`
		UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL`, tenantID, id, millis(at))
	return err
}

func sessionWhere(tenantID string, f tenant.SessionFilter) *where {
	w := newWhere(tenantID)
	w.equal("id", f.ID)
	w.equal("user_id", f.UserID)
	n := w.arg(f.Now.UnixMilli())
	w.add("ended_at IS NULL AND expires_at > " + n + " AND idle_expires_at > " + n)
	return w
}

func sessionListing() listing[tenant.Session] {
	return listing[tenant.Session]{
		columns: sessionColumns, table: "sessions", key: createdThenID("id"), scan: scanSession,
		position: func(x tenant.Session) []string { return age(x.CreatedAt.UnixMilli(), x.ID) },
	}
}

// Sessions lists the sessions that live at f.Now, oldest first.
func (s *Store) Sessions(ctx context.Context, tenantID string, f tenant.SessionFilter, p tenant.Page) (tenant.List[tenant.Session], error) {
	return list(ctx, s.read, sessionListing(), sessionWhere(tenantID, f), p)
}

// SetSessionMetadata replaces the metadata of a session that has not been ended.
func (s *Store) SetSessionMetadata(ctx context.Context, tenantID, id string, metadata map[string]string, e tenant.Event) (tenant.Session, error) {
	return written(ctx, s, tenantID, "", func(tx *Tx, out *tenant.Session) error {
		n, err := tx.exec(`
			UPDATE sessions SET metadata = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL`, tenantID, id, jsonText(metadata))
		if err != nil {
			return err
		}
		if n == 0 {
			return tenant.ErrNotFound
		}
		if *out, err = sessionByID(tx.ctx, tx.run, tenantID, id); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// EndSessions ends sessions as d says and tells how many; callers go on until it
// says 0. Codes and logins in progress end with their session, which their
// writes read again. A filter that names nothing is refused.
func (s *Store) EndSessions(ctx context.Context, d tenant.SessionEnd) (int, error) {
	if d.Filter.ID == "" && d.Filter.UserID == "" {
		return 0, tenant.ErrQuery
	}
	return written(ctx, s, d.TenantID, "user "+d.Filter.UserID, func(tx *Tx, count *int) error {
		f := d.Filter
		if f.Now.IsZero() {
			f.Now = d.At
		}
		found, err := list(tx.ctx, tx.run, sessionListing(), sessionWhere(d.TenantID, f), tenant.Page{Limit: max(d.Limit, 1)})
		if err != nil {
			return err
		}
		for _, x := range found.Items {
			if err := tx.endSession(d.TenantID, x.ID, d.At); err != nil {
				return err
			}
			if !d.WithFamilies {
				continue
			}
			if err := tx.revokeBound(d, x); err != nil {
				return err
			}
		}
		*count = len(found.Items)
		tx.appendEvent(d.Event)
		return nil
	})
}

// revokeBound ends the families that came from a session, and the access tokens
// that came from it without one: from its codes, or straight from the login (D5).
func (tx *Tx) revokeBound(d tenant.SessionEnd, x tenant.Session) error {
	rows, err := tx.query(`
		UPDATE refresh_tokens SET revoked_at = $3, revoked_reason = $4
		 WHERE tenant_id = $1 AND session_id = $2 AND revoked_at IS NULL
		RETURNING `+familyColumns,
		d.TenantID, x.ID, millis(d.At), orText(d.Reason, "session_revoked"))
	ended, err := all(rows, err, scanFamily)
	if err != nil {
		return err
	}
	for _, f := range ended {
		if err := tx.denyFamilies(d.TenantID, []tenant.FamilyID{f.ID}, d.FamilyHash, d.DeniedUntil); err != nil {
			return err
		}
		tx.appendEvent(ofFamily(d.FamilyEvent, f))
	}
	if d.FamilyHash == nil {
		return nil
	}
	if err := tx.deny(d.TenantID, d.FamilyHash(tenant.FamilyID(x.ID)), d.DeniedUntil); err != nil {
		return err
	}
	return tx.denyCodes(d.Deletion, d.TenantID, x.UserID, func(c spentCode) bool { return c.of.SessionID == x.ID })
}

// ofFamily completes an event about a family.
func ofFamily(e tenant.Event, f tenant.RefreshToken) tenant.Event {
	e.FamilyID, e.Generation, e.SessionID, e.Audience = f.ID, f.Generation, f.SessionID, f.Audience
	e.ClientID, e.UserID = f.ClientID, f.UserID
	return e
}

// EndSession ends a session. One that is ended already, or unknown, changes
// nothing and is no error; the event is then not written.
func (s *Store) EndSession(ctx context.Context, tenantID, id string, e tenant.Event) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		n, err := tx.exec(`
			UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL`, tenantID, id, millis(tx.now))
		if err == nil && n > 0 {
			tx.appendEvent(e)
		}
		return err
	})
}

// useSession writes that a live session was used for a client.
func (tx *Tx) useSession(g tenant.Grant) error {
	x, err := sessionByID(tx.ctx, tx.run, g.TenantID, g.SessionID)
	if err != nil {
		return conflictIfGone(err)
	}
	if g.ClientID != "" && !slices.Contains(x.Clients, g.ClientID) {
		x.Clients = append(x.Clients, g.ClientID)
	}
	return tx.must(`
		UPDATE sessions SET last_used_at = $3, idle_expires_at = $4, clients = $5
		 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3`,
		g.TenantID, g.SessionID, millis(g.At), millis(g.IdleExpiresAt), jsonText(x.Clients))
}

// Answer writes a whole authorization answer in one commit: ErrConflict when the
// guard does not hold, the session has ended or the transaction has moved on. A
// consent that exists for the user, client and audience is widened and keeps its
// id, which the code then names.
func (s *Store) Answer(ctx context.Context, g tenant.Grant) error {
	return s.write(ctx, g.TenantID, "user "+g.Guard.UserID, func(tx *Tx) error {
		if err := tx.guard(g.TenantID, g.Guard, g.At); err != nil {
			return err
		}
		if g.TransactionID != "" {
			if err := tx.must(`
				DELETE FROM login_transactions WHERE tenant_id = $1 AND id = $2 AND revision = $3`,
				g.TenantID, g.TransactionID, g.TransactionRevision); err != nil {
				return err
			}
		}
		if g.SessionID != "" {
			if err := tx.useSession(g); err != nil {
				return err
			}
		}
		consentID := ""
		if g.Consent != nil {
			kept, err := tx.widenConsent(*g.Consent)
			if err != nil {
				return err
			}
			consentID = kept.ID
		}
		if g.Code != nil {
			code := *g.Code
			if consentID != "" {
				code.ConsentID = consentID
			}
			if err := tx.insertCode(code); err != nil {
				return err
			}
		}
		tx.appendEvent(g.Event)
		return nil
	})
}
