package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func openTest(t *testing.T, change func(*Options)) (*Store, *sqliteEngine) {
	t.Helper()
	o := Options{Path: filepath.Join(t.TempDir(), "bulla.db"), Clock: clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, s.engine.(*sqliteEngine)
}

// TestParametersBindByNumber is the probe of dependencies.md §4: an engine that
// takes $2 for a name would answer the other way round, without any error.
func TestParametersBindByNumber(t *testing.T) {
	t.Parallel()
	s, _ := openTest(t, nil)
	rows, err := s.read.query(t.Context(), `SELECT $2 || $1 || $2`, "one", "two")
	got, err := one(rows, err, scanOne[string])
	if err != nil || got != "twoonetwo" {
		t.Errorf("SELECT $2 || $1 || $2 of one, two = %q, %v, want twoonetwo", got, err)
	}
	for text, want := range map[string]string{
		`SELECT '$1', $1, $12, '''$2''', a$ FROM x`: `SELECT '$1', ?1, ?12, '''$2''', a$ FROM x`,
		`VALUES ($1, $2, '$', $3)`:                  `VALUES (?, ?, '$', ?)`,
		`a = $2 AND b = $1`:                         `a = ?2 AND b = ?1`,
		`a = $1 AND b = $1`:                         `a = ?1 AND b = ?1`,
		`a = $1`:                                    `a = ?`,
		`no parameter`:                              `no parameter`,
	} {
		if got := numbered(text); got != want {
			t.Errorf("numbered(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSQLiteVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"3.51.2": false, "3.51.3": true, "3.53.1": true, "3.7.0": false, "4.0.0": true, "": false, "x.y.z": false} {
		if got := sqliteVersion(version) >= minSQLite; got != want {
			t.Errorf("version %q accepted %v, want %v (SEC-250)", version, got, want)
		}
	}
	s, _ := openTest(t, nil)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "query_only": "1"} {
		rows, err := s.read.queryOnce(t.Context(), `PRAGMA `+pragma)
		if got, err := one(rows, err, scanOne[string]); err != nil || got != want {
			t.Errorf("PRAGMA %s = %q, %v, want %q", pragma, got, err, want)
		}
	}
}

// failCommits makes the engine turn every commit into a roll-back while on.
func failCommits(t *testing.T, e *sqliteEngine, on bool) {
	t.Helper()
	err := e.conn.conn.Raw(func(dc any) error {
		dc.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 { return int32(bit(on)) })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFailedCommitAcknowledgesNothing: when the common commit fails, every write
// of the group hears of it, refused ones too, and nothing of it is there (REL-3).
func TestFailedCommitAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	s, e := openTest(t, nil)
	// The writer is busy until all of the group wait.
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.write(context.Background(), "t", "", func(*Tx) error { close(held); <-hold; return nil })
	}()
	<-held
	failCommits(t, e, true)
	const n = 50
	answers := make(chan error, n)
	for i := range n {
		go func() {
			answers <- s.write(context.Background(), "t", "", func(tx *Tx) error {
				if i%5 == 0 {
					return tenant.ErrConflict
				}
				return tx.deny("t", fmt.Sprint(i), time.Unix(1e10, 0))
			})
		}()
	}
	close(hold)
	for range n {
		err := <-answers
		if err == nil || errors.Is(err, tenant.ErrConflict) {
			t.Errorf("a write of the failed group heard %v", err)
		}
	}
	failCommits(t, e, false)
	for i := range n {
		if denied, err := s.Denied(t.Context(), "t", fmt.Sprint(i), time.Unix(0, 0)); err != nil || denied {
			t.Errorf("write %d is there: %v, %v", i, denied, err)
		}
	}
	// The next commit works, and takes along the events that waited.
	s.Record(tenant.Event{TenantID: "t", Type: "seccft"})
	if err := s.write(t.Context(), "t", "", func(tx *Tx) error { return tx.deny("t", "after", time.Unix(1e10, 0)) }); err != nil {
		t.Error(err)
	}
	l, err := s.Events(t.Context(), "t", tenant.EventQuery{}, tenant.Page{})
	if err != nil || len(l.Items) != 1 {
		t.Errorf("events after the failed commit: %v, %v", l.Items, err)
	}
}

// TestEventsSurviveAFailedCommit: what was queued is written by a later one, once.
func TestEventsSurviveAFailedCommit(t *testing.T) {
	t.Parallel()
	s, e := openTest(t, func(o *Options) { o.EventInterval = time.Hour })
	s.Record(tenant.Event{TenantID: "t", Type: "seccft"})
	if err := s.write(t.Context(), "t", "", func(*Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	failCommits(t, e, true)
	s.Record(tenant.Event{TenantID: "t", Type: "sepft"})
	if err := s.write(t.Context(), "t", "", func(*Tx) error { return nil }); err == nil {
		t.Error("the commit did not fail")
	}
	failCommits(t, e, false)
	for range 2 {
		if err := s.write(t.Context(), "t", "", func(*Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.Events(t.Context(), "t", tenant.EventQuery{Ascending: true}, tenant.Page{})
	if err != nil || len(l.Items) != 2 || l.Items[1].Type != "sepft" {
		t.Errorf("events %+v, %v", l.Items, err)
	}
}

// TestFullDisk: a full disk stops writes and acknowledges none that is not
// there; reads go on, and room brings writes back without a restart (REL-29).
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, e := openTest(t, nil)
	limit := func(pages string) {
		rows, err := e.conn.queryOnce(context.Background(), `PRAGMA max_page_count = `+pages)
		if _, err := one(rows, err, scanOne[int64]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ping(t.Context()); err != nil { // nothing else writes from here on
		t.Fatal(err)
	}
	limit("1") // the file keeps the size it has
	acknowledged := 0
	var failed error
	for i := 0; failed == nil; i++ {
		failed = s.write(t.Context(), "t", "", func(tx *Tx) error { return tx.deny("t", fmt.Sprint(i, strings.Repeat("x", 3000)), time.Unix(1e10, 0)) })
		if failed == nil {
			acknowledged++
		}
	}
	if errors.Is(failed, tenant.ErrConflict) || errors.Is(failed, tenant.ErrNotFound) {
		t.Errorf("a full disk is %v", failed)
	}
	limit("1000000")
	rows, err := s.read.query(t.Context(), `SELECT COUNT(*) FROM denials WHERE tenant_id = $1`, "t")
	if n, err := one(rows, err, scanOne[int]); err != nil || n != acknowledged {
		t.Errorf("%d rows of %d acknowledged, %v", n, acknowledged, err)
	}
	if err := s.write(t.Context(), "t", "", func(tx *Tx) error { return tx.deny("t", "after", time.Unix(1e10, 0)) }); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestDamageStopsTheWriter: after an error that leaves open what the disk holds,
// nothing is accepted any more and readiness says so (REL-3, REL-31).
func TestDamageStopsTheWriter(t *testing.T) {
	t.Parallel()
	s, e := openTest(t, nil)
	rows, err := e.conn.queryOnce(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`)
	if _, err := all(rows, err, func(row scanner) (struct{}, error) {
		var a, b, c int
		return struct{}{}, row.Scan(&a, &b, &c)
	}); err != nil {
		t.Fatal(err)
	}
	junk := []byte(strings.Repeat("not a database ", 1<<16))
	f, err := os.OpenFile(e.opts.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(junk, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.conn.exec(t.Context(), `PRAGMA shrink_memory`); err != nil { // what the writer has cached is not damaged
		t.Fatal(err)
	}
	write := func(hash string) error {
		return s.write(t.Context(), "t", "", func(tx *Tx) error { return tx.deny("t", hash, time.Unix(1e10, 0)) })
	}
	first := write("a")
	if first == nil {
		t.Fatal("a write on a damaged file was acknowledged")
	}
	for range 2 {
		if err := write("b"); err == nil || !strings.Contains(err.Error(), "restart") {
			t.Errorf("after %v the next write heard %v", first, err)
		}
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("ready with a writer that stopped")
	}
	if _, err := s.Denied(t.Context(), "t", "a", time.Unix(0, 0)); err == nil || errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("damage reads as %v, want a fault", err)
	}
}

// TestCallerGoesAway: before its write has begun a caller knows that nothing
// happens; after that its write happens and it does not know.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	s, _ := openTest(t, nil)
	hold, held := make(chan struct{}), make(chan struct{})
	begun, cancelBegun := context.WithCancel(t.Context())
	waiting, cancelWaiting := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		first <- s.write(begun, "t", "", func(tx *Tx) error {
			close(held)
			<-hold
			return tx.deny("t", "begun", time.Unix(1e10, 0))
		})
	}()
	<-held
	go func() {
		second <- s.write(waiting, "t", "", func(tx *Tx) error { return tx.deny("t", "waiting", time.Unix(1e10, 0)) })
	}()
	cancelBegun()
	if err := <-first; !errors.Is(err, tenant.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("begun: %v", err)
	}
	cancelWaiting()
	if err := <-second; errors.Is(err, tenant.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
	close(hold)
	if err := s.write(t.Context(), "t", "", func(*Tx) error { return nil }); err != nil { // after both
		t.Fatal(err)
	}
	for hash, want := range map[string]bool{"begun": true, "waiting": false} {
		if got, err := s.Denied(t.Context(), "t", hash, time.Unix(0, 0)); err != nil || got != want {
			t.Errorf("%s written %v, %v, want %v", hash, got, err, want)
		}
	}
}

// TestGroupIsBounded: more writes than a group holds take several commits, and
// all are answered.
func TestGroupIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := openTest(t, func(o *Options) { o.MaxGroup = 3 })
	answers := make(chan error)
	for range 40 {
		go func() { answers <- s.write(context.Background(), "t", "", func(*Tx) error { return nil }) }()
	}
	for range 40 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}
