package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// markAhead is how far ahead of its write a mark is, so that a token minted
	// in the race with it is under it (D5).
	markAhead = time.Second
	// markLife is how long a mark is kept when nobody says how long tokens live:
	// longer than the longest access token.
	markLife = 31 * 24 * time.Hour
)

// mark makes what was issued to subject until now unusable (SEC-133). Its time
// is the store's, taken with this write, or at if that is later.
func (tx *Tx) mark(tenantID string, subject tenant.MarkSubject, at, until time.Time) error {
	return tx.markBefore(tenantID, subject, latest(tx.now, at).Add(markAhead), until)
}

func (tx *Tx) markBefore(tenantID string, subject tenant.MarkSubject, notBefore, until time.Time) error {
	n, err := tx.number()
	if err != nil {
		return err
	}
	_, err = tx.exec(`
		INSERT INTO marks (tenant_id, kind, id, not_before, expires_at, n) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (tenant_id, kind, id) DO UPDATE SET
		  not_before = CASE WHEN excluded.not_before > marks.not_before THEN excluded.not_before ELSE marks.not_before END,
		  expires_at = CASE WHEN excluded.expires_at > marks.expires_at THEN excluded.expires_at ELSE marks.expires_at END,
		  n = excluded.n`,
		tenantID, subject.Kind, subject.ID, millis(notBefore), millis(latest(notBefore.Add(markLife), until)), n)
	return err
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Mark is the latest "not before" mark of any of the subjects, zero for none:
// what was issued before it is refused.
func (s *Store) Mark(ctx context.Context, tenantID string, subjects []tenant.MarkSubject) (time.Time, error) {
	if len(subjects) == 0 {
		return time.Time{}, nil
	}
	var b strings.Builder
	b.WriteString(`SELECT MAX(not_before) FROM marks WHERE tenant_id = $1 AND (`)
	args := []any{tenantID}
	for i, m := range subjects {
		if i > 0 {
			b.WriteString(" OR ")
		}
		fmt.Fprintf(&b, "kind = $%d AND id = $%d", len(args)+1, len(args)+2)
		args = append(args, m.Kind, m.ID)
	}
	b.WriteByte(')')
	rows, err := s.read.queryOnce(ctx, b.String(), args...)
	return one(rows, err, func(row scanner) (at time.Time, err error) {
		err = row.Scan(instant{&at})
		return at, err
	})
}

// RefuseIssued marks subject: the access tokens it was given until at, or now if
// that is later, are refused (SEC-133).
func (s *Store) RefuseIssued(ctx context.Context, tenantID string, subject tenant.MarkSubject, at, until time.Time, e tenant.Event) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		if err := tx.mark(tenantID, subject, at, until); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// deny puts the keyed hash of an authorization on the denylist, where nobody
// knows for which APIs its tokens can be; a longer entry stays as it is. An empty
// hash is none.
func (tx *Tx) deny(tenantID, hash string, until time.Time) error {
	return tx.denyFor(tenantID, hash, until, nil)
}

// denyFor is deny for tokens that can be for these APIs alone.
func (tx *Tx) denyFor(tenantID, hash string, until time.Time, audiences []string) error {
	if hash == "" {
		return nil
	}
	n, err := tx.number()
	if err != nil {
		return err
	}
	var apis any // NULL: anybody's
	if audiences != nil {
		apis = jsonText(audiences)
	}
	_, err = tx.exec(`
		INSERT INTO denials (tenant_id, hash, expires_at, audiences, n) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id, hash) DO UPDATE SET
		  expires_at = CASE WHEN excluded.expires_at > denials.expires_at THEN excluded.expires_at ELSE denials.expires_at END,
		  audiences = excluded.audiences, n = excluded.n`,
		tenantID, hash, until.UnixMilli(), apis, n)
	return err
}

// denyFamily puts the access tokens of a family, which is still there, on the
// denylist: those for the API of its authorization, and for those that exchanges
// added (refresh-tokens.md §11).
func (tx *Tx) denyFamily(tenantID string, id tenant.FamilyID, hash string, until time.Time) error {
	type apis struct {
		audience string
		added    []tenant.ResourcePolicy
	}
	rows, err := tx.query(`SELECT audience, resource_servers FROM refresh_tokens WHERE tenant_id = $1 AND id = $2`, tenantID, string(id))
	found, err := all(rows, err, func(row scanner) (a apis, err error) {
		err = row.Scan(&a.audience, jsonOf{&a.added})
		return a, err
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return tx.deny(tenantID, hash, until)
	}
	audiences := []string{} // not nil: without an API there is nobody to tell
	if found[0].audience != "" {
		audiences = append(audiences, found[0].audience)
	}
	for _, p := range found[0].added {
		audiences = append(audiences, p.Audience)
	}
	return tx.denyFor(tenantID, hash, until, audiences)
}

// denyFamilies puts the access tokens of families on the denylist.
func (tx *Tx) denyFamilies(tenantID string, ids []tenant.FamilyID, hash func(tenant.FamilyID) string, until time.Time) error {
	if hash == nil {
		return nil
	}
	for _, id := range ids {
		if err := tx.denyFamily(tenantID, id, hash(id), until); err != nil {
			return err
		}
	}
	return nil
}

// DenyAuthorization puts a hash on the denylist until the last of its tokens has
// expired (D5).
func (s *Store) DenyAuthorization(ctx context.Context, tenantID, hash string, until time.Time, e tenant.Event) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		if err := tx.deny(tenantID, hash, until); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// Denied tells whether the hash is on the denylist at now.
func (s *Store) Denied(ctx context.Context, tenantID, hash string, now time.Time) (bool, error) {
	rows, err := s.read.query(ctx, `
		SELECT 1 FROM denials WHERE tenant_id = $1 AND hash = $2 AND expires_at > $3`, tenantID, hash, now.UnixMilli())
	found, err := all(rows, err, scanOne[int64])
	return len(found) > 0, err
}

// UseAssertion uses the id of a client assertion up; ErrExists when it was used
// before (SEC-11).
func (s *Store) UseAssertion(ctx context.Context, tenantID, clientID, hash string, expires time.Time) error {
	return s.write(ctx, tenantID, "", func(tx *Tx) error {
		n, err := tx.exec(`
			INSERT INTO assertions (tenant_id, client_id, hash, expires_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, client_id, hash) DO NOTHING`,
			tenantID, clientID, hash, expires.UnixMilli())
		if err == nil && n == 0 {
			return tenant.ErrExists
		}
		return err
	})
}
