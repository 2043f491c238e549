package store

import (
	"sync"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// cache keeps configuration objects as they were read. An entry counts only
// under the tenant's configuration version that the request's own read returned
// (D6, SEC-129), so there is nothing to invalidate. It is bounded (SEC-228), and
// what does not exist is not kept: unknown names cannot push out known ones.
type cache struct {
	mu      sync.RWMutex
	limit   int
	entries map[cacheKey]cacheEntry
}

type cacheKey struct{ tenantID, kind, name string }

type cacheEntry struct {
	version int64
	value   any
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[cacheKey]cacheEntry)}
}

func (c *cache) get(key cacheKey, version int64) (any, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[key]
	if !ok || e.version != version {
		return nil, false
	}
	return e.value, true
}

func (c *cache) put(key cacheKey, version int64, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[key]; ok && old.version > version {
		return
	}
	for other := range c.entries {
		if len(c.entries) < c.limit {
			break
		}
		delete(c.entries, other) // any one: the order of a map is random
	}
	c.entries[key] = cacheEntry{version, value}
}

// cached answers from the cache under t's configuration version, or loads. The
// version was read before the row, so the row is at least as new as it says.
func cached[T any](s *Store, t tenant.Tenant, kind, name string, load func() (T, error)) (T, error) {
	key := cacheKey{t.ID, kind, name}
	if v, ok := s.cache.get(key, t.ConfigVersion); ok {
		return v.(T), nil
	}
	v, err := load()
	if err == nil {
		s.cache.put(key, t.ConfigVersion, v)
	}
	return v, err
}
