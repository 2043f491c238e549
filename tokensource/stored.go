package tokensource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// earlyWait is how long a caller waits for the next token while the one it
// could have is still good.
const earlyWait = 2 * time.Second

// Stored is a Source whose token lives in a Store. Make it with
// ClientCredentials or RefreshToken.
type Stored struct {
	endpoint *endpoint
	key      Key
	refresh  bool   // by refresh token, else client credentials
	initial  Secret // the refresh token to begin with
	current  atomic.Pointer[held]

	mu     sync.Mutex
	flight *flight
	// unsaved is an answer whose refresh token the store has not taken yet.
	// Like initial it is only touched under the store's lock of the key.
	unsaved *answer
}

// answer is what the issuer answered to the refresh token of before.
type answer struct {
	entry  Entry
	before Secret
}

// held is a token at hand, and when to replace it.
type held struct {
	token     Token
	refreshAt time.Time
	rejected  bool // by Invalidate
}

// flight is one request for a token, and all who wait for it.
type flight struct {
	done  chan struct{}
	token Token // after done
	err   error // after done
}

// ClientCredentials returns a source of a client's own tokens (RFC 6749 §4.4).
func ClientCredentials(c Config) (*Stored, error) {
	return newStored(c, "", Secret{}, false)
}

// RefreshToken returns a source of a user's tokens by refresh token (RFC 6749
// §6). The user is any name that is the user's alone, such as sub. The store's
// refresh token counts if it has one, and initial, fresh from a sign-in, if
// not; after another sign-in, call Replace.
//
// Token returns ErrLoginRequired when there is none, or when the issuer
// refused it with invalid_grant. No other failure drops it (SEC-246).
func RefreshToken(c Config, user string, initial Secret) (*Stored, error) {
	if user == "" {
		return nil, errors.New("tokensource: RefreshToken needs the user's name")
	}
	return newStored(c, user, initial, true)
}

func newStored(c Config, user string, initial Secret, refresh bool) (*Stored, error) {
	e, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &Stored{endpoint: e, key: c.key(user), refresh: refresh, initial: initial}, nil
}

// Users makes the sources of many users under one Config, which share its
// store, what discovery said, and the issuer's wish to be left alone for a
// while. A server keeps one and asks it in each request.
type Users struct{ endpoint *endpoint }

// NewUsers returns the sources of all users under c.
func NewUsers(c Config) (*Users, error) {
	e, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &Users{endpoint: e}, nil
}

// Source returns the source of one user's tokens, as RefreshToken does. It makes
// no request and costs little.
func (u *Users) Source(user string, initial Secret) (*Stored, error) {
	if user == "" {
		return nil, errors.New("tokensource: Source needs the user's name")
	}
	return &Stored{endpoint: u.endpoint, key: u.endpoint.config.key(user), refresh: true, initial: initial}, nil
}

// Token returns the stored token, or a new one if that is about to expire.
// Callers that come while a request is under way wait for it; one that gives
// up does not end it for the others (SEC-244). While the old token is good, a
// failure to replace it is not an error.
func (s *Stored) Token(ctx context.Context) (Token, error) {
	now := s.endpoint.config.Now()
	h := s.current.Load()
	if h != nil && !h.rejected && now.Before(h.refreshAt) {
		return h.token, nil
	}
	f := s.begin(ctx, h, now)
	if h != nil && !h.rejected && now.Before(h.token.ExpiresAt) {
		wait, cancel := context.WithTimeout(ctx, earlyWait)
		defer cancel()
		if t, err := f.wait(wait); err == nil || errors.Is(err, ErrLoginRequired) {
			return t, err
		}
		return h.token, nil
	}
	return f.wait(ctx)
}

// Format implements fmt.Formatter: whose tokens these are, never what they are.
func (s *Stored) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "tokensource of "+s.key.String())
}

