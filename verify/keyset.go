package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

const (
	// maxStale is how long a set outlives the last fetch that succeeded (SEC-101).
	maxStale = 24 * time.Hour
	// staleWait is how long a caller waits for a fresh set while it has an old one.
	staleWait = time.Second
	// fetchTimeout bounds a fetch, discovery included (SEC-101).
	fetchTimeout = 5 * time.Second
	// maxUnknown bounds the key ids remembered as unknown (SEC-89, SEC-228).
	maxUnknown = 1000
)

// keyTable is a key set as it was published. It never changes.
type keyTable struct {
	byKid   map[string][]jose.Key
	unnamed []jose.Key // keys without kid
	all     []jose.Key
}

// snapshot is a key set as it was fetched. It never changes. The same bytes,
// fetched again, are the same table: what was verified with it stays verified.
type snapshot struct {
	*keyTable
	sum       [sha256.Size]byte // of the bytes
	validator string            // to ask whether they changed; empty: cannot

	fetchedAt time.Time
	refreshAt time.Time // from here on, fetch in the background
	staleAt   time.Time // from here on, wait for the fetch
	deadAt    time.Time // from here on, the set proves nothing
}

func newSnapshot(keys []jose.Key) *snapshot {
	s := &keyTable{byKid: make(map[string][]jose.Key, len(keys)), all: keys}
	for _, k := range keys {
		if k.Kid == "" {
			s.unnamed = append(s.unnamed, k)
		} else {
			s.byKid[k.Kid] = append(s.byKid[k.Kid], k)
		}
	}
	return &snapshot{keyTable: s}
}

// find returns the key for a token's alg and kid, or nil. One that names no
// key, and one whose name meets keys without names, must leave no choice.
func (s *keyTable) find(alg jose.Algorithm, kid string) *jose.Key {
	if kid != "" {
		named := s.byKid[kid]
		for i := range named {
			if named[i].Fits(alg) {
				return &named[i]
			}
		}
		return only(s.unnamed, alg)
	}
	return only(s.all, alg)
}

// only returns the key that fits alg if there is exactly one.
func only(keys []jose.Key, alg jose.Algorithm) *jose.Key {
	var found *jose.Key
	for i := range keys {
		if keys[i].Fits(alg) {
			if found != nil {
				return nil
			}
			found = &keys[i]
		}
	}
	return found
}

// fetched is what a source of keys answered.
type fetched struct {
	body      []byte
	unchanged bool          // it is the set that the validator was of
	validator string        // for the next time
	said      bool          // whether maxAge was
	maxAge    time.Duration // how long the issuer lets the set be used
}

// keySet keeps the newest snapshot. Looking up a known key takes no lock.
//
// Two things make it fetch, and neither can starve the other: time (no set
// yet, or an old one), and tokens (unknown kid, bad signature). Only the
// second is limited by interval, since anyone can send such tokens.
type keySet struct {
	fetch    func(ctx context.Context, validator string) (fetched, error) // nil: the set is fixed
	now      func() time.Time
	lifetime time.Duration // at most
	floor    time.Duration // at least, whatever the issuer says
	interval time.Duration

	current atomic.Pointer[snapshot]

	mu           sync.Mutex
	flight       *flight              // the fetch under way, if any
	refetchAfter time.Time            // tokens cause no fetch before this
	retryAfter   time.Time            // after a failure, nothing does before this
	failures     int                  // fetches failed in a row
	failure      error                // of the last fetch
	unknown      map[string]time.Time // kids that a fetch did not find, until when

	fetches, failed, refetches, unknownKids atomic.Uint64
}

// flight is one fetch that any number of callers wait for.
type flight struct {
	done chan struct{}
	set  *snapshot // after done: the new set, or nil
	err  error     // after done
}

