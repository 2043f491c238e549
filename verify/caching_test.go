package verify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// How long the issuer lets its key set be used, within our bounds.
func TestKeySetMaxAge(t *testing.T) {
	t.Parallel()
	const ours, floor = 10 * time.Minute, time.Minute
	k := key(0, "k0")
	for name, tt := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing said":           {nil, ours},
		"in between":             {http.Header{"Cache-Control": {"public, max-age=300, stale-while-revalidate=15"}}, 5 * time.Minute},
		"shorter than the floor": {http.Header{"Cache-Control": {"max-age=15"}}, floor},
		"longer than ours":       {http.Header{"Cache-Control": {"max-age=86400"}}, ours},
		"in quotes":              {http.Header{"Cache-Control": {`Max-Age="300"`}}, 5 * time.Minute},
		"in two lines":           {http.Header{"Cache-Control": {"public", "max-age=300"}}, 5 * time.Minute},
		"twice":                  {http.Header{"Cache-Control": {"max-age=300, max-age=500"}}, 5 * time.Minute},
		"some of it is over":     {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"120"}}, 3 * time.Minute},
		"all of it is over":      {http.Header{"Cache-Control": {"max-age=300"}, "Age": {"400"}}, floor},
		"no-store":               {http.Header{"Cache-Control": {"no-store, max-age=300"}}, floor},
		"no-cache":               {http.Header{"Cache-Control": {"max-age=300, no-cache"}}, floor},
		"not a number":           {http.Header{"Cache-Control": {"max-age=soon"}}, ours},
		"negative":               {http.Header{"Cache-Control": {"max-age=-1"}}, ours},
		"huge":                   {http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, ours},
		"s-maxage is not for us": {http.Header{"Cache-Control": {"s-maxage=120"}}, ours},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range tt.header {
					w.Header()[name] = values
				}
				_, _ = w.Write(jwks(t, k))
			}))
			t.Cleanup(server.Close)
			v := mustNew(t, Options{
				Issuer: testIssuer, Audience: []string{testAudience}, JWKSURL: server.URL, HTTPClient: server.Client(), Now: c.Now,
				CacheLifetime: ours, MinCacheLifetime: floor,
			})
			if _, err := v.Verify(t.Context(), k.token(t, goodClaims(testIssuer))); err != nil {
				t.Fatal(err)
			}
			set := v.keys.current.Load()
			if got := set.staleAt.Sub(noon); got != tt.want {
				t.Errorf("used for %v, want %v", got, tt.want)
			}
			if early := set.refreshAt.Sub(noon); early > tt.want*4/5 || early < tt.want*3/4 {
				t.Errorf("fetched again after %v, want a little less than four fifths of %v", early, tt.want)
			}
		})
	}
}

// A set that did not change is not sent again, and its validator is for its own
// address alone. What was no set leaves no validator behind.
func TestKeySetValidator(t *testing.T) {
	t.Parallel()
	k, next := key(0, "k0"), key(1, "k1")
	c := newClock()
	var tag, keysAt atomic.Pointer[string]
	var body atomic.Pointer[[]byte]
	set := func(newTag, path string, newBody []byte) {
		tag.Store(&newTag)
		keysAt.Store(&path)
		body.Store(&newBody)
	}
	set(`"one"`, "/keys", jwks(t, k))
	var sent, unchanged atomic.Int64
	var asked atomic.Pointer[string]
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":"%s/","jwks_uri":"%s%s"}`, server.URL, server.URL, *keysAt.Load())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != *keysAt.Load() {
			http.NotFound(w, r)
			return
		}
		condition := r.Header.Get("If-None-Match")
		asked.Store(&condition)
		w.Header().Set("ETag", *tag.Load())
		if condition == *tag.Load() && condition != "" {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent.Add(1)
		_, _ = w.Write(*body.Load())
	})
	v := mustNew(t, Options{Issuer: server.URL + "/", Audience: []string{testAudience}, HTTPClient: server.Client(), Now: c.Now, TokenCache: 10})
	verify := func(k signingKey, want error, wantSent, wantUnchanged int64, wantAsked string) {
		t.Helper()
		raw := k.token(t, goodClaims(server.URL+"/").with(claimSet{"exp": noon.Add(24 * time.Hour).Unix()}))
		_, err := v.Verify(t.Context(), raw)
		if err != want || sent.Load() != wantSent || unchanged.Load() != wantUnchanged || *asked.Load() != wantAsked {
			t.Errorf("%v; sent %d times, unchanged %d, asked with %q; want %v, %d, %d, %q",
				err, sent.Load(), unchanged.Load(), *asked.Load(), want, wantSent, wantUnchanged, wantAsked)
		}
		c.Advance(defaultLifetime)
	}
	verify(k, nil, 1, 0, "")
	verify(k, nil, 1, 1, `"one"`)
	verify(k, nil, 1, 2, `"one"`)
	if hits := v.Stats().CacheHits; hits != 2 {
		t.Errorf("%d hits, want 2: an unchanged set keeps what was verified with it", hits)
	}
	set(`"two"`, "/keys", jwks(t, next))
	verify(next, nil, 2, 2, `"one"`)
	verify(k, ErrUnknownKey, 2, 4, `"two"`) // once for the time, once for the unknown kid
	set(`"bad"`, "/keys", []byte(`{"keys":[]}`))
	verify(next, nil, 3, 4, `"two"`) // the old set serves on
	verify(next, nil, 4, 4, `"two"`)
	set(`"two"`, "/moved", jwks(t, k)) // the same tag at another address is another set
	verify(next, nil, 4, 4, `"two"`)   // 404 at the old address
	verify(k, nil, 5, 4, ``)
	if s := v.Stats(); s.KeyFailures != 3 || s.Keys != 1 {
		t.Errorf("%d failures, %d keys; want 3, 1", s.KeyFailures, s.Keys)
	}
}

// The figures that a program publishes.
func TestStats(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	is := newIssuer(t, k)
	v := is.verifier(t)
	if s := v.Stats(); s != (Stats{}) {
		t.Errorf("before the first token: %+v, want nothing", s)
	}
	warm(t, is, v, k)
	is.clock.Advance(time.Minute)
	for range 3 {
		if _, err := v.Verify(t.Context(), key(1, "unknown").token(t, is.claims())); err != ErrUnknownKey {
			t.Fatal(err)
		}
	}
	want := Stats{Keys: 1, KeySetAge: 0, KeyFetches: 2, KeyRefetches: 1, UnknownKids: 3}
	if s := v.Stats(); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	is.status.Store(http.StatusInternalServerError)
	is.clock.Advance(2 * time.Hour)
	if _, err := v.Verify(t.Context(), k.token(t, is.claims().with(claimSet{"exp": noon.Add(24 * time.Hour).Unix()}))); err != nil {
		t.Fatal(err)
	}
	want.KeySetAge, want.KeyFetches, want.KeyFailures = 2*time.Hour, 3, 1
	if s := v.Stats(); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	if s := fixed(t, k).Stats(); s != (Stats{Keys: 1}) {
		t.Errorf("fixed keys: %+v", s)
	}
}
