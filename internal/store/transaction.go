package store

import (
	"context"
	"errors"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const transactionColumns = `tenant_id, id, binding, request, session_id, user_id, revision, created_at, expires_at`

// conflictIfGone is for a row that a write depends on: that it is gone means
// that it is not as judged.
func conflictIfGone(err error) error {
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.ErrConflict
	}
	return err
}

// CreateTransaction inserts a login in progress.
func (s *Store) CreateTransaction(ctx context.Context, x tenant.Transaction) error {
	return s.write(ctx, x.TenantID, "", func(tx *Tx) error {
		_, err := tx.exec(`INSERT INTO login_transactions (`+transactionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			x.TenantID, x.ID, x.Binding, raw(x.Request), x.SessionID, x.UserID, x.Revision, millis(x.CreatedAt), millis(x.ExpiresAt))
		return err
	})
}

// Transaction finds a login in progress.
func (s *Store) Transaction(ctx context.Context, tenantID, id string) (tenant.Transaction, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+transactionColumns+` FROM login_transactions WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, func(row scanner) (tenant.Transaction, error) {
		var x tenant.Transaction
		err := row.Scan(&x.TenantID, &x.ID, &x.Binding, rawOf{&x.Request}, &x.SessionID, &x.UserID, &x.Revision,
			instant{&x.CreatedAt}, instant{&x.ExpiresAt})
		return x, err
	})
}

// SaveTransaction writes the transaction at its revision and raises that;
// ErrConflict when it has moved on.
func (s *Store) SaveTransaction(ctx context.Context, x tenant.Transaction) error {
	return s.write(ctx, x.TenantID, "", func(tx *Tx) error { return tx.saveTransaction(x) })
}

func (tx *Tx) saveTransaction(x tenant.Transaction) error {
	return tx.must(`
		UPDATE login_transactions SET binding = $4, request = $5, session_id = $6, user_id = $7, expires_at = $8, revision = revision + 1
		 WHERE tenant_id = $1 AND id = $2 AND revision = $3`,
		x.TenantID, x.ID, x.Revision, x.Binding, raw(x.Request), x.SessionID, x.UserID, millis(x.ExpiresAt))
}

// DeleteTransaction ends a login in progress. One that is gone changes nothing
// and is no error; the event is written in any case.
func (s *Store) DeleteTransaction(ctx context.Context, tenantID, id string, e tenant.Event) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM login_transactions WHERE tenant_id = $1 AND id = $2`, tenantID, id)
		tx.appendEvent(e)
		return err
	})
}
