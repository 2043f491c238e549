package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func (tx *Tx) insertCode(c tenant.Code) error {
	_, err := tx.exec(`
		INSERT INTO codes (tenant_id, hash, user_id, client_id, document, created_at, expires_at, redeemed_at, family_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.TenantID, c.Hash, c.UserID, c.ClientID, jsonText(c), millis(c.CreatedAt), millis(c.ExpiresAt), millis(c.RedeemedAt), string(c.FamilyID))
	return err
}

// Code finds a code by the hash of its value, used up ones too (SEC-50).
func (s *Store) Code(ctx context.Context, tenantID, hash string) (tenant.Code, error) {
	rows, err := s.read.query(ctx, `
		SELECT tenant_id, hash, document, created_at, expires_at, redeemed_at, family_id
		  FROM codes WHERE tenant_id = $1 AND hash = $2`, tenantID, hash)
	return one(rows, err, func(row scanner) (tenant.Code, error) {
		var (
			c                          tenant.Code
			doc                        json.RawMessage
			created, expires, redeemed time.Time
			tenantID, hash             string
			family                     tenant.FamilyID
		)
		if err := row.Scan(&tenantID, &hash, rawOf{&doc}, instant{&created}, instant{&expires}, instant{&redeemed}, &family); err != nil {
			return c, err
		}
		err := json.Unmarshal(doc, &c)
		c.TenantID, c.Hash, c.CreatedAt, c.ExpiresAt, c.RedeemedAt, c.FamilyID = tenantID, hash, created, expires, redeemed, family
		return c, err
	})
}

// RedeemCode uses the code up and inserts the family it proves, in one commit.
// ErrConflict when it is used up already or the guard does not hold; then
// nothing is used up (REL-7, REL-9).
func (s *Store) RedeemCode(ctx context.Context, r tenant.Redemption) error {
	key := "code " + r.CodeHash
	if r.Issue != nil {
		key = issueKey(r.Issue.Family)
	}
	return s.write(ctx, r.TenantID, key, func(tx *Tx) error {
		var family tenant.FamilyID
		if r.Issue != nil {
			family = r.Issue.Family.ID
		}
		if err := tx.must(`
			UPDATE codes SET redeemed_at = $3, family_id = $4 WHERE tenant_id = $1 AND hash = $2 AND redeemed_at IS NULL`,
			r.TenantID, r.CodeHash, millis(r.At), string(family)); err != nil {
			return err
		}
		if err := tx.guard(r.TenantID, r.Guard, r.At); err != nil {
			return err
		}
		if r.Issue != nil {
			if err := tx.issue(*r.Issue); err != nil {
				return err
			}
		}
		tx.appendEvent(r.Event)
		return nil
	})
}

// SpendCode uses the code up without issuing anything (SEC-51). One that is used
// up already, or unknown, stays as it is; the event is written in any case.
func (s *Store) SpendCode(ctx context.Context, tenantID, hash string, at time.Time, e tenant.Event) error {
	return s.write(ctx, tenantID, "code "+hash, func(tx *Tx) error {
		_, err := tx.exec(`
			UPDATE codes SET redeemed_at = $3 WHERE tenant_id = $1 AND hash = $2 AND redeemed_at IS NULL`, tenantID, hash, millis(at))
		tx.appendEvent(e)
		return err
	})
}
