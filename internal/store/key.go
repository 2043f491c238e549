package store

import (
	"context"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const keyColumns = `tenant_id, kid, algorithm, state, private, certificate, public, created_at, current_since, current_until, revoked_at`

func scanSigningKey(row scanner) (tenant.SigningKey, error) {
	var k tenant.SigningKey
	err := row.Scan(&k.TenantID, &k.Kid, &k.Algorithm, &k.State, &k.Private, &k.Certificate, &k.Public,
		instant{&k.CreatedAt}, instant{&k.CurrentSince}, instant{&k.CurrentUntil}, instant{&k.RevokedAt})
	return k, err
}

func (tx *Tx) insertSigningKey(k tenant.SigningKey) error {
	_, err := tx.exec(`INSERT INTO signing_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		k.TenantID, k.Kid, k.Algorithm, string(k.State), k.Private, k.Certificate, k.Public,
		millis(k.CreatedAt), millis(k.CurrentSince), millis(k.CurrentUntil), millis(k.RevokedAt))
	return err
}

// SigningKeys lists all keys of the tenant, revoked ones too, newest first.
func (s *Store) SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+keyColumns+` FROM signing_keys WHERE tenant_id = $1 ORDER BY created_at DESC, kid`, tenantID)
	return all(rows, err, scanSigningKey)
}

// AddSigningKey puts a key on the ring; ErrExists when its kid is taken.
func (s *Store) AddSigningKey(ctx context.Context, k tenant.SigningKey, e tenant.Event) error {
	return s.write(ctx, k.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertSigningKey(k); err != nil {
			return err
		}
		return tx.configured(k.TenantID, e)
	})
}

const secretColumns = `tenant_id, purpose, version, sealed, created_at`

func (tx *Tx) insertSecret(x tenant.Secret) error {
	_, err := tx.exec(`INSERT INTO secrets (`+secretColumns+`) VALUES ($1, $2, $3, $4, $5)`,
		x.TenantID, x.Purpose, int64(x.Version), x.Sealed, millis(x.CreatedAt))
	return err
}

// Secrets lists all versions of a secret of the tenant, newest first.
func (s *Store) Secrets(ctx context.Context, tenantID, purpose string) ([]tenant.Secret, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+secretColumns+` FROM secrets WHERE tenant_id = $1 AND purpose = $2 ORDER BY version DESC`, tenantID, purpose)
	return all(rows, err, func(row scanner) (tenant.Secret, error) {
		var x tenant.Secret
		err := row.Scan(&x.TenantID, &x.Purpose, &x.Version, &x.Sealed, instant{&x.CreatedAt})
		return x, err
	})
}

// AddSecret adds a version of a secret; ErrExists when it is taken.
func (s *Store) AddSecret(ctx context.Context, x tenant.Secret, e tenant.Event) error {
	return s.write(ctx, x.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertSecret(x); err != nil {
			return err
		}
		return tx.configured(x.TenantID, e)
	})
}
