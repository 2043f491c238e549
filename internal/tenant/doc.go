// Package tenant holds the nouns of Bulla and the rules each carries alone:
// who the tenant is, its clients, resource servers, users, sessions, consents,
// refresh-token families, codes, keys and events.
//
// It does no I/O, reads no clock and knows neither HTTP nor SQL. What outlives a
// request lives here, and so do the values that two packages hand each other.
//
// Configuration nouns (Client, ResourceServer, ClientGrant, Connection, Settings)
// are kept as one JSON document each, whose member names are the vendor's. The
// struct is the part the server acts on; Document is the whole, members that we
// only keep and give back included (ADR 0003).
package tenant

import "errors"

var (
	// ErrNotFound is the store's fact that there is no such row in this tenant.
	ErrNotFound = errors.New("not found")
	// ErrConflict is the store's fact that a row is not as it was judged: read
	// again and judge anew (style.md, "The path of a request").
	ErrConflict = errors.New("changed meanwhile")
	// ErrExists is the store's fact that a unique value is taken.
	ErrExists = errors.New("already exists")
	// ErrLimited is the store's fact that somebody has tried too often.
	ErrLimited = errors.New("tried too often")
	// ErrStale is the store's fact that a paging position is not one it gave out
	// for this list.
	ErrStale = errors.New("unknown paging position")
	// ErrQuery is the store's fact that a search names a field or holds a value
	// it cannot search by.
	ErrQuery = errors.New("unusable search")
	// ErrUnknownOutcome is the store's fact that a write may have happened or may
	// not: it must not be repeated, is answered as a fault (503), and what became
	// of it is read from the row (a rotation's by its attempt).
	ErrUnknownOutcome = errors.New("outcome of the write is unknown")
)
