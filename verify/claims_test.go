package verify

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClaimsAccessors(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	raw := k.token(t, goodClaims(testIssuer).with(claimSet{
		"aud": []string{testAudience, "x"}, "nbf": noon.Unix(), "permissions": []string{"p1", "p2"},
		"https://acme.example/roles": []string{"boss"}, "Roles": "no", "org_id": "org_1",
	}))
	c, err := fixed(t, k).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	check("Issuer", c.Issuer(), testIssuer)
	check("Subject", c.Subject(), "auth0|7")
	check("Audience", c.Audience(), []string{testAudience, "x"})
	check("ClientID", c.ClientID(), "c1")
	check("ID", c.ID(), "j1")
	check("Scopes", c.Scopes(), []string{"read:messages", "openid"})
	check("Permissions", c.Permissions(), []string{"p1", "p2"})
	check("HasPermission", c.HasPermission("p2"), true)
	check("IssuedAt", c.IssuedAt(), noon)
	check("NotBefore", c.NotBefore(), noon)
	check("ExpiresAt", c.ExpiresAt(), noon.Add(time.Hour))
	check("Text", c.Text("org_id"), "org_1")
	var roles []string
	check("Claim", c.Claim("https://acme.example/roles", &roles), nil)
	check("roles", roles, []string{"boss"})
	check("Claim of another case", c.Claim("roles", &roles), ErrNoClaim)
	var custom struct {
		Roles []string `json:"https://acme.example/roles"`
	}
	check("Decode", c.Decode(&custom), nil)
	check("decoded", custom.Roles, []string{"boss"})

	raw2 := c.Raw()
	raw2[0] = 'X'
	c.Audience()[0] = "X"
	check("Raw is a copy", c.Raw()[0], byte('{'))
	check("Audience is a copy", c.Audience()[0], testAudience)
}

func TestZeroClaimsGrantNothing(t *testing.T) {
	t.Parallel()
	var c Claims
	if c.HasScope("") || c.HasPermission("") || c.Subject() != "" || c.Raw() != nil || !c.ExpiresAt().IsZero() {
		t.Error("the zero Claims say something")
	}
	if err := c.Decode(new(any)); !errors.Is(err, ErrNoClaim) {
		t.Errorf("Decode = %v, want ErrNoClaim", err)
	}
}

func TestClientIDFallsBackToAzp(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	c, err := fixed(t, k).Verify(t.Context(), k.token(t, goodClaims(testIssuer).with(claimSet{"client_id": nil, "azp": "spa"})))
	if err != nil || c.ClientID() != "spa" {
		t.Errorf("ClientID = %q, %v; want spa", c.ClientID(), err)
	}
}

func TestDecodeUnverified(t *testing.T) {
	t.Parallel()
	raw := key(0, "k0").token(t, claimSet{"a": 1})
	h, p, err := DecodeUnverified(raw)
	if err != nil || string(h) != `{"alg":"RS256","typ":"JWT","kid":"k0"}` || string(p) != `{"a":1}` {
		t.Errorf("DecodeUnverified = %s, %s, %v", h, p, err)
	}
	if _, _, err := DecodeUnverified("x"); err != ErrMalformed {
		t.Errorf("DecodeUnverified of junk = %v, want ErrMalformed", err)
	}
}

// SEC-105: the exported surface has no way to Claims but Verify, and no type of
// ours that a user could not name.
func TestSurface(t *testing.T) {
	t.Parallel()
	if n := reflect.TypeFor[Claims]().NumField(); n != 1 || reflect.TypeFor[Claims]().Field(0).IsExported() {
		t.Error("Claims can be filled by others")
	}
	var makers []string
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			ast.Inspect(f.Type, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "jose" {
						t.Errorf("%s has jose.%s in its signature", f.Name, sel.Sel)
					}
				}
				return true
			})
			if f.Type.Results == nil {
				continue
			}
			for _, r := range f.Type.Results.List {
				if id, ok := r.Type.(*ast.Ident); ok && id.Name == "Claims" {
					makers = append(makers, f.Name.Name)
				}
			}
		}
	}
	slices.Sort(makers)
	if want := []string{"FromContext", "Verify"}; !slices.Equal(makers, want) {
		t.Errorf("Claims come from %v, want %v", makers, want)
	}
}
