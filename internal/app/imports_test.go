package app

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/bulla-auth/bulla"

// A row of the table of packages: what a package is for, what of ours and from
// third parties it may import beyond the standard library, and the slip that is
// expected. The sentence is the failure message.
type row struct {
	pkg string
	// may lists our packages (without the module path; "…" is everything) and
	// third-party modules.
	may []string
	// never lists packages of the standard library that are refused.
	never    []string
	sentence string
}

var table = []row{
	{"cmd/bulla", []string{"internal/app", "internal/config", "github.com/alecthomas/kong"}, nil,
		"cmd/bulla is main: flags, signals, exit codes; it may import app and config, never anything else of ours"},
	{"verify", []string{"internal/jose"}, nil,
		"verify is the SDK for resource servers; it may import jose, never a third-party module"},
	{"tokensource", nil, nil,
		"tokensource is the SDK for clients; it may import the standard library only, never internal/…"},
	{"authtest", []string{"internal/app", "internal/clock"}, nil,
		"authtest is the SDK for tests: the real server in the test's process; it may import app and clock, and no internal type stands in a signature"},
	{"examples", []string{"verify", "tokensource"}, nil,
		"examples are what a user would write; they may import the SDKs, never internal/…"},
	{"experiments", nil, nil,
		"experiments drive the built command from outside; they may import the standard library only"},
	{"internal/app", []string{"…", "github.com/prometheus/client_golang"}, nil,
		"app joins the parts: config in, running server and background loops out; it may import everything here"},
	{"internal/config", nil, nil,
		"config is one struct: defaults, file, environment, flags; it may import the standard library only, and the parts never see it"},
	{"internal/server", []string{"internal/authorize", "internal/grant", "internal/oauth", "internal/tenant", "github.com/jub0bs/cors"},
		[]string{"database/sql"},
		"server is the HTTP edge; it may import authorize, grant, oauth and tenant, never store, rules, jose or SQL: it decides nothing but which page"},
	{"internal/management", []string{"internal/oauth", "internal/tenant", "internal/audit", "internal/password", "verify"},
		[]string{"html", "html/template", "database/sql"},
		"management is the Management API; it may import oauth, tenant, audit, password and verify, never store, grant or html"},
	{"internal/dashboard", nil, nil,
		"dashboard serves the built dashboard; it may import the standard library only: it has no private door to tenant or store"},
	{"internal/authorize", []string{"internal/oauth", "internal/tenant", "internal/token", "internal/assertion", "internal/audit", "internal/password", "internal/clock"},
		[]string{"net/http", "database/sql"},
		"authorize is the front channel; it may import oauth, tenant, token, assertion, audit, password and clock, never net/http or store"},
	{"internal/grant", []string{"internal/oauth", "internal/tenant", "internal/token", "internal/assertion", "internal/audit", "internal/clock"},
		[]string{"net/http", "database/sql"},
		"grant is the back channel; it may import oauth, tenant, token, assertion, audit and clock, never net/http, store or rules: it asks for interfaces"},
	{"internal/rules", []string{"internal/tenant", "modernc.org/quickjs"},
		[]string{"database/sql"},
		"rules runs tenant JavaScript in worker processes; it may import tenant and the script engine, never store or server"},
	{"internal/store/storetest", []string{"internal/store", "internal/tenant", "internal/clock"}, nil,
		"storetest is the store's contract; it may import what the contract speaks of"},
	{"internal/store", []string{"internal/tenant", "internal/audit", "github.com/jackc/pgx", "modernc.org/sqlite", "github.com/pressly/goose"},
		[]string{"net/http"},
		"store is SQLite and PostgreSQL and all the SQL; it may import tenant, audit and the drivers, never a use case"},
	{"internal/token", []string{"internal/jose", "internal/tenant", "internal/clock"},
		[]string{"net/http", "database/sql"},
		"token makes tokens; it may import jose, tenant and clock, never store: it asks for keys"},
	{"internal/openssl", []string{"github.com/ebitengine/purego"},
		[]string{"net/http", "database/sql"},
		"openssl makes RSA signatures with the system's libcrypto; it may import purego, and knows nothing of tokens"},
	{"internal/seal", []string{"internal/tenant"},
		[]string{"net/http", "database/sql"},
		"seal keeps secrets at rest under the master key; it may import tenant, never store or a use case"},
	{"internal/audit", []string{"internal/tenant"},
		[]string{"net/http", "database/sql"},
		"audit is what happened, for the operator; it may import tenant, and holds no secret and no token value"},
	{"internal/tenant", nil,
		[]string{"context", "net/http", "database/sql"},
		"tenant is the nouns and the rules they carry alone; it may import the standard library only, never context, net/http, SQL or time.Now"},
	{"internal/oauth", nil,
		[]string{"database/sql"},
		"oauth is the protocol's words; it may import the standard library only, never tenant or store"},
	{"internal/jose", nil,
		[]string{"net/http", "database/sql"},
		"jose is our own JWS, JWK, JWKS and thumbprints; it may import the standard library only, never HTTP or policy"},
	{"internal/assertion", []string{"internal/jose", "internal/oauth", "github.com/go-jose/go-jose"},
		[]string{"net/http", "database/sql"},
		"assertion is JOSE made by others; it may import jose, oauth and go-jose, never policy"},
	{"internal/password", []string{"golang.org/x/crypto"},
		[]string{"net/http", "database/sql"},
		"password hashes and compares; it may import the hash function, and never says which part was wrong"},
	{"internal/clock", nil, nil,
		"clock is where the time comes from; it may import the standard library only, and nobody else calls time.Now"},
}

