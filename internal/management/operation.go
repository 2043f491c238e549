package management

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// operation is one route, described once.
type operation struct {
	method string
	// path is under /api/v2, with {name} for a segment that is a value.
	path string
	// title names the operation in the event log ("Create a client").
	title string
	doc   string
	// scopes: any one of them is enough.
	scopes []string
	// open says why an operation needs no token; without scopes and without a
	// reason the server does not start (SEC-185).
	open string
	// params are the values of path; those not named are strings.
	params []field
	query  []field
	body   *body
	status int
	answer answer
	serve  func(c *call) (any, error)
}

// answer is what an operation gives back on success.
type answer struct {
	resource *resource
	// array answers are always a bare array.
	array bool
	list  *listForm
	// empty answers are {} and not nothing (management-api.md §1).
	empty bool
}

// one answers a single object, every a bare array of them, paged a list.
func one(r *resource) answer   { return answer{resource: r} }
func every(r *resource) answer { return answer{resource: r, array: true} }

func paged(r *resource, l listForm) answer {
	if l.perPage == 0 {
		l.perPage = 50
	}
	if l.takeMax == 0 {
		l.takeMax = 100
	}
	return answer{resource: r, list: &l}
}

// group is the operations of one resource.
type group struct {
	tag        string
	operations []operation
}

// table is the router: operations by number of path segments, in which a
// segment that is given by name goes before one that is a value.
type table struct{ bySize map[int][]*route }

type route struct {
	op       *operation
	segments []string
	tag      string
}

const prefix = "/api/v2"

var pathPattern = regexp.MustCompile(`^(/([a-z0-9.-]+|\{[a-z_]+\}))+$`)

// newTable checks what the groups declare and builds the router. It panics on a
// route nobody may rely on: that is a programmer's mistake and must not start.
func newTable(groups []group) *table {
	t := &table{bySize: map[int][]*route{}}
	seen := map[string]bool{}
	for _, g := range groups {
		for i := range g.operations {
			op := &g.operations[i]
			name := op.method + " " + op.path
			if err := op.check(); err != nil {
				panic(fmt.Sprintf("management: %s: %v", name, err))
			}
			if seen[name] {
				panic("management: declared twice: " + name)
			}
			seen[name] = true
			segments := strings.Split(op.path[1:], "/")
			t.bySize[len(segments)] = append(t.bySize[len(segments)], &route{
				op: op, segments: segments, tag: g.tag,
			})
		}
	}
	for _, routes := range t.bySize {
		slices.SortStableFunc(routes, func(a, b *route) int {
			// "{" sorts after every letter, so literal segments come first.
			return slices.Compare(a.segments, b.segments)
		})
	}
	return t
}

func (op *operation) check() error {
	switch {
	case op.scopes == nil && op.open == "":
		return fmt.Errorf("no scope is declared (SEC-185)")
	case op.scopes != nil && op.open != "":
		return fmt.Errorf("both a scope and none")
	case op.serve == nil || op.title == "" || op.status == 0:
		return fmt.Errorf("handler, title or status is missing")
	case !pathPattern.MatchString(op.path):
		return fmt.Errorf("not a path")
	case op.body != nil && (op.method == http.MethodGet || op.method == http.MethodDelete):
		return fmt.Errorf("a body on %s", op.method)
	}
	for _, d := range op.query {
		if err := d.check(); err != nil {
			return err
		}
	}
	if op.body != nil {
		return field{shape: op.body.shape}.check()
	}
	return nil
}

// check finds words of a description that mean nothing.
func (d field) check() error {
	s := d.shape
	if _, ok := formats[s.format]; s.format != "" && !ok {
		return fmt.Errorf("%s: no format %s", d.name, s.format)
	}
	inner := slices.Clone(s.fields)
	if s.item != nil {
		inner = append(inner, field{name: d.name, shape: *s.item})
	}
	for _, one := range s.oneOf {
		inner = append(inner, field{name: d.name, shape: one})
	}
	for _, in := range inner {
		if err := in.check(); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

// find routes on the escaped path: it is split at / and each segment is
// unescaped afterwards, so that an identifier may hold a slash
// (management-api.md §1).
func (t *table) find(method, escapedPath string) (*route, map[string]string) {
	rest, ok := strings.CutPrefix(escapedPath, prefix+"/")
	if !ok {
		return nil, nil
	}
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == "" {
			return nil, nil
		}
		segments[i] = plain
	}
	for _, r := range t.bySize[len(segments)] {
		if r.op.method != method {
			continue
		}
		if values, ok := r.match(segments); ok {
			return r, values
		}
	}
	return nil, nil
}

func (r *route) match(segments []string) (map[string]string, bool) {
	values := map[string]string{}
	for i, s := range r.segments {
		if strings.HasPrefix(s, "{") {
			values[s[1:len(s)-1]] = segments[i]
		} else if s != segments[i] {
			return nil, false
		}
	}
	return values, true
}

// routes lists every route, in the order of paths and methods.
func (t *table) routes() []*route {
	var out []*route
	for _, routes := range t.bySize {
		out = append(out, routes...)
	}
	slices.SortFunc(out, func(a, b *route) int {
		return strings.Compare(a.op.path+" "+a.op.method, b.op.path+" "+b.op.method)
	})
	return out
}

// scopes lists every scope that opens an operation or a field, sorted.
func (t *table) scopes() []string {
	var out []string
	for _, r := range t.routes() {
		out = append(out, r.op.scopes...)
		nouns := []*resource{r.op.answer.resource}
		if r.op.body != nil {
			nouns = append(nouns, r.op.body.resource)
		}
		for _, noun := range nouns {
			if noun == nil {
				continue
			}
			out = append(out, fieldScopes(noun.fields)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func fieldScopes(fields []field) []string {
	var out []string
	for _, d := range fields {
		out = slices.Concat(out, d.readWith, d.createWith, d.updateWith, fieldScopes(d.shape.fields))
	}
	return out
}
