package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var concurrencyTests = map[string]func(*testing.T, *world){
	"eight rotations of one token: one wins (SEC-114)": func(t *testing.T, w *world) {
		for generation := range uint32(10) {
			r := w.rotation(t, seed, tenant.Rotate)
			equal(t, "answers", together(8, func(int) error { return w.RotateRefreshToken(w.ctx, r) }), map[string]int{"ok": 1, "conflict": 7})
			f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
			must(t, err)
			equal(t, "generation", f.Generation, generation+1)
		}
		equal(t, "events", w.count(t, "sertft"), 10)
	},
	"a hundred replays and keeps of one token: all win": func(t *testing.T, w *world) {
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Rotate)))
		replay := w.rotation(t, seed, tenant.Replay)
		equal(t, "replays", together(100, func(int) error { return w.RotateRefreshToken(w.ctx, replay) }), map[string]int{"ok": 100})
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "repeats", f.Repeats, 100)
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Stay)))
		keep := w.rotation(t, seed, tenant.Keep)
		equal(t, "keeps", together(100, func(int) error { return w.RotateRefreshToken(w.ctx, keep) }), map[string]int{"ok": 100})
	},
	"64 redemptions of one code: one wins (SEC-50)": func(t *testing.T, w *world) {
		g := w.guard(t, w.a.ID)
		equal(t, "answers", together(64, func(n int) error {
			i := issue(family(w.a.ID, tenant.FamilyID(fmt.Sprintf("rt_%d", n))))
			return w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "code", At: noon, Guard: g, Issue: &i, Event: event("seacft")})
		}), map[string]int{"ok": 1, "conflict": 63})
		c, err := w.Code(w.ctx, w.a.ID, "code")
		must(t, err)
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), sorted(c.FamilyID, seed))
	},
	"64 uses of one assertion: one wins (SEC-11)": func(t *testing.T, w *world) {
		equal(t, "answers", together(64, func(int) error { return w.UseAssertion(w.ctx, w.a.ID, "client", "jti", noon.Add(time.Minute)) }),
			map[string]int{"ok": 1, "exists": 63})
	},
	"64 users with one address: one wins": func(t *testing.T, w *world) {
		equal(t, "answers", together(64, func(n int) error {
			u := user(w.a.ID, fmt.Sprintf("auth0|n%d", n), "same@example.com")
			return w.CreateUser(w.ctx, u, "", event("ss"))
		}), map[string]int{"ok": 1, "exists": 63})
	},
	"a thousand issues never leave more than the limit alive (SEC-112)": func(t *testing.T, w *world) {
		g := w.guard(t, w.a.ID)
		ctx, stop := context.WithCancel(w.ctx)
		watched := make(chan error, 1)
		go func() { // looks at every instant it can
			for ctx.Err() == nil {
				l, err := w.RefreshTokens(ctx, w.a.ID, tenant.RefreshTokenFilter{}, tenant.Page{Total: true, Empty: true})
				if ctx.Err() != nil {
					break
				}
				if err == nil && l.Total > 20 {
					err = fmt.Errorf("%d live families", l.Total)
				}
				if err != nil {
					watched <- err
					return
				}
			}
			watched <- nil
		}()
		answers := together(1000, func(n int) error {
			f := family(w.a.ID, tenant.FamilyID(fmt.Sprintf("rt_%d", n)))
			f.CreatedAt = noon.Add(time.Duration(n) * time.Millisecond)
			i := issue(f)
			i.Limit = 20
			return w.IssueRefreshToken(w.ctx, i, g, event("sepft"))
		})
		stop()
		must(t, <-watched)
		equal(t, "answers", answers, map[string]int{"ok": 1000})
		equal(t, "live families", len(w.ids(t, tenant.RefreshTokenFilter{})), 20)
	},
	"no rotation outlives a revocation that was acknowledged (SEC-124)": func(t *testing.T, w *world) {
		for round := range 20 {
			id := tenant.FamilyID(fmt.Sprintf("rt_%d", round))
			must(t, w.IssueRefreshToken(w.ctx, issue(family(w.a.ID, id)), w.guard(t, w.a.ID), event("sepft")))
			g := w.guard(t, w.a.ID)
			answers := together(9, func(n int) error {
				if n == 0 {
					return w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: id, At: noon, Reason: "revoked_by_admin", Event: event("srrt")})
				}
				for { // a client that goes on until it is refused
					f, err := w.RefreshToken(w.ctx, w.a.ID, id)
					if err != nil || !f.RevokedAt.IsZero() {
						return err
					}
					err = w.RotateRefreshToken(w.ctx, tenant.Rotation{TenantID: w.a.ID, ID: id, Guard: g, Generation: f.Generation, WasRotating: true,
						NowRotating: true, At: noon, NewKeyVersion: 1, ExpiresAt: f.ExpiresAt, IdleExpiresAt: f.IdleExpiresAt})
					if err != nil && !errors.Is(err, tenant.ErrConflict) {
						return err
					}
				}
			})
			equal(t, "answers", answers, map[string]int{"ok": 9})
		}
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{seed})
	},
	"no family outlives the deletion of its user or client": func(t *testing.T, w *world) {
		g := w.guard(t, w.a.ID)
		answers := together(33, func(n int) error {
			switch n {
			case 0:
				return w.DeleteUser(w.ctx, deletion(w.a.ID, "auth0|u1", "sdu"))
			default:
				err := w.IssueRefreshToken(w.ctx, issue(family(w.a.ID, tenant.FamilyID(fmt.Sprintf("rt_%d", n)))), g, event("sepft"))
				if errors.Is(err, tenant.ErrConflict) {
					return nil
				}
				return err
			}
		})
		equal(t, "answers", answers, map[string]int{"ok": 33})
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{})
	},
	"writes of configuration: none is lost": func(t *testing.T, w *world) {
		before, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "answers", together(32, func(n int) error {
			_, err := w.UpdateConnection(w.ctx, w.a.ID, "con_1", func(c tenant.Connection) (tenant.Connection, error) {
				return connection("con_1", "Users", append(c.EnabledClients, fmt.Sprintf("c%d", n))...), nil
			}, event("sapi"))
			return err
		}), map[string]int{"ok": 32})
		c, err := w.ConnectionByID(w.ctx, w.a.ID, "con_1")
		must(t, err)
		equal(t, "enabled clients", len(c.EnabledClients), 33)
		after, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "configuration version", after.ConfigVersion, before.ConfigVersion+32)
	},
	"one write's refusal does not touch the others of its group": func(t *testing.T, w *world) {
		answers := together(60, func(n int) error {
			switch n % 3 {
			case 0:
				return w.CreateClient(w.ctx, inTenant(client("client"), w.a.ID), event("sapi")) // taken
			case 1:
				r := w.rotation(t, seed, tenant.Rotate)
				r.Generation = 99
				return w.RotateRefreshToken(w.ctx, r)
			}
			return w.DenyAuthorization(w.ctx, w.a.ID, fmt.Sprintf("h%d", n), noon.Add(time.Minute), event("srrt"))
		})
		equal(t, "answers", answers, map[string]int{"exists": 20, "conflict": 20, "ok": 20})
		equal(t, "events", w.count(t, "srrt"), 20)
	},
	"a caller that goes away undoes nobody's write": func(t *testing.T, w *world) {
		answers := together(200, func(n int) error {
			ctx, cancel := context.WithCancel(w.ctx)
			if n%2 == 0 {
				cancel()
			}
			defer cancel()
			err := w.DenyAuthorization(ctx, w.a.ID, fmt.Sprintf("h%d", n), noon.Add(time.Minute), tenant.Event{})
			if n%2 == 0 && (errors.Is(err, context.Canceled) || errors.Is(err, tenant.ErrUnknownOutcome)) {
				return nil
			}
			return err
		})
		equal(t, "answers", answers, map[string]int{"ok": 200})
		for n := 1; n < 200; n += 2 {
			denied, err := w.Denied(w.ctx, w.a.ID, fmt.Sprintf("h%d", n), noon)
			must(t, err)
			equal(t, "acknowledged entry", denied, true)
		}
	},
}

func sorted(a, b tenant.FamilyID) []tenant.FamilyID {
	if b < a {
		a, b = b, a
	}
	return []tenant.FamilyID{a, b}
}
