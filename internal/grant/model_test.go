package grant_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"pgregory.net/rapid"
)

// model is a refresh-token family in plain words: which values were given out,
// which is the live one, and when it was made.
type model struct {
	values  []string // by generation
	rotated time.Time
	idle    time.Time
	end     time.Time
	dead    bool
	blocked bool
	repeats int
}

const (
	modelLeeway = 10 * time.Second
	modelIdle   = 60 * time.Second
	modelEnd    = 200 * time.Second
)

// present says what a presentation of generation g gets: granted, a successor, or
// refused; and what becomes of the family.
func (m *model) present(g int, now time.Time) (granted, newValue bool) {
	live := len(m.values) - 1
	switch {
	case m.dead || !now.Before(m.idle) || !now.Before(m.end):
		return false, false
	case g == live && m.blocked:
		return false, false
	case g == live:
		m.rotated, m.repeats = now, 0
		m.touch(now)
		return true, true
	case g == live-1 && now.Before(m.rotated.Add(modelLeeway)):
		if m.blocked || m.repeats == 100 {
			return false, false
		}
		m.repeats++
		m.touch(now)
		return true, false
	}
	m.dead = true
	return false, false
}

func (m *model) touch(now time.Time) {
	m.idle = now.Add(modelIdle)
	if m.idle.After(m.end) {
		m.idle = m.end
	}
}

// SEC-114 to SEC-121: whatever is presented in whatever order, the family does
// what the plain model says, and never has two live values.
func TestRefreshFollowsModel(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.client(t, func(c *tenant.Client) {
		c.Refresh.LeewaySeconds, c.Refresh.IdleTokenLifetimeSeconds, c.Refresh.TokenLifetimeSeconds =
			int64(modelLeeway.Seconds()), int64(modelIdle.Seconds()), int64(modelEnd.Seconds())
	})
	rapid.Check(t, func(r *rapid.T) {
		u := f.user(t)
		first := f.mustExchange(t, codeRequest(c, f.code(t, c, u, func(code *tenant.Code) { code.Scopes = []string{"offline_access"} })))
		now := f.clock.Now()
		m := &model{values: []string{first.RefreshToken}, idle: now.Add(modelIdle), end: now.Add(modelEnd)}
		access := []string{first.AccessToken}
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"live", "live", "live", "predecessor", "any", "wait", "revoke", "block"}).Draw(r, "step") {
			case "live":
				f.presentInModel(t, r, c, m, len(m.values)-1, &access)
			case "predecessor":
				f.presentInModel(t, r, c, m, max(len(m.values)-2, 0), &access)
			case "any":
				f.presentInModel(t, r, c, m, rapid.IntRange(0, len(m.values)-1).Draw(r, "generation"), &access)
			case "wait":
				f.clock.Advance(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, modelLeeway - time.Millisecond, modelLeeway, modelIdle - time.Millisecond,
				}).Draw(r, "wait"))
			case "revoke":
				g := rapid.IntRange(0, len(m.values)-1).Draw(r, "revoked")
				if err := f.revoke(t, c, m.values[g]); err != nil {
					r.Fatalf("revoke: %v", err)
				}
				m.dead = true
			case "block":
				m.blocked = !m.blocked
				f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = m.blocked })
			}
		}
		if m.dead { // no token outlives its family
			for _, raw := range access {
				if _, err := f.Authenticate(t.Context(), f.tenant(t), raw); !errors.Is(err, tenant.ErrTokenInactive) {
					r.Fatalf("an access token of an ended family: %v", err)
				}
			}
		}
	})
}

func (f *fixture) presentInModel(t *testing.T, r *rapid.T, c tenant.Client, m *model, g int, access *[]string) {
	dead := m.dead
	granted, newValue := m.present(g, f.clock.Now())
	got, err := f.exchange(t, refreshRequest(c, m.values[g]))
	if (err == nil) != granted {
		r.Fatalf("generation %d of %d: %v, the model says granted = %v", g, len(m.values)-1, err, granted)
	}
	if err != nil {
		if e := oauth.AsError(err); e.Status != 403 && e.Status != 429 {
			r.Fatalf("refused with %v", err)
		}
		if family := f.family(t, m.values[0]); family.RevokedAt.IsZero() == m.dead {
			r.Fatalf("the family's end is %q (before: %v), the model says dead = %v", family.RevokedReason, dead, m.dead)
		}
		return
	}
	*access = append(*access, got.AccessToken)
	if newValue {
		m.values = append(m.values, got.RefreshToken)
	} else if got.RefreshToken != m.values[len(m.values)-1] {
		r.Fatal("a repeat got another successor")
	}
}
