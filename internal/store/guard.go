package store

import (
	"database/sql"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// guard reads again, inside the transaction, what a request judged before it:
// ErrConflict when the configuration, the user, the session or the consent is no
// longer as judged (SEC-3, SEC-124). One statement reads them all.
func (tx *Tx) guard(tenantID string, g tenant.Guard, at time.Time) error {
	type state struct {
		config           int64
		user             sql.NullInt64
		session, consent bool
	}
	rows, err := tx.query(`
		SELECT config_version,
		       (SELECT version FROM users WHERE tenant_id = $1 AND user_id = $2),
		       (SELECT COUNT(*) FROM sessions
		         WHERE tenant_id = $1 AND id = $3 AND ended_at IS NULL AND expires_at > $4 AND idle_expires_at > $4),
		       (SELECT COUNT(*) FROM consents WHERE tenant_id = $1 AND id = $5)
		  FROM tenants WHERE tenant_id = $1`,
		tenantID, g.UserID, g.SessionID, at.UnixMilli(), g.ConsentID)
	now, err := one(rows, err, func(row scanner) (s state, err error) {
		err = row.Scan(&s.config, &s.user, flag{&s.session}, flag{&s.consent})
		return s, err
	})
	switch {
	case err != nil:
		return err
	case now.config != g.ConfigVersion,
		g.UserID != "" && (!now.user.Valid || now.user.Int64 != g.UserVersion),
		g.SessionID != "" && !now.session,
		g.ConsentID != "" && !now.consent:
		return tenant.ErrConflict
	}
	return nil
}
