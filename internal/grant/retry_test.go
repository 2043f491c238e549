package grant_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// nonce is an attempt that only the test's letter tells from others.
func nonce(letter string) string { return strings.Repeat(letter, 43) }

func retryRequest(c tenant.Client, value, attempt string) oauth.TokenRequest {
	req := refreshRequest(c, value)
	req.Attempt = attempt
	return req
}

// expiringAfterAYear is a strict client: leeway 0.
func expiringAfterAYear(c *tenant.Client) {
	c.Refresh.TokenLifetimeSeconds, c.Refresh.IdleTokenLifetimeSeconds = 31557600, 31557600
}

// D4, SEC-118, REL-6: with leeway 0 too, a client repeats a rotation after any
// time and gets the identical successor, until that is used.
func TestRetryAfterAnyTime(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, expiringAfterAYear), f.user(t)
	first := f.login(t, c, u).RefreshToken
	second := f.mustExchange(t, retryRequest(c, first, nonce("B"))).RefreshToken
	for _, wait := range []time.Duration{0, time.Millisecond, time.Hour, 90 * 24 * time.Hour} {
		f.clock.Advance(wait)
		if again := f.mustExchange(t, retryRequest(c, first, nonce("B"))); again.RefreshToken != second || again.AccessToken == "" {
			t.Errorf("after %v the successor is another one", wait)
		}
	}
	if got := f.family(t, first); got.Generation != 1 || got.Repeats != 4 {
		t.Errorf("family has generation %d and %d repeats, want 1 and 4", got.Generation, got.Repeats)
	}
	f.mustExchange(t, retryRequest(c, second, nonce("C")))
	_, err := f.exchange(t, retryRequest(c, first, nonce("B")))
	wantRefused(t, err, "reused")
	if got := f.family(t, first); got.RevokedReason != "reused" {
		t.Errorf("the family's end is %q, want reused", got.RevokedReason)
	}
	f.wantEvents(t, []string{"sertft", "ferrt"}, "sertft rotated", "sertft replayed", "sertft replayed", "sertft replayed", "sertft replayed", "sertft rotated", "ferrt reused")
}

// D4: a thief who has the value but not the nonce is found out as before.
func TestRetryNeedsTheNonce(t *testing.T) {
	t.Parallel()
	for name, attempt := range map[string]string{"none": "", "another": nonce("X")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			c, u := f.client(t, nil), f.user(t)
			first := f.login(t, c, u).RefreshToken
			second := f.mustExchange(t, retryRequest(c, first, nonce("B")))
			_, err := f.exchange(t, retryRequest(c, first, attempt))
			wantRefused(t, err, "reused")
			_, err = f.exchange(t, retryRequest(c, second.RefreshToken, nonce("C")))
			wantRefused(t, err, "reused")
			if f.active(t, second.AccessToken) {
				t.Error("an access token of the ended family is active")
			}
		})
	}
}

// D4: a nonce seen at the rotation before is refused and nothing is spent, so
// that two parties cannot go on in step.
func TestAttemptReused(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	first := f.login(t, c, u).RefreshToken
	second := f.mustExchange(t, retryRequest(c, first, nonce("B"))).RefreshToken
	before := f.family(t, first)
	for range 3 {
		_, err := f.exchange(t, retryRequest(c, second, nonce("B")))
		wantError(t, err, 400, oauth.InvalidRequest, "The Bulla-Attempt header names an earlier rotation. Send a fresh value for each.", "attempt_reused")
	}
	if after := f.family(t, first); after.Generation != before.Generation || after.Used || after.Repeats != 0 || !after.RevokedAt.IsZero() {
		t.Errorf("the family became %+v", after)
	}
	third := f.mustExchange(t, retryRequest(c, second, nonce("C"))).RefreshToken
	_, err := f.exchange(t, retryRequest(c, third, nonce("B"))) // two rotations back
	if e := oauth.AsError(err); e.Reason != "attempt_reused" {
		t.Errorf("an older nonce: %v", err)
	}
	f.mustExchange(t, retryRequest(c, third, nonce("D")))
}

// REL-6, SEC-114: any number of parallel repetitions make one rotation.
func TestParallelRetries(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	first := f.login(t, c, u).RefreshToken
	tnt := f.tenant(t)
	var wg sync.WaitGroup
	answers := make([]oauth.TokenResponse, 32)
	failures := make([]error, len(answers))
	for i := range answers {
		wg.Go(func() {
			for { // too many lost writes in a row are a 503, which the client repeats
				answers[i], failures[i] = f.Exchange(t.Context(), tnt, retryRequest(c, first, nonce("B")), origin)
				if failures[i] == nil || oauth.AsError(failures[i]).Status != 503 {
					return
				}
			}
		})
	}
	wg.Wait()
	for i, err := range failures {
		if err != nil || answers[i].RefreshToken != answers[0].RefreshToken {
			t.Fatalf("answer %d: %v, the same successor: %v", i, err, answers[i].RefreshToken == answers[0].RefreshToken)
		}
	}
	if got := f.family(t, first); got.Generation != 1 || got.Repeats != len(answers)-1 {
		t.Errorf("generation %d, repeats %d; want 1 and %d", got.Generation, got.Repeats, len(answers)-1)
	}
}

// D4, REL-5: the answer to a commit of unknown outcome is settled by the
// client's own nonce, and a repetition after a fault is no reuse.
func TestRetryAfterFault(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	first := f.login(t, c, u).RefreshToken
	f.faults.fail("", "RotateRefreshToken")
	second := f.mustExchange(t, retryRequest(c, first, nonce("B"))).RefreshToken
	f.faults.fail("RefreshToken", "")
	_, err := f.exchange(t, retryRequest(c, first, nonce("B")))
	wantUnavailable(t, err)
	f.faults.fail("", "")
	if again := f.mustExchange(t, retryRequest(c, first, nonce("B"))).RefreshToken; again != second {
		t.Error("the successor is another one")
	}
	f.mustExchange(t, retryRequest(c, second, nonce("C")))
}

// Only a refresh token is rotated: the nonce means nothing to other grants.
func TestAttemptOfOtherGrants(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	req := codeRequest(c, f.code(t, c, u, nil))
	req.Attempt = nonce("B")
	first := f.mustExchange(t, req).RefreshToken
	f.mustExchange(t, retryRequest(c, first, nonce("B")))
}
