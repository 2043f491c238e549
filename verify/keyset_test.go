package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// warm makes the verifier fetch its first key set.
func warm(t *testing.T, is *issuer, v *Verifier, k signingKey) {
	t.Helper()
	if _, err := v.Verify(t.Context(), k.token(t, is.claims())); err != nil {
		t.Fatalf("first token: %v", err)
	}
	is.fetches.Store(0)
}

func count(errs []error, want error) int {
	n := 0
	for _, err := range errs {
		if errors.Is(err, want) || want == nil && err == nil {
			n++
		}
	}
	return n
}

// The table of performance.md C, with what ours makes of each row (SEC-89).
func TestKeySetFaults(t *testing.T) {
	t.Parallel()
	old, next := key(0, "old"), key(1, "new")
	replaced := key(2, "old")

	t.Run("cold start, 1000 at once: one fetch, all accepted", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		errs := all(v, repeat(old.token(t, is.claims()), 1000))
		if n := count(errs, nil); n != 1000 || is.fetches.Load() != 1 {
			t.Errorf("%d accepted by %d fetches, want 1000 by 1", n, is.fetches.Load())
		}
	})

	t.Run("1000 at once with one unknown kid: one fetch", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		errs := all(v, repeat(next.token(t, is.claims()), 1000))
		if n := count(errs, ErrUnknownKey); n != 1000 || is.fetches.Load() != 1 {
			t.Errorf("%d refused by %d fetches, want 1000 by 1", n, is.fetches.Load())
		}
	})

	t.Run("10000 random kids: one fetch, memory bounded", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		// What follows the kid in a forged token does not matter; one
		// signature serves for all.
		good := old.token(t, is.claims())
		rest := good[strings.Index(good, "."):]
		random := make([]string, 10000)
		for i := range random {
			random[i] = b64(fmt.Sprintf(`{"alg":"RS256","kid":"random-%d"}`, i)) + rest
		}
		for batch := range 10 {
			errs := all(v, random[batch*1000:(batch+1)*1000])
			if n := count(errs, ErrUnknownKey); n != 1000 {
				t.Errorf("%d refused, want 1000", n)
			}
		}
		if got := is.fetches.Load(); got != 1 {
			t.Errorf("%d fetches, want 1", got)
		}
		if n := len(v.keys.unknown); n > maxUnknown {
			t.Errorf("%d kids remembered, want at most %d", n, maxUnknown)
		}
	})

	t.Run("1000 forged signatures under a known kid: one fetch", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		errs := all(v, repeat(replaced.token(t, is.claims()), 1000))
		if n := count(errs, ErrSignature); n != 1000 || is.fetches.Load() != 1 {
			t.Errorf("%d refused by %d fetches, want 1000 by 1", n, is.fetches.Load())
		}
		if _, err := v.Verify(t.Context(), old.token(t, is.claims())); err != nil {
			t.Errorf("a good token after them: %v", err)
		}
	})

	t.Run("rotated, 1000 new tokens at once: one fetch, all accepted", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		is.publish(t, next, old)
		errs := all(v, repeat(next.token(t, is.claims()), 1000))
		if n := count(errs, nil); n != 1000 || is.fetches.Load() != 1 {
			t.Errorf("%d accepted by %d fetches, want 1000 by 1", n, is.fetches.Load())
		}
	})

	t.Run("key replaced under the same kid: one fetch, accepted", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		is.publish(t, replaced)
		_, err := v.Verify(t.Context(), replaced.token(t, is.claims()))
		if err != nil || is.fetches.Load() != 1 {
			t.Errorf("%v by %d fetches, want nil by 1", err, is.fetches.Load())
		}
		if _, err := v.Verify(t.Context(), old.token(t, is.claims())); err != ErrSignature {
			t.Errorf("the replaced key's token: %v, want ErrSignature (SEC-101)", err)
		}
	})

	t.Run("503, cached good tokens: accepted without a fetch", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		is.status.Store(http.StatusServiceUnavailable)
		errs := all(v, repeat(old.token(t, is.claims()), 1000))
		if n := count(errs, nil); n != 1000 || is.fetches.Load() != 0 {
			t.Errorf("%d accepted by %d fetches, want 1000 by 0", n, is.fetches.Load())
		}
	})

	t.Run("503, 1000 at once with an unknown kid: one fetch, not called invalid", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		is.status.Store(http.StatusServiceUnavailable)
		errs := all(v, repeat(next.token(t, is.claims()), 1000))
		if n := count(errs, ErrUnavailable); n != 1000 || count(errs, ErrInvalidToken) != 0 || is.fetches.Load() != 1 {
			t.Errorf("%d unavailable by %d fetches, want 1000 by 1", n, is.fetches.Load())
		}
	})

	t.Run("rotation right after a random kid: accepted within one interval", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, old)
		v := is.verifier(t)
		warm(t, is, v, old)
		if _, err := v.Verify(t.Context(), key(1, "random").token(t, is.claims())); err != ErrUnknownKey {
			t.Fatalf("random kid: %v", err)
		}
		is.publish(t, next, old)
		raw := next.token(t, is.claims())
		if _, err := v.Verify(t.Context(), raw); err != ErrUnknownKey || is.fetches.Load() != 1 {
			t.Errorf("at once: %v by %d fetches, want ErrUnknownKey by 1", err, is.fetches.Load())
		}
		is.clock.Advance(defaultInterval + defaultInterval/10 + 1) // the jitter included
		if _, err := v.Verify(t.Context(), raw); err != nil || is.fetches.Load() != 2 {
			t.Errorf("an interval later: %v by %d fetches, want nil by 2", err, is.fetches.Load())
		}
	})
}

