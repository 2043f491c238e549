package verify

import (
	"crypto/sha256"
	"sync"
)

// tokenSum is the key of every cache of tokens: the hash of all of it. Two
// tokens that share each claim are two tokens if their signatures differ (SEC-98).
type tokenSum [sha256.Size]byte

func sumOf(raw string) tokenSum { return sha256.Sum256([]byte(raw)) }

// cache keeps the most recently used values, at most size of them. It has two
// generations: when the young one is full it becomes the old one, whose
// values come back when they are asked for, and the old one goes.
type cache[V any] struct {
	half int

	mu         sync.Mutex
	young, old map[tokenSum]V
}

// newCache returns a cache of at most size values, at least two.
func newCache[V any](size int) *cache[V] {
	return &cache[V]{half: max(size/2, 1), young: make(map[tokenSum]V)}
}

func (c *cache[V]) get(sum tokenSum) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[sum]; ok {
		return v, true
	}
	v, ok := c.old[sum]
	if ok {
		delete(c.old, sum)
		c.add(sum, v)
	}
	return v, ok
}

func (c *cache[V]) put(sum tokenSum, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.old, sum)
	c.add(sum, v)
}

func (c *cache[V]) add(sum tokenSum, v V) {
	if _, again := c.young[sum]; !again && len(c.young) >= c.half {
		c.young, c.old = make(map[tokenSum]V), c.young
	}
	c.young[sum] = v
}

func (c *cache[V]) remove(sum tokenSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, sum)
	delete(c.old, sum)
}

func (c *cache[V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
