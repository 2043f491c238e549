package store

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// number is the next number of the tenant's notices. The counter's row is
// written in the same commit as what it numbers, so the order of numbers is the
// order of commits: who has read up to one never misses a smaller one (D6).
func (tx *Tx) number() (int64, error) {
	rows, err := tx.query(`
		INSERT INTO revocation_counters (tenant_id, epoch, n) VALUES ($1, $2, 1)
		ON CONFLICT (tenant_id) DO UPDATE SET n = revocation_counters.n + 1
		RETURNING n`, tx.tenantID, millis(tx.now))
	n, err := one(rows, err, scanOne[int64])
	tx.numbered = tx.numbered || err == nil
	return n, err
}

// FeedPosition is how far the tenant's notices are numbered; its zero value says
// that there has been none.
func (s *Store) FeedPosition(ctx context.Context, tenantID string) (tenant.FeedPosition, error) {
	rows, err := s.read.query(ctx, `SELECT epoch, n FROM revocation_counters WHERE tenant_id = $1`, tenantID)
	found, err := all(rows, err, func(row scanner) (p tenant.FeedPosition, err error) {
		err = row.Scan(&p.Epoch, &p.Number)
		return p, err
	})
	if err != nil || len(found) == 0 {
		return tenant.FeedPosition{}, err
	}
	return found[0], nil
}

// Notices are the tenant's notices beyond a number that still count at now, at
// most limit, in order. A negative number asks for all. They are read by one
// statement: between two, a commit could put a smaller number behind a larger one.
func (s *Store) Notices(ctx context.Context, tenantID string, after int64, now time.Time, limit int) ([]tenant.Notice, error) {
	rows, err := s.read.query(ctx, `
		SELECT n, hash, audiences, '' AS kind, '' AS id, NULL AS not_before, expires_at FROM denials
		 WHERE tenant_id = $1 AND n > $2 AND expires_at > $3
		UNION ALL
		SELECT n, '', '[]', kind, id, not_before, expires_at FROM marks
		 WHERE tenant_id = $1 AND n > $2 AND expires_at > $3
		ORDER BY n LIMIT $4`, tenantID, after, now.UnixMilli(), limit)
	return all(rows, err, func(row scanner) (tenant.Notice, error) {
		var n tenant.Notice
		var audiences *string
		err := row.Scan(&n.Number, &n.Hash, &audiences, &n.Mark.Kind, &n.Mark.ID, instant{&n.NotBefore}, instant{&n.ExpiresAt})
		if err == nil && audiences != nil {
			err = json.Unmarshal([]byte(*audiences), &n.Audiences)
		}
		n.Everybody = audiences == nil
		return n, err
	})
}

// bell wakes those of this process who follow a tenant's notices. Who follows
// looks from time to time too, for what other nodes commit.
type bell struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

func (b *bell) ring(tenantID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.waiting[tenantID]; c != nil {
		close(c)
		delete(b.waiting, tenantID)
	}
}

// NoticesChanged is closed when this process has committed a notice of the tenant
// after the call.
func (s *Store) NoticesChanged(tenantID string) <-chan struct{} {
	b := &s.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = make(map[string]chan struct{})
	}
	c := b.waiting[tenantID]
	if c == nil {
		c = make(chan struct{})
		b.waiting[tenantID] = c
	}
	return c
}
