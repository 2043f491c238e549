package storetest

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var tenantTests = map[string]func(*testing.T, *world){
	"a test tenant has a clock that goes forward, and leaves whole": func(t *testing.T, w *world) {
		x := tenant.Tenant{ID: "ten_test", Domain: "localhost:1", CreatedAt: noon, DataKey: "k", Settings: settings(`{}`), Test: true}
		must(t, w.CreateTenant(w.ctx, tenant.Founding{Tenant: x, Event: event("founded")}))
		w.seed(t, x.ID)
		for i, d := range []time.Duration{time.Hour, -time.Hour, time.Second} {
			got, err := w.AdvanceTenant(w.ctx, x.ID, d)
			must(t, err)
			equal(t, "advanced", got, []time.Duration{time.Hour, time.Hour, time.Hour + time.Second}[i])
		}
		read, err := w.TenantByHost(w.ctx, "localhost:1")
		must(t, err)
		equal(t, "read", []any{read.Test, read.Advanced}, []any{true, time.Hour + time.Second})

		must(t, w.DeleteTestTenant(w.ctx, x.ID))
		w.gone(t, "tenant", errOf(w.Tenant(w.ctx, x.ID)))
		w.gone(t, "tenant by host", errOf(w.TenantByHost(w.ctx, "localhost:1")))
		w.gone(t, "user", errOf(w.User(w.ctx, x.ID, "auth0|u1")))
		w.gone(t, "family", errOf(w.RefreshToken(w.ctx, x.ID, seed)))
		l, err := w.Events(w.ctx, x.ID, tenant.EventQuery{}, tenant.Page{})
		must(t, err)
		equal(t, "events", len(l.Items), 0)
		is(t, "again", w.DeleteTestTenant(w.ctx, x.ID), tenant.ErrNotFound)
	},
	"a real tenant has no such clock and stays": func(t *testing.T, w *world) {
		w.gone(t, "clock", errOf(w.AdvanceTenant(w.ctx, w.a.ID, time.Hour)))
		is(t, "delete", w.DeleteTestTenant(w.ctx, w.a.ID), tenant.ErrNotFound)
		x, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "tenant", []any{x.Test, x.Advanced}, []any{false, time.Duration(0)})
	},
}
