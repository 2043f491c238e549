package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Key says whose token an entry of a Store is (SEC-243). Two sources share a
// token exactly if all of it is equal.
type Key struct {
	Issuer   string // Config.Issuer, else Config.TokenURL
	ClientID string
	User     string // empty for a client's own tokens
	Audience string
	Scopes   string // sorted, each once, separated by spaces
}

// String is an unambiguous text of the key, for stores that want one.
func (k Key) String() string {
	var b strings.Builder
	for _, part := range []string{k.Issuer, k.ClientID, k.User, k.Audience, k.Scopes} {
		b.WriteString(strconv.Quote(part))
	}
	return b.String()
}

func sortedScopes(scopes []string) string {
	var all []string
	for _, s := range scopes {
		all = append(all, strings.Fields(s)...)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// Entry is what a Store keeps under a Key.
type Entry struct {
	Token        Token
	RefreshToken Secret // empty for a client's own tokens
	// Attempt is the nonce of a rotation of RefreshToken that was begun and
	// whose answer is not stored yet (AttemptHeader). A store that loses it
	// loses a safety, no token.
	Attempt Secret
}

// ErrNotFound is what Store.Load returns for a key that it does not hold.
var ErrNotFound = errors.New("tokensource: not in the store")

// Store keeps tokens. An implementation is safe for concurrent use, returns
// under a key only what was saved under it, and protects what it keeps: an
// entry with a refresh token is as good as the user's password for this API.
type Store interface {
	// Load returns the entry of key, or ErrNotFound.
	Load(ctx context.Context, key Key) (Entry, error)
	// Save replaces the entry of key. It returns nil only when the entry will
	// survive whatever the store is meant to survive: the refresh token that
	// it replaces is worth nothing any more (SEC-245).
	Save(ctx context.Context, key Key, e Entry) error
	// Delete removes the entry of key, if there is one.
	Delete(ctx context.Context, key Key) error
	// Lock waits until nobody else holds the lock of key and takes it: one
	// request for a token at a time among all who share the store (SEC-244).
	// For stores used by one process, embed Locks.
	Lock(ctx context.Context, key Key) (unlock func(), err error)
}

// Locks is Store.Lock for a store that is used by one process. The zero value
// is ready. It holds a lock only while somebody has it or waits for it.
type Locks struct {
	mu   sync.Mutex
	held map[Key]*lock
}

type lock struct {
	turn  chan struct{} // holds a value while the lock is taken
	users int
}

// Lock takes the lock of key.
func (l *Locks) Lock(ctx context.Context, key Key) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[Key]*lock)
	}
	k := l.held[key]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case k.turn <- struct{}{}:
		return sync.OnceFunc(func() { <-k.turn; leave() }), nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// MemoryStore keeps tokens in memory, for as long as the process lives. The
// zero value is ready; share one among all sources.
type MemoryStore struct {
	Locks
	mu      sync.Mutex
	entries map[Key]Entry
}

// Load implements Store.
func (m *MemoryStore) Load(_ context.Context, key Key) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok {
		return Entry{}, ErrNotFound
	}
	return e, nil
}

// Save implements Store.
func (m *MemoryStore) Save(_ context.Context, key Key, e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = make(map[Key]Entry)
	}
	m.entries[key] = e
	return nil
}

// Delete implements Store.
func (m *MemoryStore) Delete(_ context.Context, key Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
	return nil
}

// Format implements fmt.Formatter: nothing of what is kept is printed.
func (m *MemoryStore) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "tokensource.MemoryStore")
}
