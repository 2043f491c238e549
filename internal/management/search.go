package management

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Bounds of a search (SEC-192).
const (
	maxSearchDepth = 10
	maxSearchTerms = 64
)

// search reads the Lucene subset of management-api.md §10 into a tree. fields
// is the allow-list: nothing else becomes part of a query. bare are the fields a
// term without a name is looked for in.
type search struct {
	fields func(string) (tenant.FieldKind, bool)
	bare   []string
	text   string
	pos    int
	terms  int
}

func userSearch(q string) (*tenant.Condition, error) {
	return parseSearch(q, tenant.UserField, []string{"email", "name", "given_name", "family_name", "nickname", "username"})
}

func logSearch(q string) (*tenant.Condition, error) {
	return parseSearch(q, tenant.EventField, []string{"client_name", "connection", "description", "ip", "log_id", "type", "user_name"})
}

func parseSearch(q string, fields func(string) (tenant.FieldKind, bool), bare []string) (*tenant.Condition, error) {
	s := &search{fields: fields, bare: bare, text: q}
	s.space()
	if s.pos == len(s.text) || strings.TrimSpace(q) == "*" {
		return nil, nil
	}
	c, err := s.either(0, "")
	if err != nil {
		return nil, err
	}
	if s.pos != len(s.text) {
		return nil, s.bad("unexpected character at position %d", s.pos)
	}
	return &c, nil
}

func (s *search) bad(format string, args ...any) error {
	return &oauth.Error{Code: "invalid_query_string", Status: http.StatusBadRequest,
		Description: "Query validation error: 'The search cannot be understood: " + fmt.Sprintf(format, args...) + "' on property q."}
}

func (s *search) space() {
	for s.pos < len(s.text) && (s.text[s.pos] == ' ' || s.text[s.pos] == '\t') {
		s.pos++
	}
}

// word takes an operator that stands alone.
func (s *search) word(w string) bool {
	rest, ok := strings.CutPrefix(s.text[s.pos:], w)
	if !ok || rest != "" && rest[0] != ' ' && rest[0] != '(' && rest[0] != '\t' {
		return false
	}
	s.pos += len(w)
	s.space()
	return true
}

func (s *search) char(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *search) end() bool { return s.pos >= len(s.text) || s.text[s.pos] == ')' }

// either is a chain of OR; two terms side by side are one too, as in Lucene.
func (s *search) either(depth int, field string) (tenant.Condition, error) {
	if depth > maxSearchDepth {
		return tenant.Condition{}, s.bad("nested deeper than %d", maxSearchDepth)
	}
	return s.chain("or", func() (tenant.Condition, error) { return s.both(depth, field) }, func() bool { s.word("OR"); return true })
}

func (s *search) both(depth int, field string) (tenant.Condition, error) {
	return s.chain("and", func() (tenant.Condition, error) { return s.not(depth, field) }, func() bool { return s.word("AND") })
}

func (s *search) chain(op string, part func() (tenant.Condition, error), more func() bool) (tenant.Condition, error) {
	first, err := part()
	if err != nil {
		return first, err
	}
	nodes := []tenant.Condition{first}
	for s.space(); !s.end() && more(); s.space() {
		next, err := part()
		if err != nil {
			return next, err
		}
		nodes = append(nodes, next)
	}
	if len(nodes) == 1 {
		return first, nil
	}
	return tenant.Condition{Op: op, Nodes: nodes}, nil
}

func (s *search) not(depth int, field string) (tenant.Condition, error) {
	s.space()
	if s.word("NOT") || s.char('-') || s.char('!') {
		c, err := s.group(depth, field)
		return tenant.Condition{Op: "not", Nodes: []tenant.Condition{c}}, err
	}
	s.char('+')
	return s.group(depth, field)
}

func (s *search) group(depth int, field string) (tenant.Condition, error) {
	if !s.char('(') {
		return s.term(depth, field)
	}
	c, err := s.either(depth+1, field)
	if err != nil {
		return c, err
	}
	if !s.char(')') {
		return c, s.bad("a parenthesis is not closed")
	}
	return c, nil
}

// term is field:value, field:(…), field:[a TO b], _exists_:field or a bare value.
func (s *search) term(depth int, field string) (tenant.Condition, error) {
	if s.terms++; s.terms > maxSearchTerms {
		return tenant.Condition{}, s.bad("more than %d terms", maxSearchTerms)
	}
	if field != "" {
		return s.value(field)
	}
	start := s.pos
	for s.pos < len(s.text) && isFieldByte(s.text[s.pos]) {
		s.pos++
	}
	name := s.text[start:s.pos]
	if name == "" || !s.char(':') {
		s.pos = start
		return s.anywhere()
	}
	if name == "_exists_" {
		v, _, err := s.literal()
		if err != nil {
			return tenant.Condition{}, err
		}
		if _, ok := s.fields(v); !ok {
			return tenant.Condition{}, s.bad("the field %s cannot be searched", oauth.Quote(v))
		}
		return tenant.Condition{Op: "exists", Field: v}, nil
	}
	if _, ok := s.fields(name); !ok {
		return tenant.Condition{}, s.bad("the field %s cannot be searched", oauth.Quote(name))
	}
	if s.pos < len(s.text) && s.text[s.pos] == '(' {
		return s.group(depth, name)
	}
	return s.value(name)
}

