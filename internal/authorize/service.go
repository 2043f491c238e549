// Package authorize is the front channel: an authorization request becomes a
// login, a consent and at the end a code or tokens for the client.
//
// It promises: what a request asked for lives on the server from the moment it
// was accepted, and a browser can only name it (SEC-32); nothing is sent to an
// address that is not registered (SEC-25); the answer is one commit, and leaves
// after it. It refuses to know HTTP: what the browser brought comes in as a
// Browser, what it shall do goes out as an Outcome.
package authorize

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Options are the parts of a Service; all are required.
type Options struct {
	Store     Store
	Minter    *token.Minter
	Ring      *token.Ring
	Passwords *password.Hasher
	Clock     clock.Clock
	Rand      io.Reader
}

// Service is the front channel of all tenants. It is safe for concurrent use.
type Service struct {
	store     Store
	minter    *token.Minter
	ring      *token.Ring
	passwords *password.Hasher
	clock     clock.Clock
	rand      io.Reader
}

// New joins the parts.
func New(o Options) *Service {
	return &Service{store: o.Store, minter: o.Minter, ring: o.Ring, passwords: o.Passwords, clock: o.Clock, rand: o.Rand}
}

// Lifetimes of what lives between two requests.
const (
	transactionLifetime = 15 * time.Minute // SEC-33
	codeLifetime        = 60 * time.Second // SEC-48
)

// Browser is what a request brought along.
type Browser struct {
	// Session and Binding are the values of our cookies; empty means none.
	Session string
	Binding string
	// Embedded: the answer is not for the address bar but for a frame, an image
	// or a script. The session then serves only prompt=none (security.md §30).
	Embedded bool
	Origin   tenant.Origin
}

// Outcome is what the browser shall do next: take Response to the client, or go
// to Page. Exactly one of them is set.
type Outcome struct {
	Response *Response
	Page     Page
	// State is the value in the page's address.
	State   string
	Cookies Cookies
	// Failure is why the client gets an error that was a fault of ours, for the log.
	Failure error
}

// Page is one of our pages.
type Page int

// The pages a transaction goes through.
const (
	NoPage Page = iota
	LoginPage
	SignupPage
	ConsentPage
	// DevicePage asks whether a device is let in; the others are its ends.
	DevicePage
	DeviceAllowedPage
	DeviceDeniedPage
)

// Cookies are the changes to the browser's cookies; the zero value is none.
type Cookies struct {
	// Session is the new session cookie; SessionLifetime is zero when it shall
	// end with the browser.
	Session         string
	SessionLifetime time.Duration
	// EndSession removes the session cookie.
	EndSession bool
	// Binding is the new transaction cookie.
	Binding string
}

// attempts is how often a request whose write met a conflict is judged anew.
const attempts = 3

// judging runs f, anew with the tenant as it then is while f's write meets a
// conflict, and then answers 503 (style.md, "The path of a request").
func (s *Service) judging(ctx context.Context, t tenant.Tenant, f func(tenant.Tenant) (Outcome, error)) (Outcome, error) {
	for n := 1; ; n++ {
		out, err := f(t)
		if !errors.Is(err, tenant.ErrConflict) {
			return out, err
		}
		if n == attempts {
			return Outcome{}, oauth.Unavailable(err)
		}
		if t, err = s.store.Tenant(ctx, t.ID); err != nil {
			return Outcome{}, fmt.Errorf("read the tenant again: %w", err)
		}
	}
}

// random is a value of 256 bits.
func (s *Service) random() (string, error) {
	v, err := token.Random(s.rand)
	if err != nil {
		return "", fmt.Errorf("draw a random value: %w", err)
	}
	return v, nil
}

// objectID is an id of 24 hex digits.
func (s *Service) objectID() (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// event is an event about a client's request; the caller adds what it knows.
func (s *Service) event(t tenant.Tenant, kind string, c tenant.Client, b Browser, now time.Time) tenant.Event {
	return tenant.Event{
		TenantID: t.ID, At: now, Type: kind, Description: audit.Description(kind),
		ClientID: c.ID, ClientName: c.Name, Origin: b.Origin,
	}
}

// aboutUser names the user in an event.
func aboutUser(e tenant.Event, u tenant.User) tenant.Event {
	e.UserID, e.UserName = u.ID, u.Name
	if u.Email != "" {
		e.UserName = u.Email
	}
	return atConnection(e, u.Connection())
}

func atConnection(e tenant.Event, connection string) tenant.Event {
	e.Connection, e.Strategy, e.StrategyType = connection, tenant.DatabaseStrategy, "database"
	return e
}