// SEC-89: a kid that was looked for in vain does not spend the next interval's
// fetch, and is looked for again later.
func TestUnknownKidIsRemembered(t *testing.T) {
	t.Parallel()
	old, late, next := key(0, "old"), key(1, "late"), key(2, "new")
	is := newIssuer(t, old)
	v := is.verifier(t)
	warm(t, is, v, old)
	raw := late.token(t, is.claims())
	verify := func(want error, fetches int64) {
		t.Helper()
		if _, err := v.Verify(t.Context(), raw); !errors.Is(err, want) || is.fetches.Load() != fetches {
			t.Errorf("%v by %d fetches, want %v by %d", err, is.fetches.Load(), want, fetches)
		}
	}
	verify(ErrUnknownKey, 1)
	is.clock.Advance(defaultInterval + defaultInterval/10 + 1)
	verify(ErrUnknownKey, 1)
	is.publish(t, old, next, late)
	if _, err := v.Verify(t.Context(), next.token(t, is.claims())); err != nil || is.fetches.Load() != 2 {
		t.Errorf("the fetch was not left for another kid: %v by %d fetches", err, is.fetches.Load())
	}
	verify(nil, 2)
}

// A caller that looked into the set of before, and comes when the fetch is over,
// takes its result: it is not refused for being late.
func TestLateCallerJoinsTheResult(t *testing.T) {
	t.Parallel()
	old, next := key(0, "old"), key(1, "new")
	is := newIssuer(t, old)
	v := is.verifier(t)
	warm(t, is, v, old)
	seen := v.keys.current.Load()
	is.publish(t, next)
	if _, err := v.Verify(t.Context(), next.token(t, is.claims())); err != nil {
		t.Fatal(err)
	}
	set, err := v.keys.refetch(t.Context(), seen, "RS256", "new")
	if err != nil || set.find("RS256", "new") == nil || is.fetches.Load() != 1 {
		t.Errorf("late: %v, key %v, %d fetches; want the new key by 1", err, set.find("RS256", "new"), is.fetches.Load())
	}
}

