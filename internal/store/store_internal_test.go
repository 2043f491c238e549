package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func TestEventIDs(t *testing.T) {
	t.Parallel()
	a, err := newEventIDs(bytes.NewReader(bytes.Repeat([]byte{1}, 16)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newEventIDs(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 12, 31, 23, 59, 59, 999e6, time.UTC)
	last := ""
	seen := make(map[string]bool)
	for i, now := range []time.Time{at, at, at.Add(time.Millisecond), at.Add(-time.Hour), at.Add(time.Hour)} {
		id := a.next(now)
		if !eventID(id) || id <= last {
			t.Errorf("id %d is %q after %q (REL-26)", i, id, last)
		}
		if other := b.next(now); seen[id] || seen[other] || other == id {
			t.Errorf("id %q or %q was given twice", id, other)
		}
		seen[id], last = true, id
	}
	if got, want := b.next(at.Add(2 * time.Hour))[:23], "90020270101015959999000"; got != want {
		t.Errorf("id begins with %q, want %q", got, want)
	}
	a.seq = 999_999
	if id := a.next(at); !eventID(id) || id <= last {
		t.Errorf("id %q after a full millisecond, last %q", id, last)
	}
	if _, err := newEventIDs(bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	for n := range 1000 {
		c.put(cacheKey{"t", "client", fmt.Sprint(n)}, 1, n)
	}
	if got := len(c.entries); got > 10 {
		t.Errorf("%d entries of at most 10 (SEC-228)", got)
	}
	key := cacheKey{"t", "client", "x"}
	c.put(key, 2, "new")
	c.put(key, 1, "old") // a slow request must not put back what it read before
	for version, want := range map[int64]bool{1: false, 2: true, 3: false} {
		if v, ok := c.get(key, version); ok != want || ok && v != "new" {
			t.Errorf("get at version %d = %v, %v, want %v (SEC-129)", version, v, ok, want)
		}
	}
	if _, ok := c.get(cacheKey{"u", "client", "x"}, 2); ok {
		t.Error("another tenant's entry (SEC-213)")
	}
}

func TestCommitError(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		err     error
		unknown bool
	}{
		"serialization failure": {&pgconn.PgError{Code: "40001"}, false},
		"deadlock":              {&pgconn.PgError{Code: "40P01"}, false},
		"read only":             {&pgconn.PgError{Code: "25006"}, false},
		"constraint":            {&pgconn.PgError{Code: "23505"}, false},
		"completion unknown":    {&pgconn.PgError{Code: "40003"}, true},
		"shutdown":              {&pgconn.PgError{Code: "57P01"}, true},
		"time-out":              {&pgconn.PgError{Code: "57014"}, true},
		"broken connection":     {io.ErrUnexpectedEOF, true},
		"deadline":              {context.DeadlineExceeded, true},
	} {
		if got := errors.Is(commitError(x.err), tenant.ErrUnknownOutcome); got != x.unknown {
			t.Errorf("%s: unknown outcome %v, want %v (D6)", name, got, x.unknown)
		}
	}
	if err := commitError(nil); err != nil {
		t.Errorf("commitError(nil) = %v", err)
	}
}
