package management

import (
	"net/http"
	"strings"
	"testing"
)

// SEC-185: a route that declares no scope does not start.
func TestUndeclaredRoutesDoNotStart(t *testing.T) {
	t.Parallel()
	good := operation{
		method: http.MethodGet, path: "/things/{id}", title: "Get a thing", scopes: []string{"read:things"},
		status: http.StatusOK, serve: func(*call) (any, error) { return nil, nil },
	}
	tests := map[string]struct {
		change func(*operation)
		want   string
	}{
		"good":           {func(*operation) {}, ""},
		"no scope":       {func(o *operation) { o.scopes = nil }, "no scope is declared"},
		"scope and open": {func(o *operation) { o.open = "why not" }, "both a scope and none"},
		"no handler":     {func(o *operation) { o.serve = nil }, "handler, title or status is missing"},
		"bad path":       {func(o *operation) { o.path = "things/{id}/" }, "not a path"},
		"unknown format": {func(o *operation) { o.query = []field{f("x", str().as("nonsense"), "")} }, "no format nonsense"},
		"unknown format, deep": {func(o *operation) {
			o.method, o.body = http.MethodPost, accepts("Thing", closed(f("a", list(closed(f("b", str().as("nonsense"), ""))), "")))
		}, "no format nonsense"},
		"body on GET": {func(o *operation) { o.body = accepts("Thing", closed()) }, "a body on GET"},
	}
	for name, tt := range tests {
		op := good
		tt.change(&op)
		var got string
		func() {
			defer func() {
				if p := recover(); p != nil {
					got = p.(string)
				}
			}()
			newTable([]group{{tag: "things", operations: []operation{op}}})
		}()
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "declared twice") {
			t.Errorf("declared twice: %v", p)
		}
	}()
	newTable([]group{{operations: []operation{good, good}}})
}

func TestRouting(t *testing.T) {
	t.Parallel()
	serve := func(*call) (any, error) { return nil, nil }
	op := func(method, path string) operation {
		return operation{method: method, path: path, title: path, scopes: []string{"x"}, status: 200, serve: serve}
	}
	table := newTable([]group{{operations: []operation{op("GET", "/things/{id}"), op("GET", "/things/special"), op("GET", "/things/{id}/parts/{part}")}}})
	tests := map[string]struct{ path, id string }{
		"/api/v2/things/1":                         {"/things/{id}", "1"},
		"/api/v2/things/special":                   {"/things/special", ""},
		"/api/v2/things/https:%2F%2Fa.example%2Fb": {"/things/{id}", "https://a.example/b"},
		"/api/v2/things/auth0%7C1":                 {"/things/{id}", "auth0|1"},
		"/api/v2/things/%2e%2e":                    {"/things/{id}", ".."},
		"/api/v2/things/a%2Fparts%2Fb":             {"/things/{id}", "a/parts/b"},
		"/api/v2/things/a/parts/b":                 {"/things/{id}/parts/{part}", "a"},
		"/api/v2/things":                           {},
		"/api/v2/things/":                          {},
		"/api/v2/things//parts/b":                  {},
		"/api/v2/things/1/":                        {},
		"/api/v2/things/%zz":                       {},
		"/api/v3/things/1":                         {},
		"/api/v2things/1":                          {},
	}
	for path, want := range tests {
		r, values := table.find("GET", path)
		got := ""
		if r != nil {
			got = r.op.path
		}
		if got != want.path || values["id"] != want.id {
			t.Errorf("%s: %s with id %q, want %s with %q", path, got, values["id"], want.path, want.id)
		}
	}
	if r, _ := table.find("POST", "/api/v2/things/1"); r != nil {
		t.Error("POST found the route of GET")
	}
}
