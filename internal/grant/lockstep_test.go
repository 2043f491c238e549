package grant_test

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// SEC-116, D14: two devices that go on in step with one family are reported, after
// three values in a row, once; a client that comes back from another network is not.
func TestLockstep(t *testing.T) {
	t.Parallel()
	phone := tenant.Origin{IP: "192.0.2.1", UserAgent: "phone"}
	moved := tenant.Origin{IP: "198.51.100.9", UserAgent: "phone"}
	laptop := tenant.Origin{IP: "192.0.2.1", UserAgent: "laptop"}
	// A step is one generation: who rotates, and who repeats.
	type step struct {
		rotates tenant.Origin
		repeats []tenant.Origin
	}
	twice := step{phone, []tenant.Origin{laptop}}
	alone := step{phone, nil}
	tests := map[string]struct {
		steps    []step
		warnings int
	}{
		"one device":                          {[]step{alone, alone, alone, alone}, 0},
		"one device that repeats":             {[]step{{phone, []tenant.Origin{phone}}, {phone, []tenant.Origin{phone, phone}}, {phone, []tenant.Origin{phone}}, alone}, 0},
		"two values twice":                    {[]step{twice, twice, alone, twice, twice}, 0},
		"three values twice":                  {[]step{twice, twice, twice}, 1},
		"once a run":                          {[]step{twice, twice, twice, twice, twice, twice}, 1},
		"two runs":                            {[]step{twice, twice, twice, alone, twice, twice, twice}, 2},
		"in turns":                            {[]step{{phone, []tenant.Origin{laptop}}, {laptop, []tenant.Origin{phone}}, {phone, []tenant.Origin{laptop}}}, 1},
		"many repetitions count once":         {[]step{{phone, []tenant.Origin{laptop, phone, laptop, phone}}, twice}, 0},
		"one device in another network":       {[]step{{phone, []tenant.Origin{moved}}, {moved, nil}, {moved, []tenant.Origin{phone}}, {phone, nil}}, 0},
		"thrice in another network, reported": {[]step{{phone, []tenant.Origin{moved}}, {phone, []tenant.Origin{moved}}, {phone, []tenant.Origin{moved}}}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			c, u := f.client(t, func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 }), f.user(t)
			value := f.login(t, c, u).RefreshToken
			present := func(value string, from tenant.Origin) string {
				t.Helper()
				f.clock.Advance(time.Second)
				resp, err := f.Exchange(t.Context(), f.tenant(t), refreshRequest(c, value), from)
				if err != nil {
					t.Fatal(err)
				}
				return resp.RefreshToken
			}
			first := value
			for _, s := range tt.steps {
				next := present(value, s.rotates)
				for _, from := range s.repeats {
					if again := present(value, from); again != next {
						t.Fatal("a repetition got another value")
					}
				}
				value = next
			}
			warnings := f.events(t, "w")
			if len(warnings) != tt.warnings {
				t.Fatalf("%d warnings, want %d", len(warnings), tt.warnings)
			}
			for _, w := range warnings {
				if w.Reason != "lockstep" || w.FamilyID != f.family(t, first).ID || w.Details["devices"] == nil {
					t.Errorf("warning is %+v", w)
				}
			}
			if !f.family(t, first).RevokedAt.IsZero() {
				t.Error("the family was ended")
			}
		})
	}
}

// D4, D14: with the nonce too; a thief who knows the client's nonces is seen.
func TestLockstepByAttempt(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.client(t, nil), f.user(t)
	value := f.login(t, c, u).RefreshToken
	thief := tenant.Origin{IP: "203.0.113.66", UserAgent: "curl"}
	for _, letter := range []string{"B", "C", "D"} {
		next := f.mustExchange(t, retryRequest(c, value, nonce(letter))).RefreshToken
		if _, err := f.Exchange(t.Context(), f.tenant(t), retryRequest(c, value, nonce(letter)), thief); err != nil {
			t.Fatal(err)
		}
		value = next
	}
	f.wantEvents(t, []string{"w"}, "w lockstep")
}

// D14: the timeline of a family names each step, by generation, address and
// program, and why it ended: enough to answer "why was I logged out".
func TestTimeline(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, other, u := f.client(t, func(c *tenant.Client) { c.Refresh.LeewaySeconds = 10 }), f.client(t, nil), f.user(t)
	zero := f.login(t, c, u).RefreshToken
	one := f.mustExchange(t, refreshRequest(c, zero)).RefreshToken
	f.mustExchange(t, refreshRequest(c, zero))
	two := f.mustExchange(t, refreshRequest(c, one)).RefreshToken
	for _, refused := range []struct {
		req oauth.TokenRequest
	}{{refreshRequest(other, two)}, {refreshRequest(c, zero)}, {refreshRequest(c, two)}} {
		if _, err := f.exchange(t, refused.req); err == nil {
			t.Fatal("granted")
		}
	}
	family := f.family(t, zero).ID
	var got []string
	for _, e := range f.events(t, "seacft", "sertft", "fertft", "ferrt", "srrt") {
		if e.FamilyID != family {
			continue
		}
		got = append(got, e.Type+" "+e.Reason+" "+string(rune('0'+e.Generation)))
		if e.Origin.IP != origin.IP || e.Origin.UserAgent != origin.UserAgent || e.At.IsZero() {
			t.Errorf("event lacks where it came from: %+v", e)
		}
	}
	want := []string{
		"seacft issued 0", "sertft rotated 0", "sertft replayed 0", "sertft rotated 1",
		"fertft wrong_client 2", "ferrt reused 0", "fertft reused 2",
	}
	if len(got) != len(want) {
		t.Fatalf("timeline is %q, want %q", got, want)
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Errorf("timeline %q lacks %q", got, w)
		}
	}
}
