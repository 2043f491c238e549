package scsstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/bulla-auth/bulla/tokensource"
)

// issuer is the outside world: it rotates refresh tokens and knows no leeway.
type issuer struct {
	mu    sync.Mutex
	count map[string]int // requests, by the first part of the refresh token
	fail  bool
}

func (is *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	is.mu.Lock()
	defer is.mu.Unlock()
	name, generation, _ := strings.Cut(r.PostFormValue("refresh_token"), ".")
	if is.fail || generation != fmt.Sprint(is.count[name]) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	is.count[name]++
	n := is.count[name]
	fmt.Fprintf(w, `{"access_token":"at-%s-%d","expires_in":3600,"refresh_token":"%s.%d"}`, name, n, name, n)
}

// app is a web application with sessions; each page answers with the token.
type app struct {
	*httptest.Server
	issuer   *issuer
	sessions *scs.SessionManager
	users    *tokensource.Users
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{issuer: &issuer{count: map[string]int{}}, sessions: scs.New()}
	a.sessions.Store = memstore.NewWithCleanupInterval(0) // no goroutine left behind
	a.sessions.Cookie.Secure = true
	endpoint := httptest.NewTLSServer(a.issuer)
	t.Cleanup(endpoint.Close)
	sealer, err := tokensource.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	store, err := New(a.sessions, sealer)
	if err != nil {
		t.Fatal(err)
	}
	a.users, err = tokensource.NewUsers(tokensource.Config{
		TokenURL: endpoint.URL, ClientID: "web", HTTPClient: endpoint.Client(), Store: store,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/login", a.page(func(r *http.Request, src *tokensource.Stored) (string, error) {
		a.sessions.Put(r.Context(), "user", r.URL.Query().Get("user"))
		return "in", src.Replace(r.Context(), tokensource.NewSecret(r.URL.Query().Get("device")+".0"))
	}))
	mux.HandleFunc("/page", a.page(func(r *http.Request, src *tokensource.Stored) (string, error) {
		tok, err := src.Token(r.Context())
		return tok.AccessToken.Reveal(), err
	}))
	mux.HandleFunc("/logout", a.page(func(r *http.Request, src *tokensource.Stored) (string, error) {
		return "out", errors.Join(src.Forget(r.Context()), a.sessions.Destroy(r.Context()))
	}))
	a.Server = httptest.NewTLSServer(a.sessions.LoadAndSave(mux))
	t.Cleanup(a.Close)
	return a
}

func (a *app) page(f func(*http.Request, *tokensource.Stored) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user := a.sessions.GetString(r.Context(), "user")
		if user == "" {
			user = r.URL.Query().Get("user")
		}
		src, err := a.users.Source(user, tokensource.Secret{})
		var text string
		if err == nil {
			text, err = f(r, src)
		}
		if err != nil {
			text = "error: " + err.Error()
			if errors.Is(err, tokensource.ErrLoginRequired) {
				text = "sign in"
			}
		}
		_, _ = io.WriteString(w, text)
	}
}

// browser is a client with cookies of its own.
func (a *app) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *a.Client()
	c.Jar = jar
	return &c
}

func (a *app) want(t *testing.T, c *http.Client, path, want string) {
	t.Helper()
	resp, err := c.Get(a.URL + path)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != want {
		t.Errorf("%s: %q, %v; want %q", path, body, err, want)
	}
}

// Sessions of one user on two devices have tokens of their own, requests of one
// session share a refresh, and none of them undoes it when it ends.
func TestSessions(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	phone, laptop, stranger := a.browser(t), a.browser(t), a.browser(t)
	a.want(t, phone, "/login?user=ann&device=phone", "in")
	a.want(t, laptop, "/login?user=ann&device=laptop", "in")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { a.want(t, phone, "/page", "at-phone-1") })
		wg.Go(func() { a.want(t, laptop, "/page", "at-laptop-1") })
	}
	wg.Wait()
	a.want(t, phone, "/page", "at-phone-1")
	a.want(t, stranger, "/page?user=ann", "sign in")
	if a.issuer.count["phone"] != 1 || a.issuer.count["laptop"] != 1 {
		t.Errorf("%v requests, want one a session", a.issuer.count)
	}

	records, err := a.sessions.Store.(scs.IterableStore).All()
	if err != nil || len(records) != 4 {
		t.Errorf("%d records, %v; want two sessions and their tokens", len(records), err)
	}
	for name, data := range records {
		if bytes.Contains(data, []byte("phone.")) || bytes.Contains(data, []byte("at-")) || strings.Contains(name, "ann") {
			t.Errorf("record %s is readable", name)
		}
	}
	seen := 0
	if err := a.sessions.Iterate(t.Context(), func(context.Context) error { seen++; return nil }); err != nil || seen != 4 {
		t.Errorf("Iterate: %d, %v; our records must not stop it", seen, err)
	}

	a.want(t, phone, "/logout", "out")
	a.want(t, phone, "/page?user=ann", "sign in")
	a.want(t, laptop, "/page", "at-laptop-1")
	if records, err := a.sessions.Store.(scs.IterableStore).All(); err != nil || len(records) != 2 {
		t.Errorf("%d records after one signed out, %v; want 2", len(records), err)
	}
}

// Another user in the same session, as after a change of accounts, gets none of
// the tokens of the one before (SEC-243).
func TestUsersOfOneSession(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	browser := a.browser(t)
	a.want(t, browser, "/login?user=ann&device=a", "in")
	a.want(t, browser, "/page", "at-a-1")
	a.want(t, browser, "/login?user=bob&device=b", "in") // the page's source is still ann's: it was made before
	a.want(t, browser, "/page", "sign in")
}

// Without a session there is an error, and no panic in a goroutine.
func TestNoSession(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	src, err := a.users.Source("ann", tokensource.NewSecret("x.0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Token(t.Context()); !errors.Is(err, ErrNoSession) {
		t.Errorf("Token = %v, want ErrNoSession", err)
	}
	if err := src.Forget(t.Context()); !errors.Is(err, ErrNoSession) {
		t.Errorf("Forget = %v, want ErrNoSession", err)
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("a store of nothing")
	}
}
