package management

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
)

// listing is a part of a list, as a handler found it.
type listing struct {
	items []*object
	total int
	next  string
}

// encode turns what a handler returned into the answer: it hides what the
// token's scopes do not show, keeps the fields asked for, and gives lists the
// form asked for.
func (c *call) encode(result any) ([]byte, error) {
	if text, ok := result.([]byte); ok {
		return text, nil
	}
	if result == nil {
		if c.op.answer.empty {
			return []byte("{}"), nil
		}
		return nil, nil
	}
	if err := c.mayAskFor(); err != nil {
		return nil, err
	}
	var secret bool
	show := func(o *object) *object {
		shown, s := c.show(c.op.answer.resource, o)
		secret = secret || s
		return c.selected(shown)
	}
	var out []byte
	switch v := result.(type) {
	case *object:
		out = show(v).bytes()
	case []*object:
		items := make([]*object, len(v))
		for i, o := range v {
			items[i] = show(o)
		}
		out = appendJSON(nil, items)
	case listing:
		items := make([]*object, len(v.items))
		for i, o := range v.items {
			items[i] = show(o)
		}
		v.items = items
		var err error
		if out, err = c.encodeList(v); err != nil {
			return nil, err
		}
	}
	if secret && c.op.method == http.MethodGet {
		c.store.Record(c.event(audit.ManagementRead, nil))
	}
	return out, nil
}

// show is an object as the token's scopes show it, in the order of the
// description; secret tells whether a secret is in it (SEC-190).
func (c *call) show(r *resource, o *object) (shown *object, secret bool) {
	if r == nil {
		return o, false
	}
	shown = &object{}
	for _, d := range r.fields {
		v, ok := o.get(d.name)
		if !ok || d.in&inAnswer == 0 || !c.sees(r, d) {
			continue
		}
		shown.set(d.name, v)
		secret = secret || d.secret
	}
	return shown, secret
}

func (c *call) sees(r *resource, d field) bool {
	need := d.readWith
	if need == nil {
		need = r.readWith
	}
	return c.holds(need)
}

// mayAskFor refuses a field that is asked for by name and may not be seen.
func (c *call) mayAskFor() error {
	if c.query == nil || c.op.answer.resource == nil || c.excludes() {
		return nil
	}
	for _, name := range c.fieldNames() {
		for _, d := range c.op.answer.resource.fields {
			if d.name == name && !c.sees(c.op.answer.resource, d) {
				return &oauth.Error{Code: oauth.InsufficientScope, Status: http.StatusForbidden,
					Description: "Some fields cannot be read with the permissions granted by the bearer token scopes: " + d.name}
			}
		}
	}
	return nil
}

func (c *call) excludes() bool {
	v, ok := c.query.get("include_fields")
	return ok && v == false
}

func (c *call) fieldNames() []string {
	var names []string
	for _, n := range strings.Split(c.query.text("fields"), ",") {
		if n = strings.TrimSpace(n); n != "" {
			names = append(names, n)
		}
	}
	return names
}

// selected keeps or drops the members named by fields (management-api.md §6).
// A dotted name selects inside an object.
func (c *call) selected(o *object) *object {
	names := c.fieldNames()
	if len(names) == 0 {
		return o
	}
	drop := c.excludes()
	out := &object{}
	for _, m := range o.members {
		var inner []string
		whole := false
		for _, n := range names {
			if n == m.name {
				whole = true
			} else if rest, ok := strings.CutPrefix(n, m.name+"."); ok {
				inner = append(inner, rest)
			}
		}
		child, isObject := m.value.(*object)
		switch {
		case whole && !drop, !whole && drop && inner == nil:
			out.set(m.name, m.value)
		case whole || inner == nil:
		case isObject:
			out.set(m.name, pickMembers(child, inner, drop))
		case drop:
			out.set(m.name, m.value)
		}
	}
	return out
}

func pickMembers(o *object, names []string, drop bool) *object {
	out := &object{}
	for _, m := range o.members {
		if slices.Contains(names, m.name) != drop {
			out.set(m.name, m.value)
		}
	}
	return out
}
