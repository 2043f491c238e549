package store

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

// TestTenantsLeaveWhole walks the schema: a table that DeleteTestTenant forgets
// would keep what a dropped tenant had in it.
func TestTenantsLeaveWhole(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "bulla.db"), Clock: clock.NewFake(time.Unix(0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	rows, err := s.read.queryOnce(t.Context(), `
		SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_id' ORDER BY m.name`)
	tables, err := all(rows, err, scanOne[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table == "probes" { // names no tenant
			continue
		}
		if !slices.ContainsFunc(ofTenant, func(st string) bool { return strings.Contains(st, " "+table+" ") }) {
			t.Errorf("a deleted tenant leaves its rows in %s", table)
		}
	}
}