// sole importers of what only one package may know.
var sole = []struct{ what, only, sentence string }{
	{"database/sql", "internal/store", "store is database/sql's only importer in the server"},
	{"github.com/jackc/pgx", "internal/store", "the database drivers belong to store"},
	{"modernc.org/sqlite", "internal/store", "the database drivers belong to store"},
	{"github.com/go-jose/go-jose", "internal/assertion", "assertion is go-jose's only importer"},
	{"github.com/ebitengine/purego", "internal/openssl", "openssl is purego's only importer"},
	{"modernc.org/quickjs", "internal/rules", "rules is the script engine's only importer"},
}

// TestImports holds the table true for everything that is built to run; tests
// may import what they need.
func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range sources(t) {
		r, ok := rowOf(f.pkg)
		if !ok {
			t.Errorf("%s is in no row of the table of packages: name what it is for and what it may import, or make it a file of another", f.pkg)
			continue
		}
		seen[r.pkg] = true
		for _, imp := range f.imports {
			if why := refused(r, f.pkg, imp); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imp, why)
			}
		}
		if f.timeNow && r.pkg != "internal/clock" && r.pkg != "verify" && r.pkg != "tokensource" && r.pkg != "examples" && r.pkg != "experiments" {
			t.Errorf("%s calls time.Now: the clock is passed in; clock is its only caller", f.name)
		}
	}
	for _, pkg := range []string{"internal/app", "internal/server", "internal/store", "internal/tenant", "verify"} {
		if !seen[pkg] {
			t.Errorf("no file of %s was looked at: the test looks in the wrong place", pkg)
		}
	}
}

// The test itself: each kind of slip is found.
func TestImportsAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pkg, imp string
		refused  bool
	}{
		{"internal/grant", module + "/internal/store", true},
		{"internal/grant", "net/http", true},
		{"internal/grant", "net/url", false},
		{"internal/grant", "github.com/go-jose/go-jose/v4", true},
		{"internal/grant", module + "/internal/token", false},
		{"internal/server", module + "/internal/config", true},
		{"internal/management", "html/template", true},
		{"internal/token", "database/sql", true},
		{"internal/store", "github.com/jackc/pgx/v5/stdlib", false},
		{"internal/store/storetest", module + "/internal/store", false},
		{"verify", "github.com/google/uuid", true},
		{"verify/grpc", "google.golang.org/grpc/metadata", false},
		{"verify/grpc", module + "/internal/token", true},
		{"cmd/bulla", module + "/internal/store", true},
		{"authtest", module + "/internal/tenant", true},
		{"internal/app", module + "/authtest", true},
	}
	for _, tt := range tests {
		r, ok := rowOf(tt.pkg)
		if !ok {
			t.Fatalf("no row for %s", tt.pkg)
		}
		if why := refused(r, tt.pkg, tt.imp); (why != "") != tt.refused {
			t.Errorf("%s imports %s: got %q, want refused %v", tt.pkg, tt.imp, why, tt.refused)
		}
	}
}

