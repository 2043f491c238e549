package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// runner runs statements, in PostgreSQL's spelling, on either engine. A unique
// value that is taken is tenant.ErrExists.
type runner interface {
	// exec tells how many rows it changed.
	exec(ctx context.Context, statement string, args ...any) (int64, error)
	query(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
	// queryOnce is query for a statement that is put together for this call
	// alone: it is not kept prepared.
	queryOnce(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
}

// Tx is one write. Its context is the writer's, not the caller's: a caller that
// goes away must not undo what others share the transaction for.
type Tx struct {
	ctx context.Context
	run runner
	// tenantID is whose write this is; the events are that tenant's.
	tenantID string
	// now is the store's clock as the write began.
	now time.Time
	// events are written with the commit, together.
	events []tenant.Event
	// numbered: followers of the tenant's notices are woken after the commit.
	numbered bool
	// reconfigured: the write changed configuration, or took a tenant away; what is
	// cached by generation is read again.
	reconfigured bool
}

func (tx *Tx) exec(statement string, args ...any) (int64, error) {
	return tx.run.exec(tx.ctx, statement, args...)
}

func (tx *Tx) query(statement string, args ...any) (*sql.Rows, error) {
	return tx.run.query(tx.ctx, statement, args...)
}

// must is exec of a conditional write: no row is tenant.ErrConflict.
func (tx *Tx) must(statement string, args ...any) error {
	n, err := tx.exec(statement, args...)
	if err == nil && n == 0 {
		return tenant.ErrConflict
	}
	return err
}

// appendEvent puts e into this commit (D13). An event without a type is none.
func (tx *Tx) appendEvent(e tenant.Event) {
	if e.Type == "" {
		return
	}
	e.TenantID = tx.tenantID
	tx.events = append(tx.events, e)
}

// scanner is a row being read.
type scanner interface{ Scan(dest ...any) error }

// one reads the only row; none is tenant.ErrNotFound.
func one[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) (T, error) {
	var zero T
	items, err := all(rows, err, scan)
	if err != nil {
		return zero, err
	}
	if len(items) == 0 {
		return zero, tenant.ErrNotFound
	}
	return items[0], nil
}

// all reads every row.
func all[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var items []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return items, nil
}

// scanOne reads one column.
func scanOne[T any](row scanner) (T, error) {
	var v T
	err := row.Scan(&v)
	return v, err
}

// millis is an instant as it is stored: Unix milliseconds, NULL for "has not
// happened".
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// instant reads what millis wrote.
type instant struct{ t *time.Time }

// Scan implements sql.Scanner.
func (i instant) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*i.t = time.Time{}
	case int64:
		*i.t = time.UnixMilli(v).UTC()
	default:
		return fmt.Errorf("instant stored as %T", src)
	}
	return nil
}

// bit is a boolean as it is stored.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// flag reads what bit wrote.
type flag struct{ b *bool }

// Scan implements sql.Scanner.
func (f flag) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("boolean stored as %T", src)
	}
	*f.b = v != 0
	return nil
}

// jsonText is v as it is stored. The nouns hold nothing that has no JSON form
// but what a caller's raw member holds; such an error is found by the read.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T has no JSON form: %v", v, err))
	}
	return string(b)
}

// jsonOf reads what jsonText wrote into v.
type jsonOf struct{ v any }

// Scan implements sql.Scanner. Damage is an error and never an empty value
// (REL-31).
func (j jsonOf) Scan(src any) error {
	text, err := textOf(src)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), j.v)
}

// raw is a raw JSON member as it is stored: empty for none.
func raw(m json.RawMessage) string { return string(m) }

// rawOf reads what raw wrote.
type rawOf struct{ m *json.RawMessage }

// Scan implements sql.Scanner.
func (r rawOf) Scan(src any) error {
	text, err := textOf(src)
	if err != nil {
		return err
	}
	*r.m = nil
	if text != "" {
		*r.m = json.RawMessage(text)
	}
	return nil
}

func textOf(src any) (string, error) {
	switch v := src.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("text stored as %T", src)
}

// document is what is stored of a configuration noun: the document it came
// with, or the JSON form of its struct when it has none.
func document(noun any, doc json.RawMessage) (string, error) {
	if len(doc) > 0 {
		if !json.Valid(doc) {
			return "", errors.New("document is not JSON")
		}
		return string(doc), nil
	}
	b, err := json.Marshal(noun)
	return string(b), err
}

// withMember is a document with one member replaced in its place, or appended:
// what only the document knows, and its order, stay.
func withMember(doc json.RawMessage, name string, value any) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "", errors.New("document is not a JSON object")
	}
	var out bytes.Buffer
	write := func(name, value string) {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(jsonText(name) + ":" + value)
	}
	found := false
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return "", err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return "", err
		}
		if t == name {
			found, v = true, json.RawMessage(jsonText(value))
		}
		write(t.(string), string(v))
	}
	if !found {
		write(name, jsonText(value))
	}
	return "{" + out.String() + "}", nil
}
