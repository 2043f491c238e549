package tokensource

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const withAttempts = `{"issuer":"` + testIssuer + `","token_endpoint":"` + testIssuer + `oauth/token","refresh_token_retry_supported":true}`

func (f *fakeIssuer) nonces() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, h := range f.headers {
		all = append(all, h.Get(AttemptHeader))
	}
	return all
}

// The nonce goes where discovery or the configuration says that it is
// understood, and only with refresh tokens.
func TestAttemptIsSentWhereItIsUnderstood(t *testing.T) {
	t.Parallel()
	metadata := func(member string) string {
		return strings.Replace(withAttempts, `,"refresh_token_retry_supported":true`, member, 1)
	}
	tests := map[string]struct {
		metadata string
		change   func(*Config)
		want     bool
	}{
		"announced":                 {withAttempts, nil, true},
		"announced false":           {metadata(`,"refresh_token_retry_supported":false`), nil, false},
		"announced in quotes":       {metadata(`,"refresh_token_retry_supported":"true"`), nil, false},
		"announced with an object":  {metadata(`,"refresh_token_retry_supported":{"a":[]}`), nil, false},
		"not announced":             {metadata(``), nil, false},
		"not announced, configured": {metadata(``), func(c *Config) { c.Attempts = true }, true},
		"token endpoint alone":      {"", func(c *Config) { c.Issuer, c.TokenURL = "", testIssuer+"oauth/token" }, false},
		"token endpoint, configured": {"", func(c *Config) {
			c.Issuer, c.TokenURL, c.Attempts = "", testIssuer+"oauth/token", true
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeIssuer("refresh-0")
			f.metadata = tt.metadata
			c := f.config()
			if tt.change != nil {
				tt.change(&c)
			}
			want(t, user(t, c, "ann", "refresh-0"), "access-1-by-refresh-0")
			want(t, machine(t, c), "access-2")
			nonces := f.nonces()
			if (nonces[0] != "") != tt.want || nonces[1] != "" {
				t.Errorf("sent %q, want one with the refresh token: %v, and never with client credentials", nonces, tt.want)
			}
			if raw, err := base64.RawURLEncoding.DecodeString(nonces[0]); tt.want && (err != nil || len(raw) < 16) {
				t.Errorf("%q: %v, want at least 128 bits of base64url", nonces[0], err)
			}
		})
	}
}

// One nonce a rotation: stored before the first try, the same in every
// repetition, gone when the answer is stored, and another one next time.
func TestAttemptLivesAsLongAsItsRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		f.metadata = withAttempts
		c := f.config()
		store := new(MemoryStore)
		c.Store = store
		key := c.key("ann")
		stored := func() Entry {
			e, err := store.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		for range 100 {
			f.then(nil) // every answer is lost, for longer than the patience
		}
		s := user(t, c, "ann", "refresh-0")
		if _, err := s.Token(t.Context()); err == nil {
			t.Fatal("a token without an answer")
		}
		kept := stored()
		if kept.Attempt.IsZero() || kept.RefreshToken.Reveal() != "refresh-0" {
			t.Fatalf("after the first tries the store has attempt %v of %q", !kept.Attempt.IsZero(), kept.RefreshToken.Reveal())
		}

		// The device sleeps for a week; the program starts anew.
		time.Sleep(7 * 24 * time.Hour)
		f.mu.Lock()
		f.next = nil
		f.mu.Unlock()
		want(t, user(t, c, "ann", ""), "access-"+itoa(f.count()+1)+"-by-refresh-0")
		first := f.nonces()
		for i, nonce := range first {
			if nonce != kept.Attempt.Reveal() {
				t.Errorf("request %d has nonce %q, want the stored one", i, nonce)
			}
		}
		if after := stored(); !after.Attempt.IsZero() {
			t.Error("the nonce outlived its rotation")
		}

		time.Sleep(time.Hour)
		if _, err := user(t, c, "ann", "").Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := f.nonces(); all[len(all)-1] == kept.Attempt.Reveal() || all[len(all)-1] == "" {
			t.Error("the next rotation has the nonce of the one before, or none")
		}
	})
}

// A nonce that could not be stored is not used: the answer might be lost, and
// nobody could ask for it again.
func TestAttemptIsStoredBeforeTheFirstTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		f.metadata = withAttempts
		c := f.config()
		d := new(diary)
		c.Store = d
		d.fail = 1
		s := user(t, c, "ann", "refresh-0")
		if _, err := s.Token(t.Context()); err == nil {
			t.Error("a token, though the nonce was not stored")
		}
		wantRequests(t, f, 0)
		want(t, s, "access-1-by-refresh-0")
		if got := strings.Join(d.lines, ", "); got != "save failed, saved refresh-0, saved refresh-1" {
			t.Errorf("the store saw %s", got)
		}
	})
}

// The store refuses the answer, and meanwhile another process asks for it by
// the same nonce and goes on: the answer that was kept here is old by now, and
// to store it would end the family.
func TestKeptAnswerDoesNotUndoAnothersProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		f.metadata = withAttempts
		c := f.config()
		d := new(diary)
		c.Store = d
		s := user(t, c, "ann", "refresh-0")
		f.onAnswer = func(url.Values) { d.mu.Lock(); d.fail = 1; d.mu.Unlock() } // the nonce is stored, the answer is not
		if _, err := s.Token(t.Context()); err == nil {
			t.Fatal("a token before its refresh token was stored")
		}
		f.onAnswer = nil
		newer := Entry{RefreshToken: NewSecret("refresh-9"), Token: Token{AccessToken: NewSecret("a9"), ExpiresAt: time.Now().Add(time.Hour), IssuedAt: time.Now()}}
		if err := d.Save(t.Context(), c.key("ann"), newer); err != nil {
			t.Fatal(err)
		}
		want(t, s, "a9")
		if e, err := d.Load(t.Context(), c.key("ann")); err != nil || e.RefreshToken.Reveal() != "refresh-9" {
			t.Errorf("the store has %q, %v; want what the other put there", e.RefreshToken.Reveal(), err)
		}
	})
}

// After a sign-out nothing of before is stored or presented.
func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		users, err := NewUsers(f.config())
		if err != nil {
			t.Fatal(err)
		}
		s, err := users.Source("ann", NewSecret("refresh-0"))
		if err != nil {
			t.Fatal(err)
		}
		want(t, s, "access-1-by-refresh-0")
		if err := s.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := users.Source("ann", Secret{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Stored{s, again} {
			if _, err := s.Token(t.Context()); !errors.Is(err, ErrLoginRequired) {
				t.Errorf("Token = %v, want ErrLoginRequired", err)
			}
		}
		wantRequests(t, f, 1)
		if _, err := users.Source("", Secret{}); err == nil {
			t.Error("a source of nobody")
		}
	})
}

// The sources of all users share one discovery, also when they begin at once.
func TestUsersShareDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("rt-0", "rt-1", "rt-2", "rt-3")
		discoveries := 0
		c := f.config()
		c.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				discoveries++ // one at a time, or the race detector speaks
				time.Sleep(time.Second)
			}
			return f.RoundTrip(r)
		})}
		users, err := NewUsers(c)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 4)
		for i := range 4 {
			s, err := users.Source("user-"+itoa(i), NewSecret("rt-"+itoa(i)))
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, err := s.Token(t.Context()); done <- err }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if discoveries != 1 {
			t.Errorf("%d discoveries, want 1", discoveries)
		}
	})
}
