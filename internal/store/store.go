// Package store keeps everything Bulla keeps: one SQL text for two engines,
// embedded SQLite and PostgreSQL (D6).
//
// It promises that a method is a transaction: it happens as a whole or not at
// all, and whoever hears of its success hears it after the commit is durable
// (REL-1, REL-4). A conditional write that finds its row other than it was
// judged answers tenant.ErrConflict, a lookup without a row tenant.ErrNotFound,
// a taken unique value tenant.ErrExists; every other error is a fault of the
// storage, never a statement about a credential (SEC-2). A commit that may or
// may not have happened is tenant.ErrUnknownOutcome and is never repeated.
//
// It refuses to decide policy, to be asked for a row without its tenant
// (SEC-213), and to open a file that another process has open (REL-32), a
// PostgreSQL that only reads (REL-12) or a schema newer than the program
// (SEC-259). It is the server's only importer of database/sql.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Clock tells the time; clock.Clock is one.
type Clock interface{ Now() time.Time }

// Options say where the data is and how much of it is kept.
type Options struct {
	// URL names a PostgreSQL (postgres://…); empty means the embedded SQLite.
	// Several hosts and target_session_attrs are allowed.
	URL string
	// Path is the file of the embedded database; its folder must exist.
	Path string
	// Clock stamps marks and event ids and decides what is old enough to leave.
	Clock Clock
	// Logger hears of what no caller can: migrations, lost events. Nil: nobody.
	Logger *slog.Logger
	// Rand makes this node's part of the event ids; nil means crypto/rand.
	Rand io.Reader

	// EventInterval is how long an event that changes nothing waits for a
	// commit of others before it makes one of its own; zero means one second.
	EventInterval time.Duration
	// EventQueue is how many such events may wait; zero means audit.DefaultQueue.
	EventQueue int
	// EventRetention is how long events are kept; zero means 30 days.
	EventRetention time.Duration
	// EventLimit is how many events a tenant keeps; zero means 1,000,000.
	EventLimit int
	// SweepInterval is the longest time between two passes of the clean-up;
	// zero means one minute. Writes start passes of their own.
	SweepInterval time.Duration

	// MaxGroup is how many writes SQLite puts into one commit; zero means 256.
	MaxGroup int
	// Readers is how many connections read SQLite at once; zero means 4.
	Readers int
	// MaxConns is how many connections PostgreSQL gets; zero means 20.
	MaxConns int
	// WriteTimeout bounds one write on PostgreSQL with all its repetitions, and
	// StatementTimeout one statement; zero means 10 and 5 seconds.
	WriteTimeout     time.Duration
	StatementTimeout time.Duration
	// CacheSize is how many configuration objects are cached; zero means 2,048.
	CacheSize int
	// Commits, when set, is called as a commit begins, and what it returns when
	// the commit has ended, with the number of writes in it: whoever counts and
	// times commits has a clock, the store has none for it.
	Commits func() (ended func(writes int))
}

