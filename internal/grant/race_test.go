package grant_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// rounds is how often a race is run: BULLA_RACE_ROUNDS, or two.
func rounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("BULLA_RACE_ROUNDS"))
	if os.Getenv("BULLA_RACE_ROUNDS") == "" {
		return 2
	}
	if err != nil || n < 1 {
		t.Fatalf("BULLA_RACE_ROUNDS is no number of rounds")
	}
	return n
}

// engines are the two stores; PostgreSQL where there is one.
var engines = map[string]func(testing.TB) *fixture{"SQLite": start, "PostgreSQL": startOnPostgres}

// A race presents one refresh token a hundred times at once, without rules and
// with rules that take 0 to 50 ms, drawn at random, between reading and commit.
func race(t *testing.T, change func(*tenant.Client), check func(t *testing.T, f *fixture, c tenant.Client, value string, answers []oauth.TokenResponse, errs []error)) {
	for engine, start := range engines {
		for name, delay := range map[string]time.Duration{"at once": 0, "with slow rules": 50 * time.Millisecond} {
			t.Run(engine+", "+name, func(t *testing.T) {
				t.Parallel()
				f := start(t)
				c, u := f.client(t, change), f.user(t)
				if delay > 0 {
					f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
						<-time.After(time.Duration(rand.Int64N(int64(delay)))) // a worker of the outside world
						return tenant.RuleResult{}, nil
					})
				}
				for range rounds(t) {
					value := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Scopes = []string{"offline_access"} }))).RefreshToken
					now := f.tenant(t)
					answers, errs := make([]oauth.TokenResponse, 100), make([]error, 100)
					var wg sync.WaitGroup
					for i := range answers {
						wg.Go(func() { answers[i], errs[i] = f.Exchange(t.Context(), now, refreshRequest(c, value), origin) })
					}
					wg.Wait()
					check(t, f, c, value, answers, errs)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// SEC-114, SEC-115: without leeway one succeeds, one rotation is recorded, and the
// family is revoked, the winner's successor with it.
func TestHundredPresentationsStrict(t *testing.T) {
	t.Parallel()
	race(t, nil, func(t *testing.T, f *fixture, c tenant.Client, value string, answers []oauth.TokenResponse, errs []error) {
		granted := 0
		for i, err := range errs {
			if err == nil {
				granted++
				_, err := f.exchange(t, refreshRequest(c, answers[i].RefreshToken))
				wantRefused(t, err, "reused")
				if f.active(t, answers[i].AccessToken) {
					t.Error("the winner's access token is active")
				}
				continue
			}
			wantRefused(t, err, "reused")
		}
		if family := f.family(t, value); granted != 1 || family.Generation != 1 || family.RevokedReason != "reused" {
			t.Errorf("%d succeeded at generation %d, family ended as %q; want one, 1 and reused", granted, family.Generation, family.RevokedReason)
		}
	})
}

// SEC-116, REL-6: inside the leeway all get the same successor.
func TestHundredPresentationsLeeway(t *testing.T) {
	t.Parallel()
	change := func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 }
	race(t, change, func(t *testing.T, f *fixture, c tenant.Client, value string, answers []oauth.TokenResponse, errs []error) {
		access := map[string]bool{}
		for i, err := range errs {
			if err != nil {
				t.Fatalf("a presentation was refused: %v", err)
			}
			access[answers[i].AccessToken] = true
			if answers[i].RefreshToken != answers[0].RefreshToken || answers[i].RefreshToken == value {
				t.Fatal("two successors")
			}
		}
		if family := f.family(t, value); len(access) != 100 || family.Generation != 1 || family.Repeats != 99 || !family.RevokedAt.IsZero() {
			t.Errorf("%d access tokens, family %+v", len(access), family)
		}
		f.mustExchange(t, refreshRequest(c, answers[0].RefreshToken))
	})
}

// A reusable value gives each its own access token.
func TestHundredPresentationsReusable(t *testing.T) {
	t.Parallel()
	change := func(c *tenant.Client) {
		c.Refresh = tenant.RefreshPolicy{RotationType: "non-rotating", ExpirationType: "non-expiring"}
	}
	race(t, change, func(t *testing.T, f *fixture, _ tenant.Client, value string, answers []oauth.TokenResponse, errs []error) {
		access := map[string]bool{}
		for i, err := range errs {
			if err != nil || answers[i].RefreshToken != "" {
				t.Fatalf("answer is %+v, %v", answers[i], err)
			}
			access[answers[i].AccessToken] = true
		}
		if family := f.family(t, value); len(access) != 100 || family.Generation != 0 {
			t.Errorf("%d access tokens at generation %d, want 100 at 0", len(access), family.Generation)
		}
	})
}

// SEC-124: what ends the family while exchanges run leaves none of them alive.
func TestRevocationRacesRefresh(t *testing.T) {
	t.Parallel()
	for engine, start := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			change := func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 }
			c, u := f.client(t, change), f.user(t)
			for range rounds(t) {
				value := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Scopes = []string{"offline_access"} }))).RefreshToken
				now := f.tenant(t)
				answers := make([]oauth.TokenResponse, 32)
				var wg sync.WaitGroup
				for i := range answers {
					wg.Go(func() { answers[i], _ = f.Exchange(t.Context(), now, refreshRequest(c, value), origin) })
				}
				var revoked error
				wg.Go(func() {
					revoked = f.Revoke(t.Context(), now, oauth.RevocationRequest{Client: credentials(c), Token: value}, origin)
				})
				wg.Wait()
				if revoked != nil {
					t.Fatal(revoked)
				}
				for _, a := range append(answers, oauth.TokenResponse{RefreshToken: value}) {
					if a.AccessToken != "" && f.active(t, a.AccessToken) {
						t.Error("an access token outlived its family")
					}
					if a.RefreshToken != "" {
						_, err := f.exchange(t, refreshRequest(c, a.RefreshToken))
						wantRefused(t, err, "revoked_by_client")
					}
				}
			}
		})
	}
}
