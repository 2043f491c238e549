package storetest

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// guardTests: what a request judged is read again inside its write (SEC-3,
// SEC-124). Each change, made after the request judged, makes every guarded write
// a conflict that changes nothing.
var guardTests = map[string]func(*testing.T, *world){
	"configuration": guarded(func(t *testing.T, w *world) {
		must(t, w.CreateClient(w.ctx, inTenant(client("new"), w.a.ID), event("sapi")))
	}),
	"user changed": guarded(func(t *testing.T, w *world) {
		_, err := w.UpdateUser(w.ctx, w.a.ID, "auth0|u1", func(u tenant.User) (tenant.User, error) { u.Blocked = true; return u, nil }, "", event("sapi"))
		must(t, err)
	}),
	"session ended": guarded(func(t *testing.T, w *world) { must(t, w.EndSession(w.ctx, w.a.ID, "sid", event("slo"))) }),
	"consent deleted": guarded(func(t *testing.T, w *world) {
		must(t, w.DeleteConsents(w.ctx, w.a.ID, tenant.ConsentFilter{ID: "ccc1"}, tenant.Deletion{TenantID: w.a.ID, At: noon, Event: event("sapi")}))
	}),
	"session expired": func(t *testing.T, w *world) {
		g := w.guard(t, w.a.ID)
		g.SessionID = "sid"
		f := family(w.a.ID, "rt_new")
		f.CreatedAt = noon.Add(72 * time.Hour) // the session's idle deadline
		is(t, "issue", w.IssueRefreshToken(w.ctx, issue(f), g, event("sepft")), tenant.ErrConflict)
		f.CreatedAt = f.CreatedAt.Add(-time.Millisecond)
		must(t, w.IssueRefreshToken(w.ctx, issue(f), g, event("sepft")))
	},
	"user deleted": func(t *testing.T, w *world) {
		g := w.guard(t, w.a.ID)
		must(t, w.DeleteUser(w.ctx, tenant.Deletion{TenantID: w.a.ID, ID: "auth0|u1", At: noon, Event: event("sdu")}))
		is(t, "issue", w.IssueRefreshToken(w.ctx, issue(family(w.a.ID, "rt_new")), g, event("sepft")), tenant.ErrConflict)
	},
}

func guarded(change func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		must(t, w.CreateTransaction(w.ctx, tenant.Transaction{TenantID: w.a.ID, ID: "tx", CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}))
		g := w.guard(t, w.a.ID)
		g.SessionID, g.ConsentID = "sid", "ccc1"
		rotation := w.rotation(t, seed, tenant.Rotate)
		rotation.Guard = g
		i := issue(family(w.a.ID, "rt_new"))
		change(t, w)

		before := w.picture2(t)
		is(t, "rotate", w.RotateRefreshToken(w.ctx, rotation), tenant.ErrConflict)
		is(t, "issue", w.IssueRefreshToken(w.ctx, i, g, event("sepft")), tenant.ErrConflict)
		is(t, "redeem", w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "code", At: noon, Guard: g, Issue: &i, Event: event("seacft")}), tenant.ErrConflict)
		is(t, "answer", w.Answer(w.ctx, tenant.Grant{TenantID: w.a.ID, At: noon, Guard: g, Code: code(w.a.ID, "c2"), TransactionID: "tx", Event: event("s")}), tenant.ErrConflict)
		equal(t, "state after the conflicts", w.picture2(t), before)
		c, err := w.Code(w.ctx, w.a.ID, "code")
		must(t, err)
		equal(t, "the code is not used up (REL-9)", c.RedeemedAt.IsZero(), true)
	}
}

// picture2 is what the guarded writes could have changed.
func (w *world) picture2(t *testing.T) []any {
	t.Helper()
	families, err := w.RefreshTokens(w.ctx, w.a.ID, tenant.RefreshTokenFilter{Ended: true}, tenant.Page{})
	must(t, err)
	_, noCode := w.Code(w.ctx, w.a.ID, "c2")
	_, noTransaction := w.Transaction(w.ctx, w.a.ID, "tx")
	return []any{families, noCode, noTransaction, w.count(t, "sertft"), w.count(t, "seacft"), w.count(t, "s")}
}