func (o Options) withDefaults() (Options, error) {
	if o.Clock == nil {
		return o, errors.New("open store: no clock")
	}
	if o.URL == "" && o.Path == "" {
		return o, errors.New("open store: neither a database URL nor a file")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	o.EventInterval = orDuration(o.EventInterval, time.Second)
	o.EventRetention = orDuration(o.EventRetention, 30*24*time.Hour)
	o.SweepInterval = orDuration(o.SweepInterval, time.Minute)
	o.WriteTimeout = orDuration(o.WriteTimeout, 10*time.Second)
	o.StatementTimeout = orDuration(o.StatementTimeout, 5*time.Second)
	o.EventLimit = orInt(o.EventLimit, 1_000_000)
	o.MaxGroup = orInt(o.MaxGroup, 256)
	o.Readers = orInt(o.Readers, 4)
	o.MaxConns = orInt(o.MaxConns, 20)
	o.CacheSize = orInt(o.CacheSize, 2048)
	if o.Commits == nil {
		o.Commits = func() func(int) { return func(int) {} }
	}
	return o, nil
}

func orDuration(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

func orInt(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// engine is what differs between the two databases.
type engine interface {
	// write runs fn in a transaction of its own, or in a savepoint of a common
	// one, and returns after the commit. Writes with the same key that is not
	// empty wait for each other where the database would make them repeat.
	write(ctx context.Context, key string, fn func(*Tx) error) error
	// clean is write for the clean-up, which needs no isolation: what it deletes
	// nobody asks for any more.
	clean(ctx context.Context, fn func(*Tx) error) error
	// reader runs single statements outside of any transaction.
	reader() runner
	// flush writes the events that wait, if any.
	flush(ctx context.Context) error
	// generation counts the commits that changed configuration, when every one of
	// them goes through this process; exclusive is false where other nodes write too.
	generation() (n int64, exclusive bool)
	// close ends the writer, after what has been accepted, and all connections.
	close() error
}

// Store is the data of all tenants. It is safe for concurrent use.
type Store struct {
	opts   Options
	engine engine
	read   runner
	events *journal
	cache  *cache
	sweep  sweeper
	bell   bell
	probe  probe

	full   chan struct{} // the queue of events fills up
	stop   context.CancelFunc
	loops  sync.WaitGroup
	closed sync.Once
}

// Open opens or creates the store and brings its schema up to date. The caller
// closes it.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, cache: newCache(opts.CacheSize), full: make(chan struct{}, 1)}
	if s.events, err = newJournal(opts); err != nil {
		return nil, err
	}
	s.sweep.init()
	if opts.URL == "" {
		s.engine, err = openSQLite(ctx, opts, s.events, s.sweep.wrote)
	} else {
		s.engine, err = openPostgres(ctx, opts, s.events, s.sweep.wrote)
	}
	if err != nil {
		return nil, err
	}
	s.read = s.engine.reader()

	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.loops.Go(func() { s.flushLoop(background) })
	s.loops.Go(func() { s.sweepLoop(background) })
	return s, nil
}

// Close writes the events that wait and ends the store. Writes that were
// accepted are finished; later ones fail.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		s.stop()
		s.loops.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.WriteTimeout)
		defer cancel()
		err = errors.Join(s.flush(ctx), s.engine.close())
		if n := s.Dropped(); n > 0 {
			s.opts.Logger.Warn("events were dropped", "count", n)
		}
	})
	return err
}

// Record queues an event that changes nothing for the next commit (D13). It
// never blocks; what does not fit is counted by Dropped.
func (s *Store) Record(e tenant.Event) {
	s.events.queue.Add(e)
	if s.events.queue.Len() >= maxDrained {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// Dropped is how many recorded events have been lost since Open.
func (s *Store) Dropped() uint64 { return s.events.queue.Dropped() + s.events.lost.Load() }

// write is the only way to write for a tenant. Writes of one tenant with the
// same key, which is empty where any may meet any, queue on PostgreSQL.
func (s *Store) write(ctx context.Context, tenantID, key string, fn func(*Tx) error) error {
	if key != "" {
		key = tenantID + " " + key
	}
	var done *Tx // of the last run, once the write has ended well
	err := s.engine.write(ctx, key, func(tx *Tx) error {
		tx.tenantID, done = tenantID, tx
		return fn(tx)
	})
	if err == nil && done.numbered {
		s.bell.ring(tenantID)
	}
	return err
}

// written is write for a function with a result. The result is the caller's only
// when the write has ended well: after an early return (the caller's context
// ended first) the writer may still be filling it in.
func written[T any](ctx context.Context, s *Store, tenantID, key string, fn func(*Tx, *T) error) (T, error) {
	var out T
	err := s.write(ctx, tenantID, key, func(tx *Tx) error {
		var zero T
		out = zero // the function may run twice
		return fn(tx, &out)
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func (s *Store) flushLoop(ctx context.Context) {
	tick := time.NewTicker(s.opts.EventInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.full:
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("events could not be written", "error", err)
		}
	}
}

// flush writes the events that wait; one commit takes a part of them.
func (s *Store) flush(ctx context.Context) error {
	for !s.events.empty() {
		if err := s.engine.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// probe remembers the last answer of Ping for a moment, so that a public
// readiness address cannot be used to make the disk busy.
type probe struct {
	mu    sync.Mutex
	fresh bool
	err   error
}

// probeLife is how long one write answers for readiness.
const probeLife = time.Second

// Ping tells whether the store can write, by writing (REL-14). An answer holds
// for a second.
func (s *Store) Ping(ctx context.Context) error {
	p := &s.probe
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fresh {
		return p.err
	}
	p.err = s.write(ctx, "", "", func(tx *Tx) error {
		_, err := tx.exec(`
			INSERT INTO probes (tenant_id, at) VALUES ($1, $2)
			ON CONFLICT (tenant_id) DO UPDATE SET at = excluded.at`, "", millis(tx.now))
		return err
	})
	if p.err != nil {
		p.err = fmt.Errorf("store cannot write: %w", p.err)
	}
	if ctx.Err() == nil {
		p.fresh = true
		time.AfterFunc(probeLife, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.fresh = false
		})
	}
	return p.err
}
