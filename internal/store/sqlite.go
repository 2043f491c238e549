package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// ErrInUse means that another process has the embedded database open.
var ErrInUse = errors.New("the database is in use by another process: stop it, or talk to it")

var errClosed = errors.New("the store is closed")

// minSQLite is the first engine without the write-ahead-log reset flaw (SEC-250).
const minSQLite = 3_051_003

// sqliteEngine has one writer, which takes every write that waits into one
// transaction: one flush serves many requests.
type sqliteEngine struct {
	opts   Options
	events *journal
	wrote  func(writes, events int)

	lock  *os.File
	db    *sql.DB // the writer's only connection
	conn  *sqliteConn
	reads *sql.DB
	read  *sqlitePool

	mu     sync.RWMutex // held for writing by close alone
	closed bool
	jobs   chan *job
	done   chan struct{}
	// fault is set when a flush failed: what the disk holds is then unknown, and
	// nothing is accepted until the process has opened the file anew (REL-3).
	fault error
	// configured counts the commits that changed configuration.
	configured atomic.Int64
}

// job is one write on its way through the writer.
type job struct {
	fn     func(*Tx) error
	state  atomic.Int32
	err    error
	events []tenant.Event
	// configured: the write changed configuration.
	configured bool
	done       chan struct{}
}

// A job that has begun can no longer be called back.
const (
	jobWaiting int32 = iota
	jobBegun
	jobAbandoned
)

func openSQLite(ctx context.Context, opts Options, events *journal, wrote func(writes, events int)) (engine, error) {
	if strings.ContainsAny(opts.Path, "?#") {
		return nil, errors.New("the path of the database must not contain ? or #")
	}
	lock, err := lockFile(opts.Path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", opts.Path, err)
	}
	e := &sqliteEngine{
		opts: opts, events: events, wrote: wrote, lock: lock,
		jobs: make(chan *job, opts.MaxGroup), done: make(chan struct{}),
	}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", opts.Path, err), e.closeFiles())
	}
	go e.loop()
	return e, nil
}

func (e *sqliteEngine) open(ctx context.Context) error {
	if err := createPrivate(e.opts.Path); err != nil {
		return err
	}
	var err error
	if e.db, err = sql.Open("sqlite", sqliteDSN(e.opts.Path, "immediate", 2048, false)); err != nil {
		return err
	}
	e.db.SetMaxOpenConns(1)
	if err := checkEngine(ctx, e.db); err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectSQLite3, e.db, e.opts.Logger); err != nil {
		return err
	}
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return err
	}
	e.conn = &sqliteConn{conn: conn, prepared: make(map[string]*sql.Stmt)}

	if e.reads, err = sql.Open("sqlite", sqliteDSN(e.opts.Path, "deferred", 512, true)); err != nil {
		return err
	}
	e.reads.SetMaxOpenConns(e.opts.Readers)
	e.reads.SetMaxIdleConns(e.opts.Readers)
	e.read = &sqlitePool{db: e.reads, prepared: make(map[string]*sql.Stmt)}
	return e.reads.PingContext(ctx)
}

// sqliteDSN opens path with small page caches (cache is in KiB): the operating
// system caches the file.
func sqliteDSN(path, txlock string, cache int, readOnly bool) string {
	q := url.Values{}
	q.Set("_txlock", txlock)
	for _, pragma := range []string{
		"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-" + strconv.Itoa(cache) + ")", "temp_store(MEMORY)", "trusted_schema(0)", "case_sensitive_like(1)",
		"wal_autocheckpoint(1000)", "journal_size_limit(67108864)", "query_only(" + strconv.FormatInt(bit(readOnly), 10) + ")",
	} {
		q.Add("_pragma", pragma)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// createPrivate makes the file before SQLite does, readable by its owner only.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func checkEngine(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version); err != nil {
		return err
	}
	if n := sqliteVersion(version); n < minSQLite {
		return fmt.Errorf("SQLite %s is older than 3.51.3 and can lose writes (SEC-250)", version)
	}
	return nil
}

// sqliteVersion is 3.51.3 as 3051003; zero when it is no version.
func sqliteVersion(s string) int {
	n := 0
	for part := range strings.SplitSeq(s, ".") {
		v, err := strconv.Atoi(part)
		if err != nil || v < 0 || v > 999 {
			return 0
		}
		n = n*1000 + v
	}
	return n
}

func (e *sqliteEngine) reader() runner { return e.read }

// generation is exclusive: the lock of the file keeps other processes away.
func (e *sqliteEngine) generation() (int64, bool) { return e.configured.Load(), true }

// write hands fn to the writer and waits for the common commit. A caller whose
// context ends before fn has begun is sure that nothing happens; after that, it
// stops waiting and does not know.
func (e *sqliteEngine) write(ctx context.Context, _ string, fn func(*Tx) error) error {
	j := &job{fn: fn, done: make(chan struct{})}
	if err := e.submit(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobWaiting, jobAbandoned) {
			return ctx.Err()
		}
	}
	select {
	case <-j.done:
		return j.err
	default:
		return fmt.Errorf("%w: %w", tenant.ErrUnknownOutcome, ctx.Err())
	}
}