// SEC-101, SEC-220: what a redirect of the key set may change.
func TestRedirectPolicy(t *testing.T) {
	t.Parallel()
	at := func(raw string) *http.Request { return httptest.NewRequest("GET", raw, nil) }
	first := at("https://issuer.example/keys")
	for to, want := range map[string]bool{
		"https://issuer.example/other":     true,
		"http://issuer.example/keys":       false,
		"https://issuer.example:8443/keys": false,
		"https://issuer.example.evil/keys": false,
		"https://sub.issuer.example/keys":  false,
	} {
		if err := sameHost(at(to), []*http.Request{first}); (err == nil) != want {
			t.Errorf("redirect to %s: %v, want allowed %v", to, err, want)
		}
	}
	if sameHost(first, []*http.Request{first, first, first, first}) == nil {
		t.Error("a fourth redirect is followed")
	}
}

// SEC-101: an old set serves while the issuer is down, for a day.
func TestStaleSetServesWithABound(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	is := newIssuer(t, k)
	v := is.verifier(t)
	warm(t, is, v, k)
	is.status.Store(http.StatusServiceUnavailable)
	raw := k.token(t, is.claims().with(claimSet{"exp": noon.Add(48 * time.Hour).Unix()}))
	for _, hours := range []time.Duration{1, 12, 10} {
		is.clock.Advance(hours * time.Hour)
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("after %v more hours: %v", hours, err)
		}
	}
	is.clock.Advance(time.Hour)
	if _, err := v.Verify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after a day: %v, want ErrUnavailable", err)
	}
	if d := v.keys.retryIn(); d < time.Second || d > defaultInterval {
		t.Errorf("retry in %v, want between a second and the interval", d)
	}
	is.status.Store(http.StatusOK)
	is.clock.Advance(defaultInterval)
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Errorf("the issuer is back: %v", err)
	}
}

// SEC-101: a key is trusted no more once a newer set without it was seen, and
// that happens without a bad token's help.
func TestRevokedKeyLeavesWithTheCacheLifetime(t *testing.T) {
	t.Parallel()
	revoked, k := key(0, "revoked"), key(1, "k1")
	is := newIssuer(t, revoked, k)
	v := is.verifier(t)
	warm(t, is, v, k)
	is.publish(t, k)
	raw := revoked.token(t, is.claims())
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Errorf("while cached: %v", err)
	}
	is.clock.Advance(defaultLifetime)
	if _, err := v.Verify(t.Context(), raw); err != ErrUnknownKey {
		t.Errorf("after the cache's lifetime: %v, want ErrUnknownKey", err)
	}
}

