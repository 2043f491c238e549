package store

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const ticketColumns = `tenant_id, hash, purpose, created_at, expires_at, used_at`

func (tx *Tx) insertTicket(x tenant.Ticket) error {
	_, err := tx.exec(`INSERT INTO tickets (`+ticketColumns+`) VALUES ($1, $2, $3, $4, $5, $6)`,
		x.TenantID, x.Hash, x.Purpose, millis(x.CreatedAt), millis(x.ExpiresAt), millis(x.UsedAt))
	return err
}

// CreateTicket inserts a one-time link.
func (s *Store) CreateTicket(ctx context.Context, x tenant.Ticket, e tenant.Event) error {
	return s.write(ctx, x.TenantID, "", func(tx *Tx) error {
		if err := tx.insertTicket(x); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// Ticket finds a one-time link that can be used at now.
func (s *Store) Ticket(ctx context.Context, tenantID, hash string, now time.Time) (tenant.Ticket, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+ticketColumns+` FROM tickets WHERE tenant_id = $1 AND hash = $2 AND used_at IS NULL AND expires_at > $3`,
		tenantID, hash, now.UnixMilli())
	return one(rows, err, func(row scanner) (tenant.Ticket, error) {
		var x tenant.Ticket
		err := row.Scan(&x.TenantID, &x.Hash, &x.Purpose, instant{&x.CreatedAt}, instant{&x.ExpiresAt}, instant{&x.UsedAt})
		return x, err
	})
}

// UseTicket uses a one-time link up and creates the user; ErrNotFound when it is
// unknown, used or late.
func (s *Store) UseTicket(ctx context.Context, tenantID, hash string, now time.Time, u tenant.User, passwordHash string, e tenant.Event) error {
	return s.write(ctx, tenantID, "ticket "+hash, func(tx *Tx) error {
		n, err := tx.exec(`
			UPDATE tickets SET used_at = $3 WHERE tenant_id = $1 AND hash = $2 AND used_at IS NULL AND expires_at > $3`,
			tenantID, hash, now.UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return tenant.ErrNotFound
		}
		if err := tx.insertUser(u, passwordHash); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}
