// Package scsstore keeps the tokens of package tokensource with the HTTP
// sessions of github.com/alexedwards/scs: each browser session has tokens of
// its own, which end with it.
//
// The session holds a random name and nothing else. The tokens are a record of
// their own under that name in the session manager's store, encrypted: scs reads
// a session when a request begins and writes it when that ends, so that of two
// requests at a time the later one would write back the refresh token that the
// other had spent. A record of its own is read anew and written at once
// (SEC-245).
//
// It promises one request for a token at a time within this process. The stores
// of scs know no locks: processes that serve the same session at the same time
// may both present its refresh token, which the issuer's leeway or the attempt
// nonce forgives. Where the leeway is zero use package sqlstore.
//
// It refuses a context without a session; put SessionManager.LoadAndSave around
// the handlers.
package scsstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/bulla-auth/bulla/tokensource"
)

const (
	sessionKey = "bulla.tokens" // where a session has the name of its records
	sealedKey  = "bulla.sealed" // where a record has its entry
)

// ErrNoSession says that the context has no session of the manager in it.
var ErrNoSession = errors.New("scsstore: no session in the context")

// Store is a tokensource.Store whose entries belong to the session in the
// context. Use a source per request, of one tokensource.Users: a source that is
// shared among sessions would have one session's tokens at hand for another.
type Store struct {
	sessions *scs.SessionManager
	sealer   *tokensource.Sealer
	locks    tokensource.Locks
}

// New returns a store in the sessions of a manager.
func New(sessions *scs.SessionManager, sealer *tokensource.Sealer) (*Store, error) {
	if sessions == nil || sealer == nil {
		return nil, errors.New("scsstore: New needs a session manager and a Sealer")
	}
	return &Store{sessions: sessions, sealer: sealer}, nil
}

// session runs f, which asks scs about the context's session. scs panics where
// there is none, which in a goroutine of a source would end the program.
func session[T any](f func() T) (value T, err error) {
	defer func() {
		if recover() != nil {
			err = ErrNoSession
		}
	}()
	return f(), nil
}

// name is the session's name for its records; "" while it has none.
func (s *Store) name(ctx context.Context) (string, error) {
	return session(func() string { return s.sessions.GetString(ctx, sessionKey) })
}

// record is where an entry is in the manager's store: a name that cannot be
// guessed, so that no cookie leads there.
func record(name string, key tokensource.Key) string {
	sum := sha256.Sum256([]byte(name + "\x00" + key.String()))
	return sessionKey + "." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Load implements tokensource.Store.
func (s *Store) Load(ctx context.Context, key tokensource.Key) (tokensource.Entry, error) {
	name, err := s.name(ctx)
	if err != nil {
		return tokensource.Entry{}, err
	}
	if name == "" {
		return tokensource.Entry{}, tokensource.ErrNotFound
	}
	data, found, err := s.find(ctx, record(name, key))
	if err != nil {
		return tokensource.Entry{}, fmt.Errorf("scsstore: load: %w", err)
	}
	if !found {
		return tokensource.Entry{}, tokensource.ErrNotFound
	}
	_, values, err := s.sessions.Codec.Decode(data)
	if err != nil {
		return tokensource.Entry{}, tokensource.ErrSealed
	}
	sealed, _ := values[sealedKey].([]byte)
	return s.sealer.Open(key, sealed)
}

// Save implements tokensource.Store. The entry lives as long as the session may.
func (s *Store) Save(ctx context.Context, key tokensource.Key, e tokensource.Entry) error {
	name, err := s.name(ctx)
	if err != nil {
		return err
	}
	if name == "" {
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
		name = base64.RawURLEncoding.EncodeToString(b[:])
		if _, err := session(func() bool { s.sessions.Put(ctx, sessionKey, name); return true }); err != nil {
			return err
		}
	}
	deadline, err := session(func() time.Time { return s.sessions.Deadline(ctx) })
	if err != nil {
		return err
	}
	sealed, err := s.sealer.Seal(key, e)
	if err != nil {
		return err
	}
	// In the form of a session, of nobody: SessionManager.Iterate reads all
	// records and stops at one that it cannot.
	data, err := s.sessions.Codec.Encode(deadline, map[string]any{sealedKey: sealed})
	if err == nil {
		err = s.commit(ctx, record(name, key), data, deadline)
	}
	if err != nil {
		return fmt.Errorf("scsstore: save: %w", err)
	}
	return nil
}

// Delete implements tokensource.Store. Call it, by Stored.Forget, before
// SessionManager.Destroy: after that nobody knows the record's name, and it
// stays until the session would have ended.
func (s *Store) Delete(ctx context.Context, key tokensource.Key) error {
	name, err := s.name(ctx)
	if err != nil || name == "" {
		return err
	}
	if err := s.remove(ctx, record(name, key)); err != nil {
		return fmt.Errorf("scsstore: delete: %w", err)
	}
	return nil
}

// Lock implements tokensource.Store, within this process and this session.
func (s *Store) Lock(ctx context.Context, key tokensource.Key) (unlock func(), err error) {
	name, err := s.name(ctx)
	if err != nil {
		return nil, err
	}
	key.User = name + " " + key.User // the lock's key: another session waits for nobody here
	return s.locks.Lock(ctx, key)
}

// The manager's store may know contexts.

func (s *Store) find(ctx context.Context, token string) ([]byte, bool, error) {
	if c, ok := s.sessions.Store.(scs.CtxStore); ok {
		return c.FindCtx(ctx, token)
	}
	return s.sessions.Store.Find(token)
}

func (s *Store) commit(ctx context.Context, token string, data []byte, expiry time.Time) error {
	if c, ok := s.sessions.Store.(scs.CtxStore); ok {
		return c.CommitCtx(ctx, token, data, expiry)
	}
	return s.sessions.Store.Commit(token, data, expiry)
}

func (s *Store) remove(ctx context.Context, token string) error {
	if c, ok := s.sessions.Store.(scs.CtxStore); ok {
		return c.DeleteCtx(ctx, token)
	}
	return s.sessions.Store.Delete(token)
}
