package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const deviceCodeColumns = `tenant_id, hash, user_code, client_id, user_id, decision, document, created_at, expires_at, decided_at,
	polled_at, redeemed_at, told, family_id`

func scanDeviceCode(row scanner) (tenant.DeviceCode, error) {
	var (
		d   tenant.DeviceCode
		doc json.RawMessage
	)
	err := row.Scan(&d.TenantID, &d.Hash, &d.UserCode, &d.ClientID, &d.UserID, &d.Decision, rawOf{&doc}, instant{&d.CreatedAt}, instant{&d.ExpiresAt},
		instant{&d.DecidedAt}, instant{&d.PolledAt}, instant{&d.RedeemedAt}, flag{&d.ExpiryTold}, &d.FamilyID)
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(doc, &d)
}

// CreateDeviceCode inserts a device's request; ErrExists when its user code is
// one that is in use.
func (s *Store) CreateDeviceCode(ctx context.Context, d tenant.DeviceCode) error {
	return s.write(ctx, d.TenantID, "", func(tx *Tx) error {
		_, err := tx.exec(`
			INSERT INTO device_codes (`+deviceCodeColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			d.TenantID, d.Hash, d.UserCode, d.ClientID, d.UserID, d.Decision, jsonText(d), millis(d.CreatedAt), millis(d.ExpiresAt),
			millis(d.DecidedAt), millis(d.PolledAt), millis(d.RedeemedAt), bit(d.ExpiryTold), string(d.FamilyID))
		return err
	})
}

// DeviceCode finds a device's request by the hash of its device code, used up and
// late ones too.
func (s *Store) DeviceCode(ctx context.Context, tenantID, hash string) (tenant.DeviceCode, error) {
	rows, err := s.read.query(ctx, `SELECT `+deviceCodeColumns+` FROM device_codes WHERE tenant_id = $1 AND hash = $2`, tenantID, hash)
	return one(rows, err, scanDeviceCode)
}