// An empty set, or one that is no set, is the issuer's fault and empties no cache.
func TestBadSetIsNotTaken(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	for name, body := range map[string]string{
		"empty":      `{"keys":[]}`,
		"junk only":  `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"a page":     `<html>`,
		"10 MB":      `{"keys":["` + strings.Repeat("a", 10<<20) + `"]}`,
		"101 keys":   `{"keys":[` + strings.Repeat("{},", 100) + `{}]}`,
		"no content": ``,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := newIssuer(t, k)
			v := is.verifier(t)
			warm(t, is, v, k)
			b := []byte(body)
			is.body.Store(&b)
			is.clock.Advance(defaultLifetime)
			if _, err := v.Verify(t.Context(), k.token(t, is.claims())); err != nil || is.fetches.Load() != 1 {
				t.Errorf("%v by %d fetches, want nil by 1", err, is.fetches.Load())
			}
		})
	}
}

// SEC-101, SEC-102, SEC-220: metadata and key sets come from the issuer alone,
// over https, without detours.
func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(jwks(t, k))
	}))
	t.Cleanup(plain.Close)
	other := newIssuer(t, k)
	var reached atomic.Bool
	trap := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Store(true)
		_, _ = w.Write(jwks(t, k))
	}))
	t.Cleanup(trap.Close)

	type answer struct{ metadata, keys http.HandlerFunc }
	say := func(format string) func(self string) http.HandlerFunc {
		return func(self string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(strings.ReplaceAll(format, "SELF", self)))
			}
		}
	}
	good := say(`{"issuer":"SELF/","jwks_uri":"SELF/keys"}`)
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	keys := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks(t, k)) }
	tests := map[string]func(self string) answer{
		"metadata of another issuer": func(string) answer {
			return answer{say(`{"issuer":"` + other.id() + `","jwks_uri":"SELF/keys"}`)(""), keys}
		},
		"issuer without slash": func(s string) answer { return answer{say(`{"issuer":"SELF","jwks_uri":"SELF/keys"}`)(s), keys} },
		"issuer twice": func(s string) answer {
			return answer{say(`{"issuer":"x","issuer":"SELF/","jwks_uri":"SELF/keys"}`)(s), keys}
		},
		"no jwks_uri":   func(s string) answer { return answer{say(`{"issuer":"SELF/"}`)(s), keys} },
		"file jwks_uri": func(s string) answer { return answer{say(`{"issuer":"SELF/","jwks_uri":"file:///k"}`)(s), keys} },
		"plain jwks_uri": func(s string) answer {
			return answer{say(`{"issuer":"SELF/","jwks_uri":"http://k.example/"}`)(s), keys}
		},
		"keys redirected to another host": func(s string) answer { return answer{good(s), redirect(trap.URL)} },
		"keys redirected to plain http":   func(s string) answer { return answer{good(s), redirect(plain.URL)} },
		"metadata redirected":             func(string) answer { return answer{redirect(trap.URL), keys} },
		"keys redirected for ever":        func(s string) answer { return answer{good(s), redirect("/keys")} },
		"404":                             func(s string) answer { return answer{good(s), http.NotFound} },
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			server := httptest.NewTLSServer(mux)
			t.Cleanup(server.Close)
			a := make(server.URL)
			mux.HandleFunc("/.well-known/openid-configuration", a.metadata)
			mux.HandleFunc("/keys", a.keys)
			client := server.Client() // trusts the trap too: they share httptest's certificate
			v := mustNew(t, Options{Issuer: server.URL + "/", Audience: []string{testAudience}, HTTPClient: client, Now: newClock().Now})
			_, err := v.Verify(t.Context(), k.token(t, goodClaims(server.URL+"/")))
			if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidToken) {
				t.Errorf("Verify = %v, want ErrUnavailable", err)
			}
		})
	}
	t.Cleanup(func() {
		if reached.Load() {
			t.Error("a redirect to another host was followed")
		}
	})
	t.Run("certificate of a stranger", func(t *testing.T) {
		t.Parallel()
		o := other.options()
		o.HTTPClient = nil
		_, err := mustNew(t, o).Verify(t.Context(), k.token(t, other.claims()))
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("Verify = %v, want ErrUnavailable", err)
		}
	})
	t.Run("fixed JWKSURL needs no metadata", func(t *testing.T) {
		t.Parallel()
		o := other.options()
		o.Issuer, o.JWKSURL = testIssuer, other.URL+"/keys"
		if _, err := mustNew(t, o).Verify(t.Context(), k.token(t, goodClaims(testIssuer))); err != nil {
			t.Errorf("Verify = %v, want nil", err)
		}
	})
}

// SEC-244 for keys: a caller who gives up takes nobody along.
func TestCancelledCallerDoesNotEndTheFetch(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	is := newIssuer(t, k)
	v := is.verifier(t)
	raw := k.token(t, is.claims())
	release := is.hold()
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := v.Verify(ctx, raw); first <- err }()
	go func() { _, err := v.Verify(context.Background(), raw); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v, want ErrUnavailable and context.Canceled", err)
	}
	release()
	if err := <-second; err != nil || is.fetches.Load() != 1 {
		t.Errorf("who stayed: %v by %d fetches, want nil by 1", err, is.fetches.Load())
	}
}

// The timing that needs a clock that runs: inside the bubble it costs nothing.
func TestFetchTiming(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	set := jwks(t, k)
	long := goodClaims(testIssuer).with(claimSet{"iat": nil, "exp": maxDate})
	raw := k.token(t, long)
	slow := func(delay *atomic.Int64, fetches *atomic.Int64) *Verifier {
		return mustNew(t, Options{
			Issuer: testIssuer, Audience: []string{testAudience},
			Fetch: func(ctx context.Context) ([]byte, error) {
				fetches.Add(1)
				select {
				case <-time.After(time.Duration(delay.Load())):
					return set, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		})
	}
	verify := func(t *testing.T, v *Verifier) (time.Duration, error) {
		t.Helper()
		start := time.Now()
		_, err := v.Verify(context.Background(), raw)
		return time.Since(start), err
	}

	t.Run("a fetch ends after 5 s (SEC-101)", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var delay, fetches atomic.Int64
			delay.Store(int64(time.Hour))
			v := slow(&delay, &fetches)
			if took, err := verify(t, v); !errors.Is(err, ErrUnavailable) || took != fetchTimeout {
				t.Errorf("%v after %v, want ErrUnavailable after %v", err, took, fetchTimeout)
			}
			// Down from the start: asked again after 1, 2, 4 … s, in between told at once.
			if took, err := verify(t, v); !errors.Is(err, ErrUnavailable) || took != 0 || fetches.Load() != 1 {
				t.Errorf("%v after %v by %d fetches, want ErrUnavailable at once by 1", err, took, fetches.Load())
			}
			time.Sleep(time.Second)
			if _, err := verify(t, v); !errors.Is(err, ErrUnavailable) || fetches.Load() != 2 {
				t.Errorf("a second later: %v by %d fetches, want ErrUnavailable by 2", err, fetches.Load())
			}
			time.Sleep(time.Second)
			if _, err := verify(t, v); !errors.Is(err, ErrUnavailable) || fetches.Load() != 2 {
				t.Errorf("another: %v by %d fetches, want ErrUnavailable by 2", err, fetches.Load())
			}
			delay.Store(0)
			time.Sleep(time.Second)
			if _, err := verify(t, v); err != nil {
				t.Errorf("two seconds after the second: %v", err)
			}
		})
	})
	t.Run("the refresh before expiry holds nobody up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var delay, fetches atomic.Int64
			v := slow(&delay, &fetches)
			if _, err := verify(t, v); err != nil {
				t.Fatal(err)
			}
			delay.Store(int64(3 * time.Second))
			time.Sleep(defaultLifetime * 4 / 5)
			if took, err := verify(t, v); err != nil || took != 0 {
				t.Errorf("%v after %v, want nil at once", err, took)
			}
			synctest.Wait()
			if fetches.Load() != 2 {
				t.Errorf("%d fetches, want 2", fetches.Load())
			}
			time.Sleep(defaultLifetime / 5)
			if took, err := verify(t, v); err != nil || took != 0 || fetches.Load() != 2 {
				t.Errorf("%v after %v by %d fetches, want the refreshed set", err, took, fetches.Load())
			}
		})
	})
	t.Run("an old set is waited for a second only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var delay, fetches atomic.Int64
			v := slow(&delay, &fetches)
			if _, err := verify(t, v); err != nil {
				t.Fatal(err)
			}
			delay.Store(int64(3 * time.Second))
			time.Sleep(2 * defaultLifetime)
			if took, err := verify(t, v); err != nil || took != staleWait {
				t.Errorf("%v after %v, want nil after %v", err, took, staleWait)
			}
			time.Sleep(3 * time.Second)
			if took, err := verify(t, v); err != nil || took != 0 || fetches.Load() != 2 {
				t.Errorf("%v after %v by %d fetches, want nil at once by 2", err, took, fetches.Load())
			}
		})
	})
}
