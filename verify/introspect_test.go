package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// endpoint is the outside world: an introspection endpoint that answers as told.
type endpoint struct {
	*httptest.Server
	requests atomic.Int64
	status   atomic.Int64
	body     atomic.Pointer[string]
	held     atomic.Pointer[chan struct{}] // if set, answers wait for it to be closed
	last     atomic.Pointer[http.Request]
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := new(endpoint)
	e.say(200, `{"active":true,"sub":"auth0|7"}`)
	e.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		e.last.Store(r)
		if held := e.held.Load(); held != nil {
			<-*held
		}
		if e.status.Load() == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(int(e.status.Load()))
		fmt.Fprint(w, *e.body.Load())
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) say(status int64, body string) {
	e.status.Store(status)
	e.body.Store(&body)
}

func (e *endpoint) options(t *testing.T, c *clock, in Introspection) Options {
	t.Helper()
	in.URL = e.URL + "/oauth/introspect"
	in.ClientID, in.ClientSecret = "api client", Secret("s3cret")
	return Options{
		Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, key(0, "k0")), HTTPClient: e.Client(), Now: c.Now,
		Introspection: &in,
	}
}

func (e *endpoint) want(t *testing.T, v *Verifier, raw string, want error, requests int64) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw)
	if !errors.Is(err, want) || want == nil && err != nil || e.requests.Load() != requests {
		t.Errorf("Verify = %v after %d requests, want %v after %d", err, e.requests.Load(), want, requests)
	}
	if want == ErrUnavailable && errors.Is(err, ErrInvalidToken) {
		t.Errorf("%v says that the token is bad", err)
	}
}