// LogValue implements slog.LogValuer.
func (s *Stored) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Invalidate says that an API refused the token, as after a revocation: it is
// not returned again.
func (s *Stored) Invalidate(t Token) {
	for {
		h := s.current.Load()
		if h != nil && h.token.AccessToken.Reveal() != t.AccessToken.Reveal() {
			return
		}
		if s.current.CompareAndSwap(h, &held{token: t, rejected: true}) {
			return
		}
	}
}

// Replace stores the refresh token of a new sign-in, and forgets the tokens of
// the one before.
func (s *Stored) Replace(ctx context.Context, refreshToken Secret) error {
	store := s.endpoint.config.Store
	unlock, err := store.Lock(ctx, s.key)
	if err != nil {
		return fmt.Errorf("tokensource: lock: %w", err)
	}
	defer unlock()
	if err := store.Save(ctx, s.key, Entry{RefreshToken: refreshToken}); err != nil {
		return fmt.Errorf("tokensource: save: %w", err)
	}
	s.unsaved = nil
	s.initial = Secret{}
	s.current.Store(nil)
	return nil
}

// Forget removes the tokens from the store and from memory, as when the user
// signs out. It does not tell the issuer.
func (s *Stored) Forget(ctx context.Context) error {
	store := s.endpoint.config.Store
	unlock, err := store.Lock(ctx, s.key)
	if err != nil {
		return fmt.Errorf("tokensource: lock: %w", err)
	}
	defer unlock()
	s.unsaved = nil
	s.initial = Secret{}
	s.current.Store(nil)
	if err := store.Delete(ctx, s.key); err != nil {
		return fmt.Errorf("tokensource: delete: %w", err)
	}
	return nil
}

// begin returns the request to wait for: the one under way, one that ended
// since seen was read, or a new one.
func (s *Stored) begin(ctx context.Context, seen *held, now time.Time) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	if h := s.current.Load(); h != nil && h != seen && !h.rejected && now.Before(h.token.ExpiresAt) {
		f.token = h.token
		close(f.done)
		return f
	}
	s.flight = f
	// The values of the first caller's context (a trace) go along, its end does not.
	go s.run(context.WithoutCancel(ctx), f)
	return f
}

func (s *Stored) run(ctx context.Context, f *flight) {
	c := &s.endpoint.config
	ctx, cancel := context.WithTimeout(ctx, c.Patience+2*attemptTimeout)
	defer cancel()
	f.token, f.err = s.locked(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	close(f.done)
}

func (f *flight) wait(ctx context.Context) (Token, error) {
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("tokensource: %w", context.Cause(ctx))
	}
}

// locked holds the key's lock from the reading of the store to the writing, so
// that what was read is what is replaced.
func (s *Stored) locked(ctx context.Context) (Token, error) {
	c := &s.endpoint.config
	unlock, err := c.Store.Lock(ctx, s.key)
	if err != nil {
		return Token{}, fmt.Errorf("tokensource: lock: %w", err)
	}
	defer unlock()
	token, err := s.obtain(ctx)
	switch {
	case err == nil:
		s.current.Store(&held{token: token, refreshAt: c.refreshAt(token)})
	case errors.Is(err, ErrLoginRequired):
		s.current.Store(nil)
	}
	return token, err
}

// obtain finds a token in the store, or makes one and puts it there.
func (s *Stored) obtain(ctx context.Context) (Token, error) {
	c := &s.endpoint.config
	stored, err := c.Store.Load(ctx, s.key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Token{}, fmt.Errorf("tokensource: load: %w", err)
	}
	if u := s.unsaved; u != nil {
		if s.follows(u, stored, err) {
			if err := s.save(ctx, *u); err != nil {
				return Token{}, err
			}
			stored = u.entry
		}
		s.unsaved = nil
	}
	if s.good(stored.Token) {
		return stored.Token, nil
	}
	if !s.refresh {
		entry, err := s.endpoint.grant(ctx, s.form("client_credentials"), Secret{})
		if err != nil {
			return Token{}, err
		}
		// A token of the client's own that is not stored costs a request, no more.
		_ = c.Store.Save(ctx, s.key, entry)
		return entry.Token, nil
	}
	return s.renew(ctx, stored)
}

