package token

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// engine stands for a fast library, and breaks when it is told to.
type engine struct {
	loads, signs atomic.Int32
	refuse       error
	wrong, fail  atomic.Bool
}

func (e *engine) Accelerate(key *rsa.PrivateKey) (crypto.Signer, error) {
	e.loads.Add(1)
	return engineKey{e, key}, e.refuse
}

type engineKey struct {
	*engine
	key *rsa.PrivateKey
}

func (k engineKey) Public() crypto.PublicKey { return k.key.Public() }

func (k engineKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.signs.Add(1)
	if k.fail.Load() {
		return nil, errStorage
	}
	s, err := k.key.Sign(rand.Reader, digest, opts)
	if err == nil && k.wrong.Load() {
		s[0] ^= 1
	}
	return s, err
}

// D7: the first signature of each key is checked; whatever goes wrong, valid
// tokens leave, signed by the standard library from then on, and it is told once.
func TestAccelerator(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before  func(*engine) // the first signature
		after   func(*engine) // the second
		signs   int32         // of five: one each of RS256 and PS256 first
		told    int
		refused bool
	}{
		"right":                     {signs: 6},
		"wrong from the start":      {before: func(e *engine) { e.wrong.Store(true) }, signs: 2, told: 2},
		"fails from the start":      {before: func(e *engine) { e.fail.Store(true) }, signs: 2, told: 2},
		"fails later":               {after: func(e *engine) { e.fail.Store(true) }, signs: 4, told: 2},
		"does not take the key":     {before: func(e *engine) { e.refuse = errStorage }, signs: 0, told: 1},
		"fails, then works: no way": {before: func(e *engine) { e.fail.Store(true) }, after: func(e *engine) { e.fail.Store(false) }, signs: 2, told: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, e := newWorld(t), &engine{}
			var mu sync.Mutex
			var told []error
			w.ring = NewRingWith(w.keys, w.vault, RingOptions{Accelerator: e, Fallback: func(_ string, err error) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, err)
			}})
			w.minter = NewMinter(w.ring, rand.Reader)
			sign := func() {
				t.Helper()
				for _, alg := range []string{"RS256", "PS256"} {
					raw := mustAccess(t, w, accessToken(api(alg, "")))
					if _, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon.Add(time.Minute)); err != nil {
						t.Errorf("%s: %v", alg, err)
					}
				}
			}
			if tt.before != nil {
				tt.before(e)
			}
			sign()
			if tt.after != nil {
				tt.after(e)
			}
			sign()
			w.changed() // the key is loaded once, and trust outlives a change of configuration
			sign()
			if e.signs.Load() != tt.signs || e.loads.Load() != 1 {
				t.Errorf("the engine signed %d times with %d keys, want %d with 1", e.signs.Load(), e.loads.Load(), tt.signs)
			}
			if len(told) != tt.told || slices.ContainsFunc(told, func(err error) bool { return err == nil || errors.Is(err, nil) }) {
				t.Errorf("told %v, want %d times", told, tt.told)
			}
		})
	}
}