// RFC 7662 §2.1: what is asked, and that only good tokens are asked about.
func TestIntrospectionRequest(t *testing.T) {
	t.Parallel()
	e, c, k := newEndpoint(t), newClock(), key(0, "k0")
	v := mustNew(t, e.options(t, c, Introspection{}))
	raw := k.token(t, goodClaims(testIssuer))
	e.want(t, v, key(1, "k0").token(t, goodClaims(testIssuer)), ErrSignature, 0)
	e.want(t, v, k.token(t, goodClaims(testIssuer).with(claimSet{"exp": noon.Add(-time.Hour).Unix()})), ErrExpired, 0)
	e.want(t, v, raw, nil, 1)
	r := e.last.Load()
	id, secret, _ := r.BasicAuth()
	if r.Method != "POST" || r.URL.String() != "/oauth/introspect" || id != "api+client" || secret != "s3cret" ||
		r.PostForm.Get("token") != raw || r.PostForm.Get("token_type_hint") != "access_token" || len(r.PostForm) != 2 {
		t.Errorf("%s %s, Basic %q, form of %d", r.Method, r.URL, id, len(r.PostForm))
	}
	o := e.options(t, c, Introspection{})
	o.Introspection.URL = ""
	if v := mustNew(t, o); v.introspection.url != testIssuer+"oauth/introspect" {
		t.Errorf("the endpoint by default is %s", v.introspection.url)
	}
	for name, change := range map[string]func(*Introspection){
		"plain URL (SEC-220)": func(in *Introspection) { in.URL = "http://issuer.example/" },
		"no client":           func(in *Introspection) { in.ClientID = "" },
		"no secret":           func(in *Introspection) { in.ClientSecret = nil },
		"remembered too long": func(in *Introspection) { in.CacheFor = time.Hour },
	} {
		o := e.options(t, c, Introspection{})
		change(o.Introspection)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// An answer is remembered for a short while.
func TestIntrospectionIsRemembered(t *testing.T) {
	t.Parallel()
	e, c, k := newEndpoint(t), newClock(), key(0, "k0")
	v := mustNew(t, e.options(t, c, Introspection{}))
	raw := k.token(t, goodClaims(testIssuer))
	e.want(t, v, raw, nil, 1)
	e.say(200, `{"active":false}`)
	c.Advance(defaultAnswerLife - 1)
	e.want(t, v, raw, nil, 1)
	c.Advance(1)
	e.want(t, v, raw, ErrInactive, 2)
	e.want(t, v, raw, ErrInactive, 2) // a no is remembered too
	e.want(t, v, k.token(t, goodClaims(testIssuer).with(claimSet{"jti": "another"})), ErrInactive, 3)
	if s := v.Stats(); s.Introspected != 3 || s.IntroHits != 2 || s.IntroFailures != 0 {
		t.Errorf("%+v", s)
	}
	none := mustNew(t, e.options(t, c, Introspection{CacheFor: -1}))
	e.want(t, none, raw, ErrInactive, 4)
	e.want(t, none, raw, ErrInactive, 5)
}

// SEC-132: only a plain yes is a yes. What is neither yes nor no is a failure,
// whose meaning the verifier's owner has chosen.
func TestIntrospectionFailures(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	raw := k.token(t, goodClaims(testIssuer))
	for name, tt := range map[string]struct {
		status int64
		body   string
	}{
		"active in quotes": {200, `{"active":"true"}`}, "active 1": {200, `{"active":1}`}, "active null": {200, `{"active":null}`},
		"no active": {200, `{}`}, "active twice": {200, `{"active":false,"active":true}`}, "Active": {200, `{"Active":true}`},
		"a page": {200, `<html>`}, "an array": {200, `[{"active":true}]`}, "too long": {200, `{"a":"` + strings.Repeat("a", maxAnswer) + `","active":true}`},
		"401": {401, `{"active":true}`}, "403": {403, ``}, "404": {404, ``}, "500": {500, `{"active":true}`}, "201": {201, `{"active":true}`},
		"redirect": {302, `{"active":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, c := newEndpoint(t), newClock()
			e.say(tt.status, tt.body)
			closed := mustNew(t, e.options(t, c, Introspection{}))
			e.want(t, closed, raw, ErrUnavailable, 1)
			open := mustNew(t, e.options(t, c, Introspection{OnFailure: FailOpen}))
			e.want(t, open, raw, nil, 2)
		})
	}
	t.Run("no open door for a no", func(t *testing.T) {
		t.Parallel()
		e, c := newEndpoint(t), newClock()
		e.say(200, `{"active":false}`)
		e.want(t, mustNew(t, e.options(t, c, Introspection{OnFailure: FailOpen})), raw, ErrInactive, 1)
	})
	t.Run("an issuer in trouble is left alone for a while", func(t *testing.T) {
		t.Parallel()
		e, c := newEndpoint(t), newClock()
		v := mustNew(t, e.options(t, c, Introspection{}))
		e.say(503, "")
		e.want(t, v, raw, ErrUnavailable, 1)
		e.want(t, v, raw, ErrUnavailable, 1)
		c.Advance(time.Second)
		e.want(t, v, raw, ErrUnavailable, 2)
		c.Advance(time.Second)
		e.want(t, v, raw, ErrUnavailable, 2)
		if wait := v.retryIn(); wait != time.Second {
			t.Errorf("retry in %v, want the second that is left", wait)
		}
		e.say(200, `{"active":true}`)
		c.Advance(time.Second)
		e.want(t, v, raw, nil, 3)
		if s := v.Stats(); s.IntroFailures != 2 {
			t.Errorf("%d failures, want 2", s.IntroFailures)
		}
	})
}

// One request a token for all who ask at once; who gives up ends it for nobody.
func TestIntrospectionIsShared(t *testing.T) {
	t.Parallel()
	e, c, k := newEndpoint(t), newClock(), key(0, "k0")
	v := mustNew(t, e.options(t, c, Introspection{OnFailure: FailOpen}))
	raw := k.token(t, goodClaims(testIssuer))
	held := make(chan struct{})
	e.held.Store(&held)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() { _, err := v.Verify(ctx, raw); gaveUp <- err }()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := v.Verify(context.Background(), raw); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v, want ErrUnavailable and not a pass", err)
	}
	close(held)
	wg.Wait()
	if n := e.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
