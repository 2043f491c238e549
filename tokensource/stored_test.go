package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenIsReusedUntilShortlyBeforeItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		s := machine(t, f.config())
		tok := want(t, s, "access-1")
		if got := time.Until(tok.ExpiresAt); got != time.Hour {
			t.Errorf("expires in %v, want an hour", got)
		}
		if strings.Join(tok.Scopes, " ") != "read:messages" {
			t.Errorf("Scopes = %v, want those asked for", tok.Scopes)
		}
		time.Sleep(59*time.Minute - 1)
		want(t, s, "access-1")
		wantRequests(t, f, 1)
		time.Sleep(20*time.Second + 1) // the jitter moves the minute by a third at most
		want(t, s, "access-2")
		wantRequests(t, f, 2)
		form := f.requests[1]
		for name, value := range map[string]string{
			"grant_type": "client_credentials", "client_id": "client", "client_secret": "s3cret-of-client",
			"audience": "https://api.example/", "scope": "read:messages",
		} {
			if form.Get(name) != value {
				t.Errorf("%s = %q, want %q", name, form.Get(name), value)
			}
		}
	})
}

func TestEarlyRefreshIsSpread(t *testing.T) {
	t.Parallel()
	c := Config{EarlyRefresh: time.Minute}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	seen := map[time.Time]bool{}
	for range 50 {
		r := c.refreshAt(Token{IssuedAt: at, ExpiresAt: at.Add(time.Hour)})
		seen[r] = true
		if early := at.Add(time.Hour).Sub(r); early > time.Minute || early < 40*time.Second {
			t.Fatalf("refreshed %v early, want 40 to 60 s", early)
		}
	}
	if len(seen) < 2 {
		t.Error("a fleet would ask in step")
	}
	if r := c.refreshAt(Token{IssuedAt: at, ExpiresAt: at.Add(40 * time.Second)}); r.Before(at.Add(30 * time.Second)) {
		t.Errorf("a token of 40 s is refreshed after %v, want at least three quarters", r.Sub(at))
	}
}

// SEC-244: one request upstream for any number of callers, and a caller who
// gives up ends it for nobody else.
func TestSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		f.delay = 3 * time.Second
		s := machine(t, f.config())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gaveUp := make(chan error, 1)
		go func() { _, err := s.Token(ctx); gaveUp <- err }()
		synctest.Wait() // the one who will give up is the one who began
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { want(t, s, "access-1") })
		}
		if err := <-gaveUp; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gave up: %v, want DeadlineExceeded", err)
		}
		wg.Wait()
		wantRequests(t, f, 1)
	})
}

// SEC-244: the flight is one per key for all sources on one store, which a
// server that makes a source per request depends on.
func TestSingleFlightThroughTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		f.delay = time.Second
		c := f.config()
		c.Store = new(MemoryStore)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { want(t, user(t, c, "ann", "refresh-0"), "access-1-by-refresh-0") })
		}
		wg.Wait()
		wantRequests(t, f, 1)
		if n := len(c.Store.(*MemoryStore).held); n != 0 {
			t.Errorf("%d locks left behind, want none", n)
		}
	})
}

// SEC-243: 1,000 users at once, each gets tokens of its own and no others.
func TestUsersAreKeptApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const users = 1000
		tokens := make([]string, users)
		for i := range tokens {
			tokens[i] = fmt.Sprintf("rt-of-%d", i)
		}
		f := newFakeIssuer(tokens...)
		f.delay = time.Second
		c := f.config()
		c.Store = new(MemoryStore)
		f.then(nil, status(503, ""), nil) // with retries among them
		var wg sync.WaitGroup
		for i := range users {
			s := user(t, c, fmt.Sprint(i), tokens[i])
			for range 2 {
				wg.Go(func() {
					tok, err := s.Token(context.Background())
					if err != nil || !strings.HasSuffix(tok.AccessToken.Reveal(), "-by-"+tokens[i]) {
						t.Errorf("user %d got %q, %v", i, tok.AccessToken.Reveal(), err)
					}
				})
			}
		}
		wg.Wait()
		wantRequests(t, f, users+3)
	})
}