func isFieldByte(c byte) bool {
	return c == '_' || c == '.' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// value is what a field is compared with.
func (s *search) value(field string) (tenant.Condition, error) {
	if s.pos < len(s.text) && (s.text[s.pos] == '[' || s.text[s.pos] == '{') {
		return s.span(field)
	}
	for _, op := range []struct{ sign, name string }{{">=", "gte"}, {"<=", "lte"}, {">", "gt"}, {"<", "lt"}} {
		if strings.HasPrefix(s.text[s.pos:], op.sign) {
			s.pos += len(op.sign)
			v, _, err := s.literal()
			if err != nil {
				return tenant.Condition{}, err
			}
			return s.leaf(op.name, field, v)
		}
	}
	v, quoted, err := s.literal()
	if err != nil {
		return tenant.Condition{}, err
	}
	if quoted || !strings.Contains(v, "*") {
		return s.leaf("eq", field, v)
	}
	return s.wildcard(field, v)
}

func (s *search) wildcard(field, v string) (tenant.Condition, error) {
	inner := strings.Trim(v, "*")
	if v == "*" {
		return tenant.Condition{Op: "exists", Field: field}, nil
	}
	if strings.Contains(inner, "*") {
		return tenant.Condition{}, s.bad("a wildcard may stand at the beginning and at the end")
	}
	op := "contains"
	switch {
	case !strings.HasPrefix(v, "*"):
		op = "prefix"
	case !strings.HasSuffix(v, "*"):
		op = "suffix"
	}
	if op != "prefix" && len(inner) < 3 {
		return tenant.Condition{}, s.bad("a leading wildcard needs three characters after it")
	}
	if k, _ := s.fields(field); k != tenant.FieldText && k != tenant.FieldFold {
		return tenant.Condition{}, s.bad("the field %s has no wildcards", field)
	}
	return tenant.Condition{Op: op, Field: field, Value: inner}, nil
}

// span is [a TO b], with { } for open ends and * for no bound.
func (s *search) span(field string) (tenant.Condition, error) {
	low := "gte"
	if s.text[s.pos] == '{' {
		low = "gt"
	}
	s.pos++
	s.space()
	from, _, err := s.literal()
	if err != nil {
		return tenant.Condition{}, err
	}
	s.space()
	if !s.word("TO") {
		return tenant.Condition{}, s.bad("a range is written [a TO b]")
	}
	to, _, err := s.literal()
	if err != nil {
		return tenant.Condition{}, err
	}
	s.space()
	high := "lte"
	switch {
	case s.char(']'):
	case s.char('}'):
		high = "lt"
	default:
		return tenant.Condition{}, s.bad("a range is not closed")
	}
	var nodes []tenant.Condition
	for _, b := range []struct{ op, v string }{{low, from}, {high, to}} {
		if b.v == "*" {
			continue
		}
		c, err := s.leaf(b.op, field, b.v)
		if err != nil {
			return c, err
		}
		nodes = append(nodes, c)
	}
	switch len(nodes) {
	case 0:
		return tenant.Condition{Op: "exists", Field: field}, nil
	case 1:
		return nodes[0], nil
	}
	return tenant.Condition{Op: "and", Nodes: nodes}, nil
}

// leaf checks that the value has the type of the field.
func (s *search) leaf(op, field, v string) (tenant.Condition, error) {
	k, _ := s.fields(field)
	valid := true
	switch k {
	case tenant.FieldNumber:
		_, err := strconv.ParseInt(v, 10, 64)
		valid = err == nil
	case tenant.FieldBool:
		valid = op == "eq" && (v == "true" || v == "false")
	case tenant.FieldTime:
		valid = isInstant(v)
	}
	if !valid {
		return tenant.Condition{}, s.bad("the field %s cannot be compared with %s", field, oauth.Quote(v))
	}
	return tenant.Condition{Op: op, Field: field, Value: v}, nil
}

func isInstant(v string) bool {
	if _, err := time.Parse(time.RFC3339, v); err == nil {
		return true
	}
	if _, err := time.Parse(time.DateOnly, v); err == nil {
		return true
	}
	_, err := strconv.ParseInt(v, 10, 64)
	return err == nil
}

// anywhere looks for a bare term in the fields that have it.
func (s *search) anywhere() (tenant.Condition, error) {
	start := s.pos
	nodes := make([]tenant.Condition, 0, len(s.bare))
	for _, field := range s.bare {
		s.pos = start
		c, err := s.value(field)
		if err != nil {
			return c, err
		}
		nodes = append(nodes, c)
	}
	return tenant.Condition{Op: "or", Nodes: nodes}, nil
}

// literal is a quoted phrase or a run of characters; \ takes the next as it is.
func (s *search) literal() (text string, quoted bool, err error) {
	var b strings.Builder
	quoted = s.char('"')
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == '\\' && s.pos+1 < len(s.text) {
			b.WriteByte(s.text[s.pos+1])
			s.pos += 2
			continue
		}
		if quoted && c == '"' {
			s.pos++
			return b.String(), true, nil
		}
		if !quoted && strings.IndexByte(" \t()[]{}\"", c) >= 0 {
			break
		}
		b.WriteByte(c)
		s.pos++
	}
	if quoted {
		return "", true, s.bad("a quotation mark is not closed")
	}
	if b.Len() == 0 {
		return "", false, s.bad("a value is missing at position %d", s.pos)
	}
	return b.String(), false, nil
}
