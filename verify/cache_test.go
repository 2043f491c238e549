package verify

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

func cachedOptions(is *issuer) Options {
	o := is.options()
	o.TokenCache = 100
	o.ClockSkew = -1
	return o
}

// SEC-98: what is judged anew at each use of a remembered token.
func TestTokenCacheJudgesAnew(t *testing.T) {
	t.Parallel()
	k, next := key(0, "k0"), key(1, "k1")

	t.Run("the signature is checked once", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k)
		v := mustNew(t, cachedOptions(is))
		raw := k.token(t, is.claims())
		for range 3 {
			if c, err := v.Verify(t.Context(), raw); err != nil || c.Subject() != "auth0|7" {
				t.Fatalf("Verify = %q, %v", c.Subject(), err)
			}
		}
		if s := v.Stats(); s.CacheHits != 2 || s.CacheMisses != 1 || s.CacheSize != 1 {
			t.Errorf("%d hits, %d misses, %d remembered; want 2, 1, 1", s.CacheHits, s.CacheMisses, s.CacheSize)
		}
	})
	t.Run("two tokens that differ in the signature alone are two", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k)
		v := mustNew(t, cachedOptions(is))
		raw := k.token(t, is.claims())
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		other := key(1, "k0").token(t, is.claims())
		if _, err := v.Verify(t.Context(), other); err != ErrSignature {
			t.Errorf("the forged one: %v, want ErrSignature", err)
		}
		cut := raw[:strings.LastIndex(raw, ".")+1]
		if _, err := v.Verify(t.Context(), cut+"AAAA"); err != ErrSignature {
			t.Errorf("another signature: %v, want ErrSignature", err)
		}
		if _, err := v.Verify(t.Context(), cut); err != ErrMalformed {
			t.Errorf("no signature: %v, want ErrMalformed", err)
		}
	})
	t.Run("expiry while remembered", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k)
		v := mustNew(t, cachedOptions(is))
		raw := k.token(t, is.claims().with(claimSet{"exp": noon.Add(time.Minute).Unix()}))
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		is.clock.Advance(time.Minute - 1)
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("a nanosecond before exp: %v", err)
		}
		is.clock.Advance(1)
		if _, err := v.Verify(t.Context(), raw); err != ErrExpired || v.Stats().CacheSize != 0 {
			t.Errorf("at exp: %v, %d remembered; want ErrExpired, none", err, v.Stats().CacheSize)
		}
	})
	t.Run("a key that is no longer published (SEC-101)", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k, next)
		v := mustNew(t, cachedOptions(is))
		raw := k.token(t, is.claims())
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		is.publish(t, next)
		is.clock.Advance(defaultLifetime)
		if _, err := v.Verify(t.Context(), raw); err != ErrUnknownKey {
			t.Errorf("after its key was withdrawn: %v, want ErrUnknownKey", err)
		}
	})
	t.Run("a set that was fetched again and is the same keeps the cache", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k)
		v := mustNew(t, cachedOptions(is))
		raw := k.token(t, is.claims().with(claimSet{"exp": noon.Add(24 * time.Hour).Unix()}))
		for range 3 {
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
			is.clock.Advance(defaultLifetime)
		}
		if s := v.Stats(); s.CacheHits != 2 || is.fetches.Load() != 3 {
			t.Errorf("%d hits over %d fetches, want 2 over 3", s.CacheHits, is.fetches.Load())
		}
	})
	t.Run("refusals are not remembered", func(t *testing.T) {
		t.Parallel()
		is := newIssuer(t, k)
		v := mustNew(t, cachedOptions(is))
		early := k.token(t, is.claims().with(claimSet{"nbf": noon.Add(time.Minute).Unix()}))
		if _, err := v.Verify(t.Context(), early); err != ErrNotYetValid {
			t.Fatalf("early: %v", err)
		}
		is.clock.Advance(time.Minute)
		if _, err := v.Verify(t.Context(), early); err != nil {
			t.Errorf("in time: %v", err)
		}
		if _, err := v.Verify(t.Context(), strings.Repeat("a", jose.MaxTokenSize+1)); err != ErrMalformed {
			t.Errorf("a long one: %v", err)
		}
	})
}

// SEC-98, SEC-228: the cache is bounded, and keeps what is used.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	sum := func(i int) (s tokenSum) { binary.BigEndian.PutUint64(s[:], uint64(i)); return s }
	c := newCache[int](10)
	for i := range 1000 {
		c.put(sum(i), i)
		if v, ok := c.get(sum(0)); !ok || v != 0 {
			t.Fatalf("after %d others: the one that is used each time is gone", i)
		}
		if n := c.len(); n > 10 {
			t.Fatalf("%d values, want at most 10", n)
		}
	}
	if v, ok := c.get(sum(999)); !ok || v != 999 {
		t.Errorf("the newest: %d, %v", v, ok)
	}
	if _, ok := c.get(sum(500)); ok {
		t.Error("an old one that nobody used is still there")
	}
	c.put(sum(999), 7)
	if v, _ := c.get(sum(999)); v != 7 {
		t.Errorf("put again: %d, want 7", v)
	}
	c.remove(sum(999))
	if _, ok := c.get(sum(999)); ok {
		t.Error("removed, and still there")
	}
}

// A cached token that the feed denies is refused at once (SEC-98).
func TestTokenCacheHonoursTheFeed(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	f := feedOf(t)
	v := mustNew(t, Options{
		Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), Now: newClock().Now,
		TokenCache: 10, Feed: f,
	})
	raw := k.token(t, goodClaims(testIssuer).with(claimSet{"jti": jtiOf(7)}))
	say(t, f, "live", "")
	for range 2 {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	say(t, f, "deny", denyOf(7, noon.Add(time.Hour)))
	if _, err := v.Verify(t.Context(), raw); !errors.Is(err, ErrRevoked) || !errors.Is(err, ErrInvalidToken) {
		t.Errorf("denied while remembered: %v, want ErrRevoked", err)
	}
	if s := v.Stats(); s.Revoked != 1 || s.Feed.Entries != 1 || !s.Feed.Live || s.Feed.Events != 2 {
		t.Errorf("%+v", s)
	}
}