func TestKeyTellsEverythingApart(t *testing.T) {
	t.Parallel()
	base := Config{Issuer: "https://a/", ClientID: "c", Audience: "x", Scopes: []string{"a", "b"}}
	with := func(change func(*Config)) Key { c := base; change(&c); return c.key("u") }
	same := with(func(c *Config) { c.Scopes = []string{"b a", "a"} })
	if same != base.key("u") {
		t.Error("the order of scopes makes another key")
	}
	keys := []Key{
		base.key("u"), base.key("v"), base.key(""),
		with(func(c *Config) { c.Issuer = "https://b/" }),
		with(func(c *Config) { c.ClientID = "d" }),
		with(func(c *Config) { c.Audience = "y" }),
		with(func(c *Config) { c.Scopes = []string{"a"} }),
		with(func(c *Config) { c.Audience, c.Scopes = `x" "a`, []string{"b"} }),
	}
	seen, texts := map[Key]bool{}, map[string]bool{}
	for _, k := range keys {
		seen[k], texts[k.String()] = true, true
	}
	if len(seen) != len(keys) || len(texts) != len(keys) {
		t.Errorf("%d keys and %d texts of %d", len(seen), len(texts), len(keys))
	}
}

func TestRefreshTokenRotates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		c := f.config()
		c.Store = new(MemoryStore)
		s := user(t, c, "ann", "refresh-0")
		want(t, s, "access-1-by-refresh-0")
		time.Sleep(time.Hour)
		want(t, s, "access-2-by-refresh-1")
		// Another source, as after a restart, with the refresh token of long
		// ago: the store's counts.
		time.Sleep(time.Hour)
		want(t, user(t, c, "ann", "refresh-0"), "access-3-by-refresh-2")
		wantRequests(t, f, 3)
	})
}

// An entry that was deleted, as when the user signs out, does not bring back
// the refresh token from before: to present it would be reuse.
func TestSpentInitialTokenStaysSpent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		c := f.config()
		c.Store = new(MemoryStore)
		s := user(t, c, "ann", "refresh-0")
		want(t, s, "access-1-by-refresh-0")
		if err := c.Store.Delete(t.Context(), c.key("ann")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := s.Token(t.Context()); !errors.Is(err, ErrLoginRequired) {
			t.Errorf("Token = %v, want ErrLoginRequired", err)
		}
		wantRequests(t, f, 1)
	})
}

// A caller that saw no token, and comes when the request is over, takes its
// result (SEC-244).
func TestLateCallerTakesTheResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		s := machine(t, f.config())
		want(t, s, "access-1")
		tok, err := s.begin(t.Context(), nil, time.Now()).wait(t.Context())
		if err != nil || tok.AccessToken.Reveal() != "access-1" {
			t.Errorf("late: %q, %v; want access-1", tok.AccessToken.Reveal(), err)
		}
		wantRequests(t, f, 1)
	})
}

func TestRefreshTokenWithoutRotationStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		s := user(t, f.config(), "ann", "reusable")
		f.then(status(200, `{"access_token":"a","expires_in":60}`), status(200, `{"access_token":"b","expires_in":"60","scope":"x y"}`))
		want(t, s, "a")
		time.Sleep(time.Minute)
		tok := want(t, s, "b")
		if strings.Join(tok.Scopes, " ") != "x y" || tok.ExpiresAt.Sub(tok.IssuedAt) != time.Minute {
			t.Errorf("%v until %v, want x y for a minute", tok.Scopes, tok.ExpiresAt)
		}
		if got := f.requests[1].Get("refresh_token"); got != "reusable" {
			t.Errorf("presented %q, want the same again", got)
		}
	})
}

