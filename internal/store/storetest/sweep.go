package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const day = 24 * time.Hour

// sweepTests: what has ended leaves when its time has come, and not before
// (SEC-235, SEC-121).
var sweepTests = map[string]func(*testing.T, *world){
	"what has ended leaves on its day": func(t *testing.T, w *world) {
		w.aged = true
		endless := family(w.a.ID, "rt_endless")
		endless.ExpiresAt, endless.IdleExpiresAt = time.Time{}, time.Time{}
		must(t, w.IssueRefreshToken(w.ctx, issue(endless), w.guard(t, w.a.ID), event("sepft")))
		revoked := family(w.a.ID, "rt_revoked")
		revoked.ExpiresAt, revoked.IdleExpiresAt = time.Time{}, time.Time{}
		must(t, w.IssueRefreshToken(w.ctx, issue(revoked), w.guard(t, w.a.ID), event("sepft")))
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: revoked.ID, At: noon, Reason: "x", DeniedHash: "h", DeniedUntil: noon.Add(time.Hour)}))
		must(t, w.CreateTransaction(w.ctx, tenant.Transaction{TenantID: w.a.ID, ID: "tx", CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}))
		must(t, w.UseAssertion(w.ctx, w.a.ID, "client", "jti", noon.Add(time.Minute)))

		present := func() map[string]bool {
			found := func(err error) bool { return err == nil }
			_, tx := w.Transaction(w.ctx, w.a.ID, "tx")
			_, ended := w.RefreshToken(w.ctx, w.a.ID, "rt_revoked")
			_, idle := w.RefreshToken(w.ctx, w.a.ID, seed)
			_, live := w.RefreshToken(w.ctx, w.a.ID, "rt_endless")
			_, code := w.Code(w.ctx, w.a.ID, "code")
			_, sid := w.Session(w.ctx, w.a.ID, "sid")
			return map[string]bool{"transaction": found(tx), "revoked": found(ended), "idle": found(idle), "live": found(live), "code": found(code), "session": found(sid),
				"events": w.count(t, "sepft") > 0}
		}
		at := func(d time.Duration, want map[string]bool) {
			w.clock.Advance(noon.Add(d).Sub(w.clock.Now()))
			_, err := w.Sweep(w.ctx)
			must(t, err)
			equal(t, "present after "+d.String(), present(), want)
		}
		all := map[string]bool{"transaction": true, "revoked": true, "idle": true, "live": true, "code": true, "session": true, "events": true}
		at(time.Hour+time.Minute, all)
		all["transaction"], all["code"] = false, false
		at(time.Hour+time.Minute+time.Millisecond, all)
		is(t, "an assertion is used up until its end is well past", w.UseAssertion(w.ctx, w.a.ID, "client", "later", noon), nil)
		at(30*day, all)
		all["revoked"] = false
		at(30*day+time.Millisecond, all)
		all["events"] = false
		at(30*day+time.Second, all)
		at(33*day, all)
		all["session"] = false
		at(33*day+time.Millisecond, all)
		at(45*day, all)
		all["idle"] = false
		at(45*day+time.Millisecond, all)
		n, err := w.Sweep(w.ctx)
		must(t, err)
		equal(t, "rows in a second pass", n, 0)
	},
	"events are bounded by number": func(t *testing.T, w *world) {
		for n := range 300 {
			w.Record(tenant.Event{TenantID: w.a.ID, Type: "seccft", At: noon, Reason: fmt.Sprint(n)})
		}
		last := tenant.EventQuery{Where: &tenant.Condition{Op: "eq", Field: "reason", Value: "299"}}
		for {
			l, err := w.Events(w.ctx, w.a.ID, last, tenant.Page{})
			must(t, err)
			if len(l.Items) > 0 {
				break
			}
			must(t, w.Ping(w.ctx))
		}
		_, err := w.Sweep(w.ctx)
		must(t, err)
		l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{}, tenant.Page{Total: true})
		must(t, err)
		if l.Total > 200 {
			t.Errorf("%d events, limit 200", l.Total)
		}
	},
}
