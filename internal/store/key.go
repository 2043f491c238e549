package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const keyColumns = `tenant_id, kid, algorithm, state, private, certificate, public, created_at, current_since, current_until, revoked_at, longest_lifetime`

func scanSigningKey(row scanner) (tenant.SigningKey, error) {
	var k tenant.SigningKey
	var longest sql.NullInt64
	err := row.Scan(&k.TenantID, &k.Kid, &k.Algorithm, &k.State, &k.Private, &k.Certificate, &k.Public,
		instant{&k.CreatedAt}, instant{&k.CurrentSince}, instant{&k.CurrentUntil}, instant{&k.RevokedAt}, &longest)
	k.LongestLifetime = time.Duration(longest.Int64) * time.Millisecond
	if !longest.Valid {
		k.LongestLifetime = tenant.MaxTokenLifetime
	}
	return k, err
}

func (tx *Tx) insertSigningKey(k tenant.SigningKey) error {
	_, err := tx.exec(`INSERT INTO signing_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		k.TenantID, k.Kid, k.Algorithm, string(k.State), k.Private, k.Certificate, k.Public,
		millis(k.CreatedAt), millis(k.CurrentSince), millis(k.CurrentUntil), millis(k.RevokedAt), k.LongestLifetime.Milliseconds())
	return err
}

// SigningKeys lists all keys of the tenant, revoked ones too, newest first.
func (s *Store) SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+keyColumns+` FROM signing_keys WHERE tenant_id = $1 ORDER BY created_at DESC, kid`, tenantID)
	return all(rows, err, scanSigningKey)
}

// AddSigningKey puts a key on the ring; ErrExists when its kid is taken, or the
// one place of a current or a next key of its algorithm.
func (s *Store) AddSigningKey(ctx context.Context, k tenant.SigningKey, e tenant.Event) error {
	return s.write(ctx, k.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertSigningKey(k); err != nil {
			return err
		}
		return tx.configured(k.TenantID, e)
	})
}

// RotateSigningKeys moves keys on: next to current, current to previous, new ones
// to next, all in one commit. ErrConflict when a key is not where r says: of many
// nodes that rotate at once one succeeds, and there is always exactly one
// current key of an algorithm (SEC-141).
func (s *Store) RotateSigningKeys(ctx context.Context, r tenant.KeyRotation) error {
	return s.write(ctx, r.TenantID, "config", func(tx *Tx) error {
		for _, m := range r.Moves {
			if err := tx.must(`UPDATE signing_keys SET state = 'previous', current_until = $3 WHERE tenant_id = $1 AND kid = $2 AND state = 'current'`,
				r.TenantID, m.From, millis(r.At)); err != nil {
				return err
			}
			if err := tx.must(`UPDATE signing_keys SET state = 'current', current_since = $3 WHERE tenant_id = $1 AND kid = $2 AND state = 'next'`,
				r.TenantID, m.To, millis(r.At)); err != nil {
				return err
			}
			if err := tx.insertSigningKey(m.Next); err != nil {
				return err
			}
		}
		tx.appendEvent(r.Warning)
		return tx.configured(r.TenantID, r.Event)
	})
}

// ChangeSigningKey takes a previous key out of the key set (its private half is
// deleted with it) or puts one back. ErrConflict when it is not in the state, or
// has signed a longer token, than c says; no other states are taken, so the key
// set never loses the key that signs (D7).
func (s *Store) ChangeSigningKey(ctx context.Context, c tenant.KeyChange) error {
	return s.write(ctx, c.TenantID, "config", func(tx *Tx) error {
		var err error
		lifetime := c.LongestLifetime.Milliseconds()
		if c.LongestLifetime == tenant.AnyLifetime {
			lifetime = -1
		}
		switch {
		case c.From == tenant.KeyPrevious && c.To == tenant.KeyRevoked:
			err = tx.must(`
				UPDATE signing_keys SET state = 'revoked', revoked_at = $3, private = ''
				 WHERE tenant_id = $1 AND kid = $2 AND state = 'previous' AND (CAST($4 AS BIGINT) < 0 OR COALESCE(longest_lifetime, $5) = $4)`,
				c.TenantID, c.Kid, millis(c.At), lifetime, tenant.MaxTokenLifetime.Milliseconds())
		case c.From == tenant.KeyRevoked && c.To == tenant.KeyPrevious:
			err = tx.must(`UPDATE signing_keys SET state = 'previous', revoked_at = NULL WHERE tenant_id = $1 AND kid = $2 AND state = 'revoked'`,
				c.TenantID, c.Kid)
		default:
			err = tenant.ErrConflict
		}
		if err != nil {
			return err
		}
		return tx.configured(c.TenantID, c.Event)
	})
}

// ReplaceSigningKey puts a key on the ring and takes the one in its place out of
// it; ErrConflict when that is no longer there, ErrExists when the kid is taken.
func (s *Store) ReplaceSigningKey(ctx context.Context, c tenant.KeyReplacement) error {
	return s.write(ctx, c.Key.TenantID, "config", func(tx *Tx) error {
		if c.Replaces != "" {
			var err error
			switch c.Key.State {
			case tenant.KeyCurrent:
				err = tx.must(`UPDATE signing_keys SET state = 'previous', current_until = $3 WHERE tenant_id = $1 AND kid = $2 AND state = 'current'`,
					c.Key.TenantID, c.Replaces, millis(c.At))
			case tenant.KeyNext:
				err = tx.must(`UPDATE signing_keys SET state = 'revoked', revoked_at = $3, private = '' WHERE tenant_id = $1 AND kid = $2 AND state = 'next'`,
					c.Key.TenantID, c.Replaces, millis(c.At))
			default:
				err = tenant.ErrConflict
			}
			if err != nil {
				return err
			}
		}
		if err := tx.insertSigningKey(c.Key); err != nil {
			return err
		}
		return tx.configured(c.Key.TenantID, c.Event)
	})
}

// ExtendSigningKey records that a key is about to sign a token of this life,
// before the token exists (SEC-141). ErrConflict when the key signs no longer
// and has been removed.
func (s *Store) ExtendSigningKey(ctx context.Context, tenantID, kid string, lifetime time.Duration) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		return tx.must(`
			UPDATE signing_keys SET longest_lifetime = CASE WHEN longest_lifetime < $3 THEN $3 ELSE longest_lifetime END
			 WHERE tenant_id = $1 AND kid = $2 AND state IN ('current', 'previous')`,
			tenantID, kid, lifetime.Milliseconds())
	})
}

// CountSignatures adds to what keys have signed, and forgets what has expired.
func (s *Store) CountSignatures(ctx context.Context, tenantID string, counts []tenant.SignatureCount) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		for _, c := range counts {
			if _, err := tx.exec(`
				INSERT INTO signatures (tenant_id, kid, expires_at, signed) VALUES ($1, $2, $3, $4)
				ON CONFLICT (tenant_id, kid, expires_at) DO UPDATE SET signed = signatures.signed + excluded.signed`,
				tenantID, c.Kid, millis(c.Until), c.Signed); err != nil {
				return err
			}
		}
		_, err := tx.exec(`DELETE FROM signatures WHERE tenant_id = $1 AND expires_at <= $2`, tenantID, millis(tx.now))
		return err
	})
}

// Signatures lists what keys have signed that is alive at now.
func (s *Store) Signatures(ctx context.Context, tenantID string, now time.Time) ([]tenant.SignatureCount, error) {
	rows, err := s.read.query(ctx, `
		SELECT kid, expires_at, signed FROM signatures WHERE tenant_id = $1 AND expires_at > $2 ORDER BY kid, expires_at`,
		tenantID, millis(now))
	return all(rows, err, func(row scanner) (tenant.SignatureCount, error) {
		var c tenant.SignatureCount
		err := row.Scan(&c.Kid, instant{&c.Until}, &c.Signed)
		return c, err
	})
}

// KeySetServed records, before the first key set of a tenant is served, which
// keys are in it. When another node has recorded a first set, what is not in
// both does not count as being in it.
func (s *Store) KeySetServed(ctx context.Context, tenantID string, kids []string) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		rows, err := tx.query(`SELECT kids FROM key_sets WHERE tenant_id = $1`, tenantID)
		first, err := one(rows, err, scanKids)
		if errors.Is(err, tenant.ErrNotFound) {
			_, err = tx.exec(`INSERT INTO key_sets (tenant_id, kids) VALUES ($1, $2)`, tenantID, jsonText(kids))
			return err
		}
		if err != nil {
			return err
		}
		both := slices.DeleteFunc(slices.Clone(first), func(kid string) bool { return !slices.Contains(kids, kid) })
		if len(both) == len(first) {
			return nil
		}
		_, err = tx.exec(`UPDATE key_sets SET kids = $2 WHERE tenant_id = $1`, tenantID, jsonText(both))
		return err
	})
}

// FirstKeySet is what KeySetServed recorded; ErrNotFound when no key set has
// been served.
func (s *Store) FirstKeySet(ctx context.Context, tenantID string) ([]string, error) {
	rows, err := s.read.query(ctx, `SELECT kids FROM key_sets WHERE tenant_id = $1`, tenantID)
	return one(rows, err, scanKids)
}

func scanKids(row scanner) ([]string, error) {
	var kids []string
	err := row.Scan(jsonOf{&kids})
	return kids, err
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