// diary is a store that writes down what happens and fails when told.
type diary struct {
	MemoryStore
	mu    sync.Mutex
	lines []string
	fail  int // the next so many Saves
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) Save(ctx context.Context, key Key, e Entry) error {
	d.mu.Lock()
	failing := d.fail > 0
	if failing {
		d.fail--
	}
	d.mu.Unlock()
	if failing {
		d.write("save failed")
		return errors.New("disk full")
	}
	d.write("saved " + e.RefreshToken.Reveal())
	return d.MemoryStore.Save(ctx, key, e)
}

func (d *diary) Delete(ctx context.Context, key Key) error {
	d.write("deleted")
	return d.MemoryStore.Delete(ctx, key)
}

// SEC-245: the new refresh token is stored before the access token is handed
// out; a store that cannot take it costs no refresh token either.
func TestRefreshTokenIsStoredFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		c := f.config()
		d := new(diary)
		c.Store = d
		s := user(t, c, "ann", "refresh-0")
		d.fail = 2
		for range 2 {
			if tok, err := s.Token(t.Context()); err == nil || !tok.AccessToken.IsZero() {
				t.Errorf("Token = %q before its refresh token was stored", tok.AccessToken.Reveal())
			}
		}
		wantRequests(t, f, 1)
		want(t, s, "access-1-by-refresh-0")
		wantRequests(t, f, 1) // the answer that was kept, not another request
		if got := strings.Join(d.lines, ", "); got != "save failed, save failed, saved refresh-1" {
			t.Errorf("the store saw %s", got)
		}
		time.Sleep(time.Hour)
		want(t, s, "access-2-by-refresh-1")
	})
}

