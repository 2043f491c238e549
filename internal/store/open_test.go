package store_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make a schema that is newer

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func options(path string) store.Options {
	return store.Options{Path: path, Clock: clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), Logger: slog.New(slog.DiscardHandler)}
}

// TestSecondProcessIsRefused: REL-32, with a real second process.
func TestSecondProcessIsRefused(t *testing.T) {
	if path := os.Getenv("STORE_TEST_OPEN"); path != "" {
		s, err := store.Open(t.Context(), options(path))
		if err == nil {
			_ = s.Close()
			t.Fatal("OPENED")
		}
		t.Fatal(err)
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulla.db")
	s, err := store.Open(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), options(path)); !errors.Is(err, store.ErrInUse) {
		t.Errorf("second store in this process: %v", err)
	}
	second := func() string {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecondProcessIsRefused$")
		cmd.Env = append(os.Environ(), "STORE_TEST_OPEN="+path)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := second(); !strings.Contains(out, store.ErrInUse.Error()) {
		t.Errorf("second process said %q", out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if out := second(); !strings.Contains(out, "OPENED") {
		t.Errorf("after closing, a second process said %q", out)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newer := filepath.Join(dir, "newer.db")
	s, err := store.Open(t.Context(), options(newer))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO schema_versions (version_id, is_applied) VALUES (999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		o    store.Options
		want string
	}{
		"a newer schema (SEC-259)": {options(newer), "start the newer program"},
		"no folder":                {options(filepath.Join(dir, "none", "x.db")), "no such file"},
		"no database":              {options(junk), "not a database"},
		"neither file nor URL":     {options(""), "neither"},
		"no clock":                 {store.Options{Path: junk}, "clock"},
		"a URL that is none":       {store.Options{URL: "postgres://%%", Clock: clock.System{}}, "URL"},
	} {
		s, err := store.Open(t.Context(), x.o)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	// A refused file is not changed, and not kept locked.
	if b, err := os.ReadFile(junk); err != nil || !strings.HasPrefix(string(b), "no database ") {
		t.Errorf("the junk changed: %v", err)
	}
	if _, err := store.Open(t.Context(), options(junk)); errors.Is(err, store.ErrInUse) {
		t.Error("still locked")
	}
}

// TestCloseKeepsWhatWasRecorded: the events that waited are there after the next
// start, and a closed store answers no write.
func TestCloseKeepsWhatWasRecorded(t *testing.T) {
	t.Parallel()
	o := options(filepath.Join(t.TempDir(), "a b%20.db"))
	o.EventInterval = time.Hour
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // more than one commit takes along
		s.Record(tenant.Event{TenantID: "t", Type: "seccft"})
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DenyAuthorization(t.Context(), "t", "h", time.Unix(1e10, 0), tenant.Event{}); err == nil {
		t.Error("a closed store wrote")
	}
	info, err := os.Stat(o.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v, want mode 0600", info, err)
	}
	s, err = store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Events(t.Context(), "t", tenant.EventQuery{}, tenant.Page{Empty: true, Total: true})
	if err != nil || l.Total != 1000 {
		t.Errorf("%d events, %v, want 1000", l.Total, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestEventsBeyondTheQueueAreCounted: D13.
func TestEventsBeyondTheQueueAreCounted(t *testing.T) {
	t.Parallel()
	o := options(filepath.Join(t.TempDir(), "bulla.db"))
	o.EventInterval, o.EventQueue = time.Hour, 10
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		s.Record(tenant.Event{TenantID: "t", Type: "seccft"})
	}
	if got := s.Dropped(); got != 15 {
		t.Errorf("dropped %d, want 15", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