// No internal type in a signature of a package that others import.
func TestPublicSignatures(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if top, _, _ := strings.Cut(f.pkg, "/"); top != "verify" && top != "tokensource" && top != "authtest" {
			continue
		}
		internal := map[string]bool{}
		for _, imp := range f.imports {
			if strings.Contains(imp, "/internal/") {
				internal[path.Base(imp)] = true
			}
		}
		for _, decl := range f.file.Decls {
			for _, e := range exportedTypes(decl) {
				ast.Inspect(e, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						if id, ok := sel.X.(*ast.Ident); ok && internal[id.Name] {
							t.Errorf("%s: %s.%s is an internal type in an exported signature", f.name, id.Name, sel.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

// exportedTypes are the type expressions that a user of the package can see.
func exportedTypes(decl ast.Decl) []ast.Node {
	var out []ast.Node
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() {
			out = append(out, d.Type)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && s.Type != nil {
					out = append(out, s.Type)
				}
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					continue
				}
				st, ok := s.Type.(*ast.StructType)
				if !ok {
					out = append(out, s.Type)
					continue
				}
				for _, field := range st.Fields.List {
					if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
						out = append(out, field.Type)
					}
				}
			}
		}
	}
	return out
}

func rowOf(pkg string) (row, bool) {
	for _, r := range table {
		if pkg == r.pkg || strings.HasPrefix(pkg, r.pkg+"/") {
			return r, true
		}
	}
	return row{}, false
}

// refused says why pkg, which is r or under it, may not import imp; "" means it may.
func refused(r row, pkg, imp string) string {
	for _, s := range sole {
		if under(imp, s.what) && r.pkg != s.only && !strings.HasPrefix(pkg, "tokensource/") {
			return s.sentence
		}
	}
	if slices.Contains(r.never, imp) {
		return r.sentence
	}
	first, _, _ := strings.Cut(imp, "/")
	ours := under(imp, module)
	switch {
	case !ours && !strings.Contains(first, "."):
		return "" // standard library
	case !ours && pkg != r.pkg && (r.pkg == "verify" || r.pkg == "tokensource"):
		return "" // a sub-package is for the framework it is named after
	case ours && under(imp, module+"/"+r.pkg):
		return ""
	case ours && slices.Contains(r.may, "…"):
		if under(imp, module+"/authtest") || under(imp, module+"/cmd") {
			return r.sentence
		}
		return ""
	}
	for _, may := range r.may {
		if under(imp, may) || under(imp, module+"/"+may) {
			return ""
		}
	}
	return r.sentence
}

func under(imp, prefix string) bool { return imp == prefix || strings.HasPrefix(imp, prefix+"/") }

type source struct {
	name, pkg string
	imports   []string
	timeNow   bool
	file      *ast.File
}

// sources are the Go files of the module that are no tests.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch base := d.Name(); {
			case rel != "." && strings.HasPrefix(base, "."), base == "testdata", base == "node_modules", rel == "journeys", rel == "bulla-data", rel == "bin", rel == "dist":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		s := source{name: filepath.ToSlash(rel), pkg: filepath.ToSlash(filepath.Dir(rel)), file: f, timeNow: callsTimeNow(f)}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func callsTimeNow(f *ast.File) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "Until") {
				found = true
			}
		}
		return !found
	})
	return found
}
