package store_test

import (
	"path/filepath"
	"testing"

	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/store/storetest"
)

func openSQLite(t *testing.T, o store.Options) *store.Store {
	t.Helper()
	o.Path = filepath.Join(t.TempDir(), "bulla.db")
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openSQLite)
}