// follows reports whether an answer still belongs into the store. Another
// process may have got the same answer, by the nonce that the store kept, and
// gone on from it; or the user signed out. An old refresh token put over a newer
// one would be presented again, and end the family.
func (s *Stored) follows(u *answer, stored Entry, loaded error) bool {
	if errors.Is(loaded, ErrNotFound) {
		return u.before.equal(s.initial) // it never was in the store
	}
	return stored.RefreshToken.equal(u.before)
}

// renew presents the refresh token. The order is all: the nonce of the attempt
// is stored before the first try, so that whoever comes after a crash repeats
// this rotation instead of beginning another; and the new refresh token is
// safely stored before anybody sees the access token (SEC-245).
func (s *Stored) renew(ctx context.Context, stored Entry) (Token, error) {
	c := &s.endpoint.config
	if stored.RefreshToken.IsZero() {
		stored.RefreshToken = s.initial
	}
	if stored.RefreshToken.IsZero() {
		return Token{}, ErrLoginRequired
	}
	m, err := s.endpoint.metadata(ctx)
	if err != nil {
		return Token{}, err
	}
	switch {
	case !m.attempts:
		stored.Attempt = Secret{} // it would be a header that nobody knows
	case stored.Attempt.IsZero():
		stored.Attempt = newAttempt()
		if err := c.Store.Save(ctx, s.key, stored); err != nil {
			return Token{}, fmt.Errorf("tokensource: save: %w", err)
		}
	}
	form := s.form("refresh_token")
	form.Set("refresh_token", stored.RefreshToken.Reveal())
	entry, err := s.endpoint.grant(ctx, form, stored.Attempt)
	if errors.Is(err, ErrLoginRequired) {
		s.initial = Secret{}
		if gone := c.Store.Delete(ctx, s.key); gone != nil {
			return Token{}, errors.Join(err, fmt.Errorf("tokensource: delete: %w", gone))
		}
		return Token{}, err
	}
	if err != nil {
		return Token{}, err
	}
	if entry.RefreshToken.IsZero() { // RFC 6749 §6: then the old one stays
		entry.RefreshToken = stored.RefreshToken
	}
	if err := s.save(ctx, answer{entry: entry, before: stored.RefreshToken}); err != nil {
		return Token{}, err
	}
	return entry.Token, nil
}

// save stores an answer with a refresh token. If it cannot, the answer is kept
// for the next try: the token before it is spent.
func (s *Stored) save(ctx context.Context, a answer) error {
	s.unsaved = &a
	if err := s.endpoint.config.Store.Save(ctx, s.key, a.entry); err != nil {
		return fmt.Errorf("tokensource: save: %w", err)
	}
	s.unsaved = nil
	s.initial = Secret{} // from now on it is history, and to present it would be reuse
	return nil
}

// good reports whether a token from the store may be handed out.
func (s *Stored) good(t Token) bool {
	if t.AccessToken.IsZero() {
		return false
	}
	if h := s.current.Load(); h != nil && h.token.AccessToken.Reveal() == t.AccessToken.Reveal() {
		return false // the one that was at hand and is to be replaced, or was rejected
	}
	c := &s.endpoint.config
	return c.Now().Before(c.refreshAt(t))
}

func (s *Stored) form(grantType string) url.Values {
	c := &s.endpoint.config
	form := url.Values{}
	for name, values := range c.Extra {
		form[name] = append([]string(nil), values...)
	}
	form.Set("grant_type", grantType)
	if c.Audience != "" {
		form.Set("audience", c.Audience)
	}
	if len(c.Scopes) > 0 {
		form.Set("scope", strings.Join(c.Scopes, " "))
	}
	return form
}
