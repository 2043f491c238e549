package management

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/oauth"
)

// fault is why a value does not fit its description: the vendor's words, where
// it is, and what the description says of the place.
type fault struct {
	reason string
	path   string
	doc    string
}

// message is the vendor's sentence (management-api.md §3); what is Payload,
// Query or Path.
func (f *fault) message(what string) string {
	s := what + " validation error: '" + f.reason + "'"
	if f.path != "" {
		s += " on property " + f.path
		if f.doc != "" {
			s += " (" + strings.TrimSuffix(f.doc, ".") + ")"
		}
	}
	return s + "."
}

// invalidBody is a fault of a body as it crosses the wire.
func (f *fault) invalidBody() *oauth.Error {
	return &oauth.Error{Code: "invalid_body", Status: http.StatusBadRequest, Description: f.message("Payload")}
}

func (f *fault) invalidQuery() *oauth.Error {
	return &oauth.Error{Code: "invalid_query_string", Status: http.StatusBadRequest, Description: f.message("Query")}
}

func (f *fault) invalidPath() *oauth.Error {
	return &oauth.Error{Code: "invalid_uri", Status: http.StatusBadRequest, Description: f.message("Path")}
}

// judge finds the first fault of v against s, or nil. The order is that of the
// vendor's validator: the object itself before its members.
func (s shape) judge(v any, path, doc string) *fault {
	bad := func(format string, args ...any) *fault {
		return &fault{reason: fmt.Sprintf(format, args...), path: path, doc: doc}
	}
	if s.kind == anyKind || v == nil && s.null {
		return nil
	}
	if s.kind == eitherKind {
		return s.judgeEither(v, path, doc)
	}
	if found := typeOf(v); found != s.typeName() && !(s.kind == numberKind && found == "integer") {
		expected := s.typeName()
		if s.null {
			expected += ",null"
		}
		return bad("Expected type %s but found type %s", expected, found)
	}
	switch v := v.(type) {
	case string:
		return s.judgeString(v, bad)
	case json.Number:
		n, _ := v.Float64()
		if n < s.low {
			return bad("Value %s is less than minimum %s", v, plain(s.low))
		}
		if n > s.high {
			return bad("Value %s is greater than maximum %s", v, plain(s.high))
		}
	case []any:
		return s.judgeArray(v, path, doc, bad)
	case *object:
		return s.judgeObject(v, path, bad)
	}
	return nil
}

func (s shape) judgeString(v string, bad func(string, ...any) *fault) *fault {
	n := float64(utf8.RuneCountInString(v))
	switch {
	case s.values != nil && !slices.Contains(s.values, v):
		return bad("No enum match for: %s", echo(v))
	case n < s.low:
		return bad("String is too short (%d chars), minimum %s", int(n), plain(s.low))
	case n > s.high:
		return bad("String is too long (%d chars), maximum %s", int(n), plain(s.high))
	case s.pattern != nil && !s.pattern.MatchString(v):
		return bad("String does not match pattern %s: %s", s.pattern, echo(v))
	case s.format != "" && !formats[s.format](v):
		return bad("Object didn't pass validation for format %s: %s", s.format, echo(v))
	}
	return nil
}

func (s shape) judgeArray(v []any, path, doc string, bad func(string, ...any) *fault) *fault {
	if n := float64(len(v)); n < s.low {
		return bad("Array is too short (%d), minimum %s", len(v), plain(s.low))
	} else if n > s.high {
		return bad("Array is too long (%d), maximum %s", len(v), plain(s.high))
	}
	if s.unique {
		seen := make(map[string]int, len(v))
		for i, e := range v {
			text := string(appendJSON(nil, e))
			if first, ok := seen[text]; ok {
				return bad("Array items are not unique (indexes %d and %d)", first, i)
			}
			seen[text] = i
		}
	}
	for i, e := range v {
		if f := s.item.judge(e, path+"["+strconv.Itoa(i)+"]", doc); f != nil {
			return f
		}
	}
	return nil
}

func (s shape) judgeObject(o *object, path string, bad func(string, ...any) *fault) *fault {
	known := make(map[string]field, len(s.fields))
	for _, d := range s.fields {
		known[d.name] = d
		if d.required && !o.has(d.name) {
			return bad("Missing required property: %s", d.name)
		}
	}
	if !s.open {
		var unknown []string
		for _, m := range o.members {
			if _, ok := known[m.name]; !ok {
				unknown = append(unknown, echo(m.name))
			}
		}
		if unknown != nil {
			return bad("Additional properties not allowed: %s%s", echo(strings.Join(unknown, ",")), s.advice)
		}
	}
	if n := float64(len(o.members)); n < s.low {
		return bad("Too few properties defined (%d), minimum %s", len(o.members), plain(s.low))
	} else if n > s.high {
		return bad("Too many properties defined (%d), maximum %s", len(o.members), plain(s.high))
	}
	for _, m := range o.members {
		d, ok := known[m.name]
		if !ok {
			if s.item == nil {
				continue
			}
			d = field{shape: *s.item}
		}
		if f := d.shape.judge(m.value, join(path, m.name), d.doc); f != nil {
			return f
		}
	}
	return nil
}

func (s shape) judgeEither(v any, path, doc string) *fault {
	var inner []string
	for _, one := range s.oneOf {
		f := one.judge(v, "", "")
		if f == nil {
			return nil
		}
		inner = append(inner, f.message("Payload"))
	}
	return &fault{path: path, doc: doc,
		reason: "None of the valid schemas were met. Inner errors: [ " + strings.Join(inner, " (also) ") + " ]"}
}

func (s shape) typeName() string {
	switch s.kind {
	case stringKind:
		return "string"
	case integerKind:
		return "integer"
	case numberKind:
		return "number"
	case booleanKind:
		return "boolean"
	case arrayKind:
		return "array"
	}
	return "object"
}

// typeOf names the JSON type of a value as the vendor's validator does: 1.0 is
// an integer.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func join(path, name string) string {
	if path == "" {
		return echo(name)
	}
	return path + "." + echo(name)
}

// echo is an input fit to be named in a message: no control characters, cut at
// 256 bytes (style.md, "Errors").
func echo(s string) string {
	const most = 256
	var b strings.Builder
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > most {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plain writes a bound without exponent.
func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
