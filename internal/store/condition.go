package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// column is where a searched field is kept. before and after are what a value
// stands between inside the column, for fields that are a part of one.
type column struct{ expr, before, after string }

const (
	// maxSearchDepth and maxSearchNodes bound a search (SEC-225).
	maxSearchDepth = 8
	maxSearchNodes = 64
)

// search adds a parsed search over the allow-list columns; kind tells how a
// field compares. What cannot be searched is tenant.ErrQuery.
func (w *where) search(c *tenant.Condition, columns map[string]column, kind func(string) (tenant.FieldKind, bool)) error {
	if c == nil {
		return nil
	}
	s := search{where: w, columns: columns, kind: kind}
	sql, err := s.node(*c, 0)
	if err == nil {
		w.add(sql)
	}
	return err
}

type search struct {
	where   *where
	columns map[string]column
	kind    func(string) (tenant.FieldKind, bool)
	nodes   int
}

func (s *search) node(c tenant.Condition, depth int) (string, error) {
	if s.nodes++; depth > maxSearchDepth || s.nodes > maxSearchNodes {
		return "", fmt.Errorf("%w: too large", tenant.ErrQuery)
	}
	switch c.Op {
	case "and", "or":
		if len(c.Nodes) == 0 {
			return "", fmt.Errorf("%w: %s of nothing", tenant.ErrQuery, c.Op)
		}
		parts := make([]string, len(c.Nodes))
		for i, n := range c.Nodes {
			var err error
			if parts[i], err = s.node(n, depth+1); err != nil {
				return "", err
			}
		}
		return "(" + strings.Join(parts, map[string]string{"and": " AND ", "or": " OR "}[c.Op]) + ")", nil
	case "not":
		if len(c.Nodes) != 1 {
			return "", fmt.Errorf("%w: not of %d conditions", tenant.ErrQuery, len(c.Nodes))
		}
		inner, err := s.node(c.Nodes[0], depth+1)
		// A comparison with NULL is neither true nor false; here it is false.
		return "(NOT COALESCE(" + inner + ", FALSE))", err
	}
	return s.leaf(c)
}

func (s *search) leaf(c tenant.Condition) (string, error) {
	col, known := s.columns[c.Field]
	kind, named := s.kind(c.Field)
	if !known || !named || !plainText(c.Value) {
		return "", fmt.Errorf("%w: field %q", tenant.ErrQuery, c.Field)
	}
	if kind == tenant.FieldText || kind == tenant.FieldFold {
		return s.text(c, col, kind)
	}
	if c.Op == "exists" {
		return "(" + col.expr + " IS NOT NULL)", nil
	}
	value, ok := numericValue(kind, c.Value)
	op, compares := comparisons[c.Op]
	if !ok || !compares || kind == tenant.FieldBool && c.Op != "eq" {
		return "", fmt.Errorf("%w: value of field %q", tenant.ErrQuery, c.Field)
	}
	return "(" + col.expr + op + s.where.arg(value) + ")", nil
}

var comparisons = map[string]string{"eq": " = ", "gt": " > ", "gte": " >= ", "lt": " < ", "lte": " <= "}

func (s *search) text(c tenant.Condition, col column, kind tenant.FieldKind) (string, error) {
	expr, value := col.expr, c.Value
	if kind == tenant.FieldFold {
		expr, value = "LOWER("+expr+")", strings.ToLower(value)
	}
	like := func(pattern string) string {
		return "(" + expr + " LIKE " + s.where.arg(pattern) + ` ESCAPE '\')`
	}
	v := escapeLike(value)
	// A part of a column begins after before and ends before after; what lies
	// beyond the side that has no mark is the column's own end.
	open, shut := "", ""
	if col.before != "" {
		open = "%" + escapeLike(col.before)
	}
	if col.after != "" {
		shut = escapeLike(col.after) + "%"
	}
	switch c.Op {
	case "exists":
		return "(" + col.expr + " <> '')", nil
	case "eq":
		if open+shut == "" {
			return "(" + expr + " = " + s.where.arg(value) + ")", nil
		}
		return like(open + v + shut), nil
	case "prefix":
		return like(open + v + "%" + shut), nil
	case "suffix":
		return like(open + "%" + v + shut), nil
	case "contains":
		return like(open + "%" + v + "%" + shut), nil
	}
	op, ok := comparisons[c.Op]
	if !ok || open+shut != "" {
		return "", fmt.Errorf("%w: %s on field %q", tenant.ErrQuery, c.Op, c.Field)
	}
	return "(" + expr + op + s.where.arg(value) + ")", nil
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// escapeLike takes the meaning from the pattern characters of a value.
func escapeLike(v string) string { return likeEscaper.Replace(v) }

func numericValue(kind tenant.FieldKind, v string) (int64, bool) {
	switch kind {
	case tenant.FieldBool:
		b, err := strconv.ParseBool(v)
		return bit(b), err == nil
	case tenant.FieldTime:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				return t.UnixMilli(), true
			}
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}
