package store

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// where collects the conditions of a list. Every fragment is a constant of this
// package; whatever a caller chose is a parameter. It begins with the tenant.
type where struct {
	parts []string
	args  []any
}

func newWhere(tenantID string) *where {
	return &where{parts: []string{"tenant_id = $1"}, args: []any{tenantID}}
}

// arg adds a parameter and returns its number as it is written.
func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

func (w *where) add(condition string) { w.parts = append(w.parts, condition) }

// equal adds a condition on a text column unless value is empty.
func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column + " = " + w.arg(value))
	}
}

// in adds a choice of values; none selects nothing away.
func (w *where) in(column string, values []string) {
	if len(values) == 0 {
		return
	}
	numbers := make([]string, len(values))
	for i, v := range values {
		numbers[i] = w.arg(v)
	}
	w.add(column + " IN (" + strings.Join(numbers, ", ") + ")")
}

// is adds a condition on a boolean column unless value is nil.
func (w *where) is(column string, value *bool) {
	if value != nil {
		w.add(column + " = " + w.arg(bit(*value)))
	}
}

func (w *where) String() string { return strings.Join(w.parts, " AND ") }

// listing is how one kind of noun is listed.
type listing[T any] struct {
	columns, table string
	// key are the columns that order the list and name a position in it: an
	// instant in milliseconds and an id, or an id alone.
	key        []string
	descending bool
	// position are the values of key of an item.
	position func(T) []string
	scan     func(scanner) (T, error)
}

// createdThenID orders by age.
func createdThenID(id string) []string { return []string{"created_at", id} }

// age is the position of an item in a list that createdThenID orders.
func age(createdMillis int64, id string) []string {
	return []string{strconv.FormatInt(createdMillis, 10), id}
}

// list reads one page. A position that is not of the form this list gives out
// is tenant.ErrStale; that it was given out for this list is for the caller to
// authenticate (SEC-191).
func list[T any](ctx context.Context, run runner, l listing[T], w *where, p tenant.Page) (tenant.List[T], error) {
	var out tenant.List[T]
	if p.Total && !p.Checkpoint {
		rows, err := run.queryOnce(ctx, "SELECT COUNT(*) FROM "+l.table+" WHERE "+w.String(), w.args...)
		if out.Total, err = one(rows, err, scanOne[int]); err != nil {
			return out, err
		}
	}
	if p.Empty {
		return out, nil
	}
	limit := p.Limit
	if p.Checkpoint {
		if err := w.after(l.key, l.descending, p.After); err != nil {
			return out, err
		}
		if limit > 0 {
			limit++ // one more tells whether there is a next part
		}
	}
	query := "SELECT " + l.columns + " FROM " + l.table + " WHERE " + w.String() + " ORDER BY " + ordering(l.key, l.descending)
	switch {
	case limit > 0:
		query += " LIMIT " + w.arg(limit)
	case p.Offset > 0 && !p.Checkpoint:
		query += " LIMIT " + w.arg(int64(1)<<62)
	}
	if p.Offset > 0 && !p.Checkpoint {
		query += " OFFSET " + w.arg(p.Offset)
	}
	rows, err := run.queryOnce(ctx, query, w.args...)
	if out.Items, err = all(rows, err, l.scan); err != nil {
		return out, err
	}
	if p.Checkpoint && p.Limit > 0 && len(out.Items) > p.Limit {
		out.Items = out.Items[:p.Limit]
		out.Next = strings.Join(l.position(out.Items[p.Limit-1]), ".")
	}
	return out, nil
}

func ordering(key []string, descending bool) string {
	if !descending {
		return strings.Join(key, ", ")
	}
	return strings.Join(key, " DESC, ") + " DESC"
}

// maxPosition bounds a position: an instant and the longest id there is.
const maxPosition = 300

// after adds the condition that an item is beyond position.
func (w *where) after(key []string, descending bool, position string) error {
	if position == "" {
		return nil
	}
	if len(position) > maxPosition || !plainText(position) {
		return tenant.ErrStale
	}
	compare := " > "
	if descending {
		compare = " < "
	}
	if len(key) == 1 {
		w.add(key[0] + compare + w.arg(position))
		return nil
	}
	first, rest, ok := strings.Cut(position, ".")
	ms, err := strconv.ParseInt(first, 10, 64)
	if !ok || err != nil || rest == "" {
		return tenant.ErrStale
	}
	w.add("(" + strings.Join(key, ", ") + ")" + compare + "(" + w.arg(ms) + ", " + w.arg(rest) + ")")
	return nil
}

// plainText tells whether s is text that every engine can hold.
func plainText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