// SEC-246: nothing but the issuer's invalid_grant drops a refresh token. After
// each of these the same one is presented again and works.
func TestOnlyInvalidGrantDropsTheRefreshToken(t *testing.T) {
	t.Parallel()
	faults := map[string]func() *http.Response{
		"connection reset":          nil,
		"500":                       status(500, ""),
		"500 that says so":          status(500, `{"error":"invalid_grant"}`),
		"502 page":                  status(502, "<html>bad gateway"),
		"503":                       status(503, `{"error":"temporarily_unavailable"}`),
		"429":                       status(429, `{"error":"too_many_requests"}`),
		"429 that says so":          status(429, `{"error":"invalid_grant"}`),
		"400 invalid_request":       status(400, `{"error":"invalid_request"}`),
		"401 invalid_client":        status(401, `{"error":"invalid_client"}`),
		"403 access_denied":         status(403, `{"error":"access_denied"}`),
		"403 page":                  status(403, "<html>firewall"),
		"404":                       status(404, ""),
		"redirect":                  status(302, "", "Location", "https://evil.example/"),
		"200 page":                  status(200, "<html>captive portal"),
		"200 cut short":             status(200, `{"access_token":"a","refresh_tok`),
		"200 without token":         status(200, `{}`),
		"200 with an error instead": status(200, `{"error":"invalid_grant"}`),
		"200 too long":              status(200, `{"access_token":"`+strings.Repeat("a", maxAnswer)+`"}`),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakeIssuer("refresh-0")
				c := f.config()
				d := new(diary)
				c.Store = d
				s := user(t, c, "ann", "refresh-0")
				for range 50 { // more than the patience allows
					f.then(fault)
				}
				if _, err := s.Token(t.Context()); err == nil || errors.Is(err, ErrLoginRequired) {
					t.Errorf("Token = %v, want an error that does not ask for a sign-in", err)
				}
				f.mu.Lock()
				f.next = nil
				f.mu.Unlock()
				time.Sleep(time.Minute)
				if _, err := s.Token(t.Context()); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				for _, r := range f.requests {
					if got := r.Get("refresh_token"); got != "refresh-0" {
						t.Errorf("presented %q, want refresh-0 throughout", got)
					}
				}
				if got := fmt.Sprint(d.lines[0]); got == "deleted" {
					t.Error("the entry was deleted")
				}
			})
		})
	}

	for _, code := range []int{400, 401, 403} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeIssuer()
			c := f.config()
			d := new(diary)
			c.Store = d
			s := user(t, c, "ann", "dead")
			f.then(status(code, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`))
			_, err := s.Token(t.Context())
			answer, ok := errors.AsType[*Error](err)
			if !errors.Is(err, ErrLoginRequired) || !ok || answer.Code != "invalid_grant" {
				t.Errorf("%d: %v, want ErrLoginRequired and the answer", code, err)
			}
			if _, err := s.Token(t.Context()); !errors.Is(err, ErrLoginRequired) {
				t.Errorf("asked again: %v, want ErrLoginRequired", err)
			}
			wantRequests(t, f, 1) // a dead token is not presented again
			if got := strings.Join(d.lines, ", "); got != "deleted" {
				t.Errorf("the store saw %s, want deleted", got)
			}
			f.live["fresh"] = true
			if err := s.Replace(t.Context(), NewSecret("fresh")); err != nil {
				t.Fatal(err)
			}
			want(t, s, "access-2-by-fresh")
		})
	}
}

// SEC-245: after an answer that was lost, the same refresh token is presented
// again, soon enough for the issuer's leeway.
func TestLostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer("refresh-0")
		f.then(nil, nil)
		start := time.Now()
		want(t, user(t, f.config(), "ann", "refresh-0"), "access-3-by-refresh-0")
		wantRequests(t, f, 3)
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v, want less than a second", took)
		}
	})
}

// SEC-245: Retry-After is honoured, in the request and by those after it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	t.Run("short: waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeIssuer()
			f.then(status(503, "", "Retry-After", "4"))
			start := time.Now()
			want(t, machine(t, f.config()), "access-2")
			if took := time.Since(start); took != 4*time.Second {
				t.Errorf("took %v, want 4s", took)
			}
		})
	})
	t.Run("long: told at once, and nobody asks before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeIssuer()
			s := machine(t, f.config())
			at := time.Now().Add(2 * time.Minute).UTC().Format(http.TimeFormat)
			f.then(status(429, "", "Retry-After", at))
			for range 3 {
				_, err := s.Token(t.Context())
				if answer, ok := errors.AsType[*Error](err); !ok || answer.RetryAfter != 2*time.Minute {
					t.Errorf("Token = %v, want 429 with two minutes", err)
				}
			}
			wantRequests(t, f, 1)
			time.Sleep(2 * time.Minute)
			want(t, s, "access-2")
		})
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		for range 100 {
			f.then(status(500, ""))
		}
		start := time.Now()
		_, err := machine(t, f.config()).Token(t.Context())
		if took := time.Since(start); err == nil || took > defaultPatience || f.count() < 4 || f.count() > 12 {
			t.Errorf("%v after %v and %d requests, want an error within %v and a few", err, took, f.count(), defaultPatience)
		}
	})
}

func TestGoodTokenServesWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		s := machine(t, f.config())
		want(t, s, "access-1")
		for range 200 {
			f.then(status(503, ""))
		}
		time.Sleep(59*time.Minute + 30*time.Second)
		start := time.Now()
		want(t, s, "access-1")
		if took := time.Since(start); took > earlyWait {
			t.Errorf("held up for %v, want at most %v", took, earlyWait)
		}
		time.Sleep(30 * time.Second)
		if tok, err := s.Token(t.Context()); err == nil {
			t.Errorf("Token = %q after it expired", tok.AccessToken.Reveal())
		}
		synctest.Wait()
	})
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeIssuer()
		c := f.config()
		c.Store = new(MemoryStore)
		s := machine(t, c)
		first := want(t, s, "access-1")
		s.Invalidate(first)
		want(t, s, "access-2")
		s.Invalidate(first) // late: says nothing of the second
		want(t, s, "access-2")
		wantRequests(t, f, 2)
		other := machine(t, c) // the store holds the second as well
		want(t, other, "access-2")
	})
}
