package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulla.db")
	o := store.Options{Path: path, Clock: clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Inspect(t.Context())
	if err != nil || !strings.HasPrefix(in.Engine, "SQLite 3.") || in.Schema < 1 {
		t.Errorf("Inspect = %+v, %v", in, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A page that holds nothing sensible.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096 // the last one: nothing that opening reads is on it
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", page)), info.Size()-page); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("a damaged file: got %v, want an error that says what to do", err)
	}
	_ = s.Close() // what it says of a damaged file is not this test's business
}
