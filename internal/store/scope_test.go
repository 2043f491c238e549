package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

// unscoped are the statements that may leave out the tenant, with the reason.
var unscoped = map[string]string{
	"SELECT tenant_id, config_version FROM tenants WHERE domain = $1":                                                       "finds the tenant of a request",
	" FROM tenants ORDER BY created_at, tenant_id":                                                                          "lists all tenants for the operator",
	"SELECT tenant_id FROM tenants ORDER BY tenant_id":                                                                      "the clean-up takes each tenant in turn",
	"SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'tenant_id'": "names the tables",
	"SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_id'":       "names the tables",
	"SELECT COUNT(*) FROM ":                                               "the condition follows the table's name",
	"SELECT sqlite_version()":                                             "names no table",
	"SELECT MAX(version_id) FROM schema_versions":                         "the schema is everybody's",
	"SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)": "names no table",
	"SELECT current_setting('transaction_read_only'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')": "names no table",
}

// TestEveryStatementNamesItsTenant reads the package's own source (SEC-213): a
// statement on a table compares tenant_id, or inserts it, or is listed above.
func TestEveryStatementNamesItsTenant(t *testing.T) {
	t.Parallel()
	scoped := regexp.MustCompile(`tenant_id = \$1\b|^\s*INSERT INTO \w+ \(\s*tenant_id\b|^\s*INSERT INTO \w+ \($`)
	table := regexp.MustCompile(`\b(FROM|INTO|UPDATE)\s+[a-z_]+\b`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			plain := strings.Join(strings.Fields(text), " ")
			if !table.MatchString(text) || strings.HasPrefix(plain, "the ") {
				return true
			}
			seen++
			if _, ok := unscoped[plain]; ok || scoped.MatchString(text) {
				return true
			}
			if _, ok := unscoped[text]; ok {
				return true
			}
			t.Errorf("%s: no tenant_id = $1 in %q", set.Position(lit.Pos()), plain)
			return true
		})
	}
	if seen < 60 {
		t.Errorf("only %d statements found: does this test still see them?", seen)
	}
}

// TestEveryTableLeadsWithItsTenant walks the schema (D2): the first column, the
// primary key and every index begin with tenant_id.
func TestEveryTableLeadsWithItsTenant(t *testing.T) {
	t.Parallel()
	exceptions := map[string]string{
		"schema_versions": "the migrations' own table",
		"sqlite_sequence": "of schema_versions",
	}
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "bulla.db"), Clock: clock.NewFake(time.Unix(0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx := t.Context()
	rows, err := s.read.queryOnce(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`)
	tables, err := all(rows, err, scanOne[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 18 {
		t.Errorf("tables %v", tables)
	}
	for _, name := range tables {
		if _, ok := exceptions[name]; ok {
			continue
		}
		rows, err := s.read.queryOnce(ctx, `SELECT name FROM pragma_table_info($1) ORDER BY cid`, name)
		columns, err := all(rows, err, scanOne[string])
		if err != nil {
			t.Fatal(err)
		}
		if columns[0] != "tenant_id" {
			t.Errorf("table %s begins with %s", name, columns[0])
		}
		rows, err = s.read.queryOnce(ctx, `
			SELECT l.name || ' ' || l.origin || ' ' || i.name FROM pragma_index_list($1) l, pragma_index_info(l.name) i WHERE i.seqno = 0`, name)
		indexes, err := all(rows, err, scanOne[string])
		if err != nil {
			t.Fatal(err)
		}
		if len(indexes) == 0 {
			t.Errorf("table %s has no key", name)
		}
		for _, index := range indexes {
			// A domain is unique over all tenants: it is what finds one.
			if !strings.HasSuffix(index, " tenant_id") && !strings.HasSuffix(index, " u domain") {
				t.Errorf("table %s: index %s", name, index)
			}
		}
	}
}

// TestMigrationsSayWhatRunsBesideThem holds style.md's rule on headers, and what
// the distributed engines lack (dependencies.md §6.3).
func TestMigrationsSayWhatRunsBesideThem(t *testing.T) {
	t.Parallel()
	err := fs.WalkDir(os.DirFS("migrations"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join("migrations", path))
		if err != nil {
			return err
		}
		text := string(b)
		if !strings.HasPrefix(text, "-- ") || !strings.Contains(strings.SplitN(text, "\n", 2)[0], "binar") {
			t.Errorf("%s: the first line does not say what happens to binaries of another version", path)
		}
		for _, word := range []string{"SERIAL", "TRIGGER", "REFERENCES", "BLOB", "BYTEA", "+goose Down", "SEQUENCE", "COLLATE", "AUTOINCREMENT"} {
			if strings.Contains(strings.ToUpper(text), strings.ToUpper(word)) {
				t.Errorf("%s: %s", path, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
