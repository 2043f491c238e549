package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a JSON body (SEC-225).
const (
	maxDepth   = 20
	maxMembers = 10_000
	maxItems   = 1_000
)

// object is a JSON object whose members keep their order: a document comes back
// as it was sent, number for number. Its values are nil, bool, string,
// json.Number, []any and *object; what handlers put in may also be a Go integer,
// a time or a []string.
type object struct{ members []member }

type member struct {
	name  string
	value any
}

// obj makes an object of names and values in turn.
func obj(pairs ...any) *object {
	o := &object{}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// get is the value of a member; ok tells whether it is there.
func (o *object) get(name string) (value any, ok bool) {
	if o == nil {
		return nil, false
	}
	for _, m := range o.members {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

func (o *object) has(name string) bool {
	_, ok := o.get(name)
	return ok
}

// set replaces a member in its place, or appends it.
func (o *object) set(name string, value any) {
	for i := range o.members {
		if o.members[i].name == name {
			o.members[i].value = value
			return
		}
	}
	o.members = append(o.members, member{name, value})
}

// setDefault sets a member that is not there.
func (o *object) setDefault(name string, value any) {
	if !o.has(name) {
		o.set(name, value)
	}
}

func (o *object) remove(name string) {
	for i := range o.members {
		if o.members[i].name == name {
			o.members = append(o.members[:i:i], o.members[i+1:]...)
			return
		}
	}
}

// copy is an object of its own with the same values.
func (o *object) copy() *object {
	if o == nil {
		return &object{}
	}
	return &object{members: append([]member(nil), o.members...)}
}

// text, flag, number, strings and child read a member of a validated object;
// a member that is absent, null or of another type reads as the zero value.
func (o *object) text(name string) string {
	v, _ := o.get(name)
	s, _ := v.(string)
	return s
}

func (o *object) flag(name string) bool {
	v, _ := o.get(name)
	b, _ := v.(bool)
	return b
}

func (o *object) number(name string) int64 {
	v, _ := o.get(name)
	switch n := v.(type) {
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i
		}
		f, _ := n.Float64()
		return int64(f)
	case int:
		return int64(n)
	case int64:
		return n
	}
	return 0
}

func (o *object) strings(name string) []string {
	v, _ := o.get(name)
	switch list := v.(type) {
	case []string:
		return list
	case []any:
		out := make([]string, 0, len(list))
		for _, e := range list {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

func (o *object) child(name string) *object {
	v, _ := o.get(name)
	c, _ := v.(*object)
	return c
}

// mergePatch is the merge of one level (management-api.md §7): given members
// replace, null removes, the rest stays.
func (o *object) mergePatch(patch *object) *object {
	out := o.copy()
	for _, m := range patch.members {
		if m.value == nil {
			out.remove(m.name)
			continue
		}
		out.set(m.name, m.value)
	}
	return out
}

// bytes is the object as JSON.
func (o *object) bytes() []byte { return appendJSON(nil, o) }

// MarshalJSON makes an object fit to be a value of an event.
func (o *object) MarshalJSON() ([]byte, error) { return o.bytes(), nil }

// errJSON: not JSON, or more of it than SEC-225 allows.
var errJSON = errors.New("invalid JSON")

// parseJSON reads one JSON text within the bounds of SEC-225. A repeated member
// is refused: two readers would not agree on its value.
func parseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errJSON
	}
	p := parser{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return v, nil
}

// parseObject reads a document we stored ourselves.
func parseObject(text []byte) (*object, error) {
	if len(text) == 0 {
		return &object{}, nil
	}
	v, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	o, ok := v.(*object)
	if !ok {
		return nil, fmt.Errorf("%w: not an object", errJSON)
	}
	return o, nil
}

type parser struct {
	dec     *json.Decoder
	members int
}

func (p *parser) value(depth int) (any, error) {
	t, err := p.dec.Token()
	if err != nil {
		return nil, errJSON
	}
	d, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", errJSON, maxDepth)
	}
	if d == '[' {
		return p.array(depth + 1)
	}
	return p.object(depth + 1)
}

func (p *parser) array(depth int) (any, error) {
	list := []any{}
	for p.dec.More() {
		if len(list) == maxItems {
			return nil, fmt.Errorf("%w: more than %d items", errJSON, maxItems)
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.dec.Token()
	return list, err
}

func (p *parser) object(depth int) (any, error) {
	o := &object{}
	seen := map[string]bool{}
	for p.dec.More() {
		if p.members++; p.members > maxMembers {
			return nil, fmt.Errorf("%w: more than %d members", errJSON, maxMembers)
		}
		t, err := p.dec.Token()
		if err != nil {
			return nil, errJSON
		}
		name := t.(string)
		if seen[name] {
			return nil, fmt.Errorf("%w: a member occurs twice", errJSON)
		}
		seen[name] = true
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		o.members = append(o.members, member{name, v})
	}
	_, err := p.dec.Token()
	return o, err
}

// appendJSON writes a value without escaping for HTML: what was sent comes back.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case json.Number:
		return append(b, v...)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case time.Time:
		return appendString(b, timestamp(v))
	case []string:
		return appendList(b, len(v), func(b []byte, i int) []byte { return appendString(b, v[i]) })
	case []any:
		return appendList(b, len(v), func(b []byte, i int) []byte { return appendJSON(b, v[i]) })
	case []*object:
		return appendList(b, len(v), func(b []byte, i int) []byte { return appendJSON(b, v[i]) })
	case *object:
		if v == nil {
			return append(b, "{}"...)
		}
		b = append(b, '{')
		for i, m := range v.members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, m.name)
			b = append(b, ':')
			b = appendJSON(b, m.value)
		}
		return append(b, '}')
	}
	panic(fmt.Sprintf("management: no JSON form for a %s", reflect.TypeOf(v)))
}

func appendList(b []byte, n int, item func([]byte, int) []byte) []byte {
	b = append(b, '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, i)
	}
	return append(b, ']')
}

func appendString(b []byte, s string) []byte {
	var w bytes.Buffer
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("management: a string has a JSON form: " + err.Error())
	}
	return append(b, strings.TrimSuffix(w.String(), "\n")...)
}

// timestamp is RFC 3339 in UTC with milliseconds (management-api.md §9).
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
