package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// SQLSTATEs that decide what becomes of a write.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	readOnlyTransaction  = "25006"
	uniqueViolation      = "23505"
	badCharacter         = "22021"
)

// postgresEngine runs each write SERIALIZABLE and repeats it when the database
// says that it met another. What could have been committed is never repeated.
type postgresEngine struct {
	opts   Options
	events *journal
	wrote  func(writes, events int)
	db     *sql.DB

	// queues let the writes of one key in one after another, so that a hundred
	// of them on one row do not abort each other for as long as their time lasts.
	// Nodes do not see each other's: between them, repeating settles it.
	queues [1024]chan struct{}
	seed   maphash.Seed
	flush1 sync.Mutex
}

func openPostgres(ctx context.Context, opts Options, events *journal, wrote func(writes, events int)) (engine, error) {
	config, err := pgx.ParseConfig(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("read the database URL: %w", err)
	}
	setDefault := func(name, value string) {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	ms := strconv.FormatInt(opts.StatementTimeout.Milliseconds(), 10)
	setDefault("application_name", "bulla")
	setDefault("statement_timeout", ms)
	setDefault("idle_in_transaction_session_timeout", ms)
	// A sequential scan of a small table locks all of it against every other
	// SERIALIZABLE write; every statement of ours has an index.
	setDefault("enable_seqscan", "off")

	e := &postgresEngine{
		opts: opts, events: events, wrote: wrote, seed: maphash.MakeSeed(),
		db: sql.OpenDB(stdlib.GetConnector(*config)),
	}
	for i := range e.queues {
		e.queues[i] = make(chan struct{}, 1)
	}
	e.db.SetMaxOpenConns(opts.MaxConns)
	e.db.SetMaxIdleConns(opts.MaxConns)
	e.db.SetConnMaxIdleTime(5 * time.Minute)
	e.db.SetConnMaxLifetime(30 * time.Minute)
	if err := e.prepare(ctx); err != nil {
		return nil, errors.Join(err, e.db.Close())
	}
	return e, nil
}

func (e *postgresEngine) prepare(ctx context.Context) error {
	var readOnly, commit, standbys string
	if err := e.db.QueryRowContext(ctx, `
		SELECT current_setting('transaction_read_only'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')`,
	).Scan(&readOnly, &commit, &standbys); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	if readOnly == "on" {
		return errors.New("the database only reads (a standby?): name the primary, or all hosts with target_session_attrs=read-write")
	}
	switch {
	case commit == "off":
		e.opts.Logger.Warn("synchronous_commit is off: a crash of the database can lose what was acknowledged")
	case standbys == "":
		e.opts.Logger.Warn("the database has no synchronous standby: losing its machine can lose what was acknowledged")
	}
	return migrate(ctx, goose.DialectPostgres, e.db, e.opts.Logger)
}

// generation is not exclusive: other nodes write to the same database.
func (e *postgresEngine) generation() (int64, bool) { return 0, false }

func (e *postgresEngine) reader() runner { return postgresRunner{e.db} }

func (e *postgresEngine) close() error { return e.db.Close() }

// flush writes the events that wait, in commits of their own: they must not make
// a write of the domain fail or repeat. Doing it twice writes none twice.
func (e *postgresEngine) flush(ctx context.Context) error {
	e.flush1.Lock()
	defer e.flush1.Unlock()
	n, err := e.events.write(ctx, postgresRunner{e.db}, nil)
	if err == nil {
		e.events.written()
		e.wrote(0, n)
	}
	return err
}

func (e *postgresEngine) clean(ctx context.Context, fn func(*Tx) error) error {
	return e.repeat(ctx, sql.LevelReadCommitted, fn)
}

func (e *postgresEngine) write(ctx context.Context, key string, fn func(*Tx) error) error {
	if key != "" {
		queue := e.queues[maphash.String(e.seed, key)%uint64(len(e.queues))]
		select {
		case queue <- struct{}{}:
			defer func() { <-queue }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return e.repeat(ctx, sql.LevelSerializable, fn)
}

// repeat runs fn in transactions until one is committed, fn refuses, or time is
// up. The caller's going away stops it between two of them and never inside one:
// that would leave the outcome of a commit unknown for no reason.
func (e *postgresEngine) repeat(ctx context.Context, level sql.IsolationLevel, fn func(*Tx) error) error {
	inside, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.WriteTimeout)
	defer cancel()
	demoted := 0
	for attempt := 0; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		ended := e.opts.Commits()
		events, err := e.once(inside, level, fn)
		if err == nil {
			ended(1)
			e.wrote(1, events)
			return nil
		}
		switch sqlState(err) {
		case serializationFailure, deadlockDetected:
		case readOnlyTransaction: // the pool has let go of it: another may write
			if demoted++; demoted > 3 {
				return err
			}
		default:
			return err
		}
		if errors.Is(err, tenant.ErrUnknownOutcome) {
			return err
		}
		pause := time.NewTimer(rand.N(min(time.Millisecond<<min(attempt, 8), 100*time.Millisecond)) + time.Microsecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-inside.Done():
			pause.Stop()
			return fmt.Errorf("gave up after %d attempts: %w", attempt+1, err)
		}
	}
}

// once is one transaction.
func (e *postgresEngine) once(ctx context.Context, level sql.IsolationLevel, fn func(*Tx) error) (events int, err error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		if sqlState(err) == readOnlyTransaction {
			// The session has become a standby's: out of the pool with it (REL-12).
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}()
	dtx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return 0, err
	}
	tx := &Tx{ctx: ctx, run: postgresRunner{dtx}, now: e.opts.Clock.Now()}
	if err = call(fn, tx); err == nil {
		err = insertEvents(ctx, tx.run, e.events.stampOwn(tx.events))
	}
	if err != nil {
		_ = dtx.Rollback()
		return 0, err
	}
	return len(tx.events), commitError(dtx.Commit())
}

// commitError tells the commits that certainly did not happen from those that
// nobody knows of: a broken connection, a shutdown, a time-out.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	// pgconn.SafeToRetry is no help: a connection that broke while the answer to
	// the commit was under way reports "conn closed", which it calls safe.
	switch state := sqlState(err); {
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return err
	case state == serializationFailure, state == deadlockDetected, state == readOnlyTransaction:
		return err
	case len(state) == 5 && state[:2] == "23": // a constraint
		return err
	}
	return fmt.Errorf("%w: %w", tenant.ErrUnknownOutcome, err)
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// postgresRunner runs statements on the pool or in a transaction. The driver
// keeps them prepared.
type postgresRunner struct {
	db interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	}
}

func (r postgresRunner) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	res, err := r.db.ExecContext(ctx, statement, args...)
	if err != nil {
		if sqlState(err) == uniqueViolation {
			err = fmt.Errorf("%w: %w", tenant.ErrExists, err)
		}
		return 0, err
	}
	return res.RowsAffected()
}

func (r postgresRunner) query(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	rows, err := r.db.QueryContext(ctx, statement, args...)
	if sqlState(err) == badCharacter {
		// Text with a zero byte, or not UTF-8, is in no row.
		err = fmt.Errorf("%w: %w", tenant.ErrNotFound, err)
	}
	return rows, err
}

func (r postgresRunner) queryOnce(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	return r.query(ctx, statement, args...)
}