func (e *sqliteEngine) clean(ctx context.Context, fn func(*Tx) error) error {
	return e.write(ctx, "", fn)
}

func (e *sqliteEngine) submit(ctx context.Context, j *job) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return errClosed
	}
	select {
	case e.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush makes a commit for the events that wait, when there are any.
func (e *sqliteEngine) flush(ctx context.Context) error {
	if e.events.empty() {
		return nil
	}
	return e.write(ctx, "", func(*Tx) error { return nil })
}

func (e *sqliteEngine) close() error {
	e.mu.Lock()
	already := e.closed
	e.closed = true
	if !already {
		close(e.jobs)
	}
	e.mu.Unlock()
	if already {
		return nil
	}
	<-e.done
	return e.closeFiles()
}

func (e *sqliteEngine) closeFiles() error {
	var errs []error
	if e.read != nil {
		errs = append(errs, e.read.close())
	}
	if e.reads != nil {
		errs = append(errs, e.reads.Close())
	}
	if e.conn != nil {
		errs = append(errs, e.conn.close())
	}
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	// Last: nobody else may open the file before it is closed.
	return errors.Join(append(errs, unlockFile(e.lock))...)
}

// loop is the writer. It ends when close has closed the channel and every write
// that was accepted has been answered.
func (e *sqliteEngine) loop() {
	defer close(e.done)
	for first := range e.jobs {
		ended := e.opts.Commits()
		group, events := e.commit(first)
		ended(len(group))
		for _, j := range group {
			if j.configured { // before anybody hears of it; a failed commit may have happened, too
				e.configured.Add(1)
				break
			}
		}
		for _, j := range group {
			close(j.done)
		}
		e.wrote(len(group), events)
	}
}

// commit runs first and every write that waits in one transaction and tells
// each what became of it. When the transaction cannot begin, or its commit
// fails, every one of them has failed.
func (e *sqliteEngine) commit(first *job) (group []*job, events int) {
	group = append(group, first)
	ctx := context.Background()
	err := e.fault
	if err == nil {
		_, err = e.conn.exec(ctx, `BEGIN IMMEDIATE`)
	}
	if err != nil {
		e.noteFault(err)
		return e.fail(group, err), 0
	}
	var own []tenant.Event
	for next := first; next != nil; next = e.next(len(group)) {
		if next != first {
			group = append(group, next)
		}
		if err = e.run(ctx, next); err != nil {
			break
		}
		own = append(own, next.events...)
	}
	if err == nil {
		events, err = e.events.write(ctx, e.conn, own)
	}
	if err == nil {
		if _, err = e.conn.exec(ctx, `COMMIT`); err == nil {
			e.events.written()
			return group, events
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if e.noteFault(err) {
		// The disk may hold the commit or not (REL-3).
		err = fmt.Errorf("%w: %w", tenant.ErrUnknownOutcome, err)
	}
	// After some errors SQLite has rolled back by itself; then this one fails.
	_, _ = e.conn.exec(ctx, `ROLLBACK`)
	return e.fail(group, err), 0
}

// next is a write that waits, or nil when none does or the group is full.
func (e *sqliteEngine) next(have int) *job {
	if have >= e.opts.MaxGroup {
		return nil
	}
	select {
	case j := <-e.jobs: // nil once the channel is closed and empty
		return j
	default:
		return nil
	}
}

// run runs one write in its savepoint. Its own error is the write's business;
// the error returned means that the common transaction is lost.
func (e *sqliteEngine) run(ctx context.Context, j *job) error {
	if !j.state.CompareAndSwap(jobWaiting, jobBegun) {
		return nil
	}
	if _, err := e.conn.exec(ctx, `SAVEPOINT one`); err != nil {
		return err
	}
	tx := &Tx{ctx: ctx, run: e.conn, now: e.opts.Clock.Now()}
	if j.err = call(j.fn, tx); j.err != nil {
		if _, err := e.conn.exec(ctx, `ROLLBACK TO one`); err != nil {
			return errors.Join(j.err, err)
		}
	} else {
		j.events, j.configured = tx.events, tx.reconfigured
	}
	_, err := e.conn.exec(ctx, `RELEASE one`)
	return err
}

// call runs fn; its panic is this write's error and not the end of the writer.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a write: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

func (e *sqliteEngine) fail(group []*job, err error) []*job {
	for _, j := range group {
		j.err = err
	}
	return group
}

// noteFault stops the writer for good after an error that leaves unknown what
// is on the disk. A full disk is none: it clears up (REL-29).
func (e *sqliteEngine) noteFault(err error) bool {
	var se *sqlite.Error
	if e.fault != nil || !errors.As(err, &se) {
		return false
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.fault = fmt.Errorf("the database stopped after a failed flush, restart to open and check it again: %w", err)
		e.opts.Logger.Error("no more writes", "error", e.fault)
		return true
	}
	return false
}