// usable returns the set to verify with now.
func (k *keySet) usable(ctx context.Context) (*snapshot, error) {
	set := k.current.Load()
	if k.fetch == nil {
		return set, nil
	}
	now := k.now()
	if set != nil && now.Before(set.refreshAt) {
		return set, nil
	}
	f, newer := k.begin(set, now, false)
	switch {
	case newer != nil:
		return newer, nil
	case set != nil && now.Before(set.staleAt):
		return set, nil // the fetch goes on without us
	case set != nil && now.Before(set.deadAt):
		if f == nil {
			return set, nil // the issuer is down: the old set serves on
		}
		wait, cancel := context.WithTimeout(ctx, staleWait)
		defer cancel()
		if newer, err := f.wait(wait); err == nil {
			return newer, nil
		}
		return set, nil
	case f == nil:
		return nil, unavailable(k.lastFailure())
	}
	newer, err := f.wait(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	return newer, nil
}

// refetch is asked for by a token that seen could not verify. It returns the
// newest set, which is seen itself when no fetch is due, and an error when the
// fetch that would have told was tried and failed.
func (k *keySet) refetch(ctx context.Context, seen *snapshot, alg jose.Algorithm, kid string) (*snapshot, error) {
	if k.fetch == nil {
		return seen, nil
	}
	now := k.now()
	if k.knownUnknown(kid, now) {
		return k.current.Load(), nil
	}
	f, newer := k.begin(seen, now, true)
	if newer != nil {
		return newer, nil
	}
	if f == nil {
		if err := k.lastFailure(); err != nil {
			return seen, unavailable(err)
		}
		// The set is younger than the interval: its word is good enough, and
		// 503 for any garbage would let a stranger take us out of a load
		// balancer.
		return seen, nil
	}
	newer, err := f.wait(ctx)
	if err != nil {
		return seen, unavailable(err)
	}
	if newer.find(alg, kid) == nil {
		k.remember(kid, now)
	}
	return newer, nil
}

// begin returns the fetch to wait for, starting one if it is due, or the set
// that came after seen. Both nil means that no fetch may be made now.
func (k *keySet) begin(seen *snapshot, now time.Time, byToken bool) (*flight, *snapshot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if newer := k.current.Load(); newer != seen {
		return nil, newer
	}
	if k.flight != nil {
		return k.flight, nil
	}
	if now.Before(k.retryAfter) {
		return nil, nil
	}
	if byToken {
		if now.Before(k.refetchAfter) {
			return nil, nil
		}
		k.refetchAfter = now.Add(k.interval + rand.N(k.interval/10+1)) // jittered (SEC-89)
		k.refetches.Add(1)
	}
	f := &flight{done: make(chan struct{})}
	k.flight = f
	go k.run(f)
	return f, nil
}

// run makes the fetch. No caller's context ends it: the others still wait.
func (k *keySet) run(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	asked := k.now()
	var life time.Duration
	f.set, life, f.err = k.load(ctx)
	k.fetches.Add(1)

	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(f.done)
	k.flight = nil
	k.failure = f.err
	if f.err != nil {
		k.failed.Add(1)
		k.retryAfter = k.now().Add(min(time.Second<<min(k.failures, 10), k.interval))
		k.failures++
		return
	}
	k.failures = 0
	k.retryAfter = time.Time{}
	f.set.fetchedAt = asked
	f.set.refreshAt = asked.Add(life*4/5 - rand.N(life/20+1))
	f.set.staleAt = asked.Add(life)
	f.set.deadAt = asked.Add(max(maxStale, life))
	k.current.Store(f.set) // and with it go the keys that are no longer published (SEC-101)
}

// load fetches and reads the set, and says for how long it is good. An empty
// one is a fault of the issuer: it must not make us refuse everything at once.
func (k *keySet) load(ctx context.Context) (*snapshot, time.Duration, error) {
	seen := k.current.Load()
	validator := ""
	if seen != nil {
		validator = seen.validator
	}
	got, err := k.fetch(ctx, validator)
	if err != nil {
		return nil, 0, err
	}
	life := k.lifetime
	if got.said {
		life = max(min(got.maxAge, k.lifetime), k.floor)
	}
	if got.unchanged && seen != nil {
		return &snapshot{keyTable: seen.keyTable, sum: seen.sum, validator: got.validator}, life, nil
	}
	sum := sha256.Sum256(got.body)
	if seen != nil && seen.sum == sum {
		return &snapshot{keyTable: seen.keyTable, sum: sum, validator: got.validator}, life, nil
	}
	set, err := jose.ParseSet(got.body)
	if err != nil {
		return nil, 0, errors.New("key set: not a JWKS within the limits")
	}
	if len(set.Keys) == 0 {
		return nil, 0, errors.New("key set: no usable key in it")
	}
	s := newSnapshot(set.Keys)
	s.sum, s.validator = sum, got.validator
	return s, life, nil
}

func (f *flight) wait(ctx context.Context) (*snapshot, error) {
	select {
	case <-f.done:
		return f.set, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// lastFailure is nil unless the last fetch failed.
func (k *keySet) lastFailure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failure
}

// retryIn is when to ask us again after ErrUnavailable.
func (k *keySet) retryIn() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(k.retryAfter.Sub(k.now()), time.Second)
}

// knownUnknown reports whether a recent fetch looked for kid in vain. One bad
// kid sent again and again then costs no fetch that a rotation would need. A
// kid is forgotten after two intervals, in case it was published late.
func (k *keySet) knownUnknown(kid string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.unknown[kid]
	return ok && now.Before(until)
}

func (k *keySet) remember(kid string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unknown == nil {
		k.unknown = make(map[string]time.Time)
	}
	if _, again := k.unknown[kid]; !again && len(k.unknown) >= maxUnknown {
		for old, until := range k.unknown {
			if !now.Before(until) {
				delete(k.unknown, old)
			}
		}
		if len(k.unknown) >= maxUnknown {
			return
		}
	}
	k.unknown[kid] = now.Add(2 * k.interval)
}
