// Package sqlstore keeps the tokens of package tokensource in a table of a SQL
// database, so that any number of machines share them.
//
// It promises what tokensource.Store asks for: one request for a token at a
// time among all that use the table, and that what is stored is encrypted. Only
// one of them has the lease of a row at a time; it is held by renewing it, so
// that it goes with a process that dies, and nobody's clock is compared with
// anybody else's. Who lost the lease, as after a long pause, can save nothing.
//
// It speaks SQLite and PostgreSQL, through whatever driver made the *sql.DB,
// and refuses to keep anything in clear. How durable a saved token is, the
// database says: with SQLite use synchronous=FULL.
package sqlstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/tokensource"
)

// Options configure a Store. Sealer is required.
type Options struct {
	// Sealer encrypts what is stored. All that share the table have its key.
	Sealer *tokensource.Sealer
	// Table is the table's name, of letters, digits, underscores and dots.
	// Default "oauth_tokens".
	Table string
	// QuestionMarks writes parameters as "?" instead of "$1", for drivers that
	// know nothing else.
	QuestionMarks bool
	// Lease is how long a row stays with a process that does not renew its
	// lease any more. Default 15 s.
	Lease time.Duration
	// Poll is how often one who waits looks whether the row is free, at most.
	// Default 100 ms.
	Poll time.Duration
}

// ErrLeaseLost says that another process took the row over, since this one
// did not renew its lease in time. Nothing was stored.
var ErrLeaseLost = errors.New("sqlstore: the lease was lost")

// Store is a tokensource.Store. Make it with New.
type Store struct {
	db     *sql.DB
	sealer *tokensource.Sealer
	lease  time.Duration
	poll   time.Duration
	locks  tokensource.Locks // among the goroutines of this process
	sql    statements

	mu   sync.Mutex
	held map[string]*lease // by row
}

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// New returns a store in db, whose table is there: see CreateTable.
func New(db *sql.DB, o Options) (*Store, error) {
	if o.Table == "" {
		o.Table = "oauth_tokens"
	}
	if o.Lease == 0 {
		o.Lease = 15 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = 100 * time.Millisecond
	}
	switch {
	case db == nil:
		return nil, errors.New("sqlstore: New needs a database")
	case o.Sealer == nil:
		return nil, errors.New("sqlstore: New needs a Sealer")
	case !tableName.MatchString(o.Table):
		return nil, errors.New("sqlstore: Table: not a plain name")
	case o.Lease < time.Second, o.Poll < time.Millisecond:
		return nil, errors.New("sqlstore: Lease or Poll: too short")
	}
	return &Store{
		db: db, sealer: o.Sealer, lease: o.Lease, poll: o.Poll,
		sql: newStatements(o.Table, o.QuestionMarks), held: make(map[string]*lease),
	}, nil
}

// CreateTable makes the table if it is not there. Programs that may not make
// tables run its text as a migration:
//
//	CREATE TABLE IF NOT EXISTS oauth_tokens (id TEXT PRIMARY KEY, sealed TEXT, lease TEXT)
func (s *Store) CreateTable(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, s.sql.create); err != nil {
		return fmt.Errorf("sqlstore: create table: %w", err)
	}
	return nil
}

// row is the key's id in the table.
func row(key tokensource.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return hex.EncodeToString(sum[:])
}

// Load implements tokensource.Store.
func (s *Store) Load(ctx context.Context, key tokensource.Key) (tokensource.Entry, error) {
	var sealed sql.NullString
	err := s.db.QueryRowContext(ctx, s.sql.load, row(key)).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !sealed.Valid {
		return tokensource.Entry{}, tokensource.ErrNotFound
	}
	if err != nil {
		return tokensource.Entry{}, fmt.Errorf("sqlstore: load: %w", err)
	}
	data, err := base64.RawStdEncoding.DecodeString(sealed.String)
	if err != nil {
		return tokensource.Entry{}, tokensource.ErrSealed
	}
	return s.sealer.Open(key, data)
}

// Save implements tokensource.Store. By who holds the lock it succeeds only
// while the lease is still theirs.
func (s *Store) Save(ctx context.Context, key tokensource.Key, e tokensource.Entry) error {
	data, err := s.sealer.Seal(key, e)
	if err != nil {
		return err
	}
	sealed := base64.RawStdEncoding.EncodeToString(data)
	id := row(key)
	l := s.leaseOf(id)
	if l == nil {
		_, err := s.db.ExecContext(ctx, s.sql.put, id, sealed)
		if err != nil {
			return fmt.Errorf("sqlstore: save: %w", err)
		}
		return nil
	}
	return l.with(func(value string) error {
		return s.one(ctx, "save", s.sql.save, sealed, id, value)
	})
}

// Delete implements tokensource.Store.
func (s *Store) Delete(ctx context.Context, key tokensource.Key) error {
	id := row(key)
	if _, err := s.db.ExecContext(ctx, s.sql.clear, id); err != nil {
		return fmt.Errorf("sqlstore: delete: %w", err)
	}
	if _, err := s.db.ExecContext(ctx, s.sql.prune, id); err != nil {
		return fmt.Errorf("sqlstore: delete: %w", err)
	}
	return nil
}

// one runs a statement that must change one row: no row means that the lease
// in it is another's.
func (s *Store) one(ctx context.Context, what, query string, args ...any) error {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("sqlstore: %s: %w", what, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("sqlstore: %s: %w", what, err)
	}
	if n == 0 {
		return ErrLeaseLost
	}
	return nil
}

// Lock implements tokensource.Store.
func (s *Store) Lock(ctx context.Context, key tokensource.Key) (unlock func(), err error) {
	leave, err := s.locks.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	id := row(key)
	l, err := s.acquire(ctx, id)
	if err != nil {
		leave()
		return nil, err
	}
	s.mu.Lock()
	s.held[id] = l
	s.mu.Unlock()
	renewing := make(chan struct{})
	go func() { defer close(renewing); s.renew(id, l) }()
	return sync.OnceFunc(func() {
		close(l.done)
		<-renewing
		s.release(id, l)
		s.mu.Lock()
		delete(s.held, id)
		s.mu.Unlock()
		leave()
	}), nil
}

func (s *Store) leaseOf(id string) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[id]
}

// pause waits, and reports false if the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// jittered is d, less up to half of it, so that those who wait do not look in step.
func jittered(d time.Duration) time.Duration { return d - mathrand.N(d/2) }

func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return base64.RawURLEncoding.EncodeToString(b[:])
}