// FindUserCode finds the request that waits under a user code. What finds none is
// ErrNotFound and counted; ErrLimited says that who tries has used the tries of
// the window up, whatever the code (SEC-66).
func (s *Store) FindUserCode(ctx context.Context, try tenant.CodeTry) (tenant.DeviceCode, error) {
	type found struct {
		code    tenant.DeviceCode
		refusal error // an error would roll the count back
	}
	f, err := written(ctx, s, try.TenantID, "try "+try.Source, func(tx *Tx, out *found) error {
		*out = found{}
		for _, who := range try.Counted() {
			spent, err := tx.tries(try, who.Who)
			if err != nil {
				return err
			}
			if spent >= who.Limit {
				out.refusal = tenant.ErrLimited
				return nil
			}
		}
		rows, err := tx.query(`
			SELECT `+deviceCodeColumns+` FROM device_codes
			 WHERE tenant_id = $1 AND user_code = $2 AND decision = '' AND expires_at > $3`, try.TenantID, try.UserCode, millis(try.At))
		waiting, err := all(rows, err, scanDeviceCode)
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			out.code = waiting[0]
			return nil
		}
		out.refusal = tenant.ErrNotFound
		for _, who := range try.Counted() {
			if err := tx.countTry(try, who.Who); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return tenant.DeviceCode{}, err
	}
	return f.code, f.refusal
}

func (tx *Tx) tries(try tenant.CodeTry, who string) (int, error) {
	rows, err := tx.query(`
		SELECT count FROM code_tries WHERE tenant_id = $1 AND who = $2 AND expires_at > $3`, try.TenantID, who, millis(try.At))
	counts, err := all(rows, err, scanOne[int64])
	if err != nil || len(counts) == 0 {
		return 0, err
	}
	return int(counts[0]), nil
}

// countTry counts in a window that begins with the first try after the last one.
func (tx *Tx) countTry(try tenant.CodeTry, who string) error {
	_, err := tx.exec(`
		INSERT INTO code_tries (tenant_id, who, count, expires_at) VALUES ($1, $2, 1, $4)
		ON CONFLICT (tenant_id, who) DO UPDATE SET
		  count = CASE WHEN code_tries.expires_at > $3 THEN code_tries.count + 1 ELSE 1 END,
		  expires_at = CASE WHEN code_tries.expires_at > $3 THEN code_tries.expires_at ELSE $4 END`,
		try.TenantID, who, millis(try.At), millis(try.At.Add(try.Window)))
	return err
}

// DecideDevice writes the user's decision about a device: ErrConflict when the
// guard does not hold, the session or the transaction has moved on, or somebody
// has decided already. A consent that exists is widened and keeps its id, which
// the request then names.
func (s *Store) DecideDevice(ctx context.Context, d tenant.DeviceDecision) error {
	return s.write(ctx, d.TenantID, "user "+d.Guard.UserID, func(tx *Tx) error {
		if err := tx.guard(d.TenantID, d.Guard, d.At); err != nil {
			return err
		}
		if err := tx.must(`
			DELETE FROM login_transactions WHERE tenant_id = $1 AND id = $2 AND revision = $3`,
			d.TenantID, d.TransactionID, d.TransactionRevision); err != nil {
			return err
		}
		if d.SessionID != "" {
			if err := tx.useSession(tenant.Grant{
				TenantID: d.TenantID, At: d.At, SessionID: d.SessionID, ClientID: d.Device.ClientID, IdleExpiresAt: d.IdleExpiresAt,
			}); err != nil {
				return err
			}
		}
		device := d.Device
		if d.Consent != nil {
			kept, err := tx.widenConsent(*d.Consent)
			if err != nil {
				return err
			}
			device.ConsentID = kept.ID
		}
		if err := tx.must(`
			UPDATE device_codes SET user_id = $3, decision = $4, document = $5, decided_at = $6
			 WHERE tenant_id = $1 AND hash = $2 AND decision = '' AND expires_at > $6`,
			d.TenantID, device.Hash, device.UserID, device.Decision, jsonText(device), millis(d.At)); err != nil {
			return err
		}
		tx.appendEvent(d.Event)
		return nil
	})
}

// PollDeviceCode notes that the client asked at at; ErrConflict when it has asked
// since before already.
func (s *Store) PollDeviceCode(ctx context.Context, tenantID, hash string, at, before time.Time) error {
	return s.write(ctx, tenantID, "code "+hash, func(tx *Tx) error {
		return tx.must(`
			UPDATE device_codes SET polled_at = $3
			 WHERE tenant_id = $1 AND hash = $2 AND (polled_at IS NULL OR polled_at <= $4)`,
			tenantID, hash, millis(at), millis(before))
	})
}

// TellDeviceExpired notes that the client is told that its code came too late;
// ErrConflict when it was told before.
func (s *Store) TellDeviceExpired(ctx context.Context, tenantID, hash string, e tenant.Event) error {
	return s.write(ctx, tenantID, "code "+hash, func(tx *Tx) error {
		if err := tx.must(`UPDATE device_codes SET told = 1 WHERE tenant_id = $1 AND hash = $2 AND told = 0`, tenantID, hash); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// RedeemDeviceCode uses an allowed code up and inserts the family it proves, in
// one commit; r.CodeHash is the device code's. ErrConflict when it is used up
// already or the guard does not hold; then nothing is used up (REL-7, REL-9).
func (s *Store) RedeemDeviceCode(ctx context.Context, r tenant.Redemption) error {
	key, family := "code "+r.CodeHash, tenant.FamilyID("")
	if r.Issue != nil {
		key, family = issueKey(r.Issue.Family), r.Issue.Family.ID
	}
	return s.write(ctx, r.TenantID, key, func(tx *Tx) error {
		if err := tx.must(`
			UPDATE device_codes SET redeemed_at = $3, family_id = $4
			 WHERE tenant_id = $1 AND hash = $2 AND decision = $5 AND redeemed_at IS NULL AND expires_at > $3`,
			r.TenantID, r.CodeHash, millis(r.At), string(family), tenant.DeviceAllowed); err != nil {
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
