package token

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// maxCached bounds the tenants of a cache; beyond it all are read again.
const maxCached = 4096

// perTenant keeps one T a tenant. It counts only under the configuration version
// that the request's own read returned (D6): an older one is made again, so
// that a revoked key is gone with the next request everywhere.
type perTenant[T any] struct {
	mu      sync.Mutex
	entries map[string]*cached[T]
}

type cached[T any] struct {
	value atomic.Pointer[versioned[T]]
	// turn is held by the one that makes a new value; the others wait for it
	// instead of reading the same keys.
	turn chan struct{}
}

type versioned[T any] struct {
	version int64
	value   *T
}

// get is the tenant's value at t.ConfigVersion or later, from the cache or made
// by load, which may take parts over from old (nil: none). A failed load is not
// remembered.
func (c *perTenant[T]) get(ctx context.Context, t tenant.Tenant, load func(ctx context.Context, old *T) (*T, error)) (*T, error) {
	e := c.entry(t.ID)
	if v := e.value.Load(); v != nil && v.version >= t.ConfigVersion {
		return v.value, nil
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	v := e.value.Load()
	if v != nil && v.version >= t.ConfigVersion {
		return v.value, nil
	}
	var old *T
	if v != nil {
		old = v.value
	}
	value, err := load(ctx, old)
	if err != nil {
		return nil, err
	}
	// What was read may be newer than the version; it is never older.
	e.value.Store(&versioned[T]{t.ConfigVersion, value})
	return value, nil
}

func (c *perTenant[T]) entry(id string) *cached[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	if e == nil {
		if c.entries == nil || len(c.entries) >= maxCached {
			c.entries = make(map[string]*cached[T])
		}
		e = &cached[T]{turn: make(chan struct{}, 1)}
		c.entries[id] = e
	}
	return e
}
