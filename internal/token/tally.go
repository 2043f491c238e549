package token

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// tally counts, in memory, how many tokens keys have signed, by the hour in
// which they expire. It is what tells the price of removing a key; how long a
// key is needed does not rest on it.
type tally struct {
	mu     sync.Mutex
	counts map[tallied]int64
}

type tallied struct {
	tenantID, kid string
	until         int64 // Unix seconds, a whole hour
}

func (l *tally) add(tenantID, kid string, expires time.Time) {
	l.addTo(tallied{tenantID, kid, expires.Truncate(time.Hour).Add(time.Hour).Unix()}, 1)
}

func (l *tally) addTo(key tallied, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[tallied]int64)
	}
	l.counts[key] += n
}

func (l *tally) take() map[tallied]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := l.counts
	l.counts = nil
	return counts
}

// Flush adds what this node has signed since the last call to the store's
// counts. What cannot be written is kept for the next call.
func (r *Ring) Flush(ctx context.Context) error {
	byTenant := make(map[string][]tenant.SignatureCount)
	for key, n := range r.tally.take() {
		byTenant[key.tenantID] = append(byTenant[key.tenantID], tenant.SignatureCount{
			Kid: key.kid, Until: time.Unix(key.until, 0).UTC(), Signed: n,
		})
	}
	var errs []error
	for id, counts := range byTenant {
		if err := r.keys.CountSignatures(ctx, id, counts); err != nil {
			errs = append(errs, err)
			for _, c := range counts {
				r.tally.addTo(tallied{id, c.Kid, c.Until.Unix()}, c.Signed)
			}
		}
	}
	return errors.Join(errs...)
}
