package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func deviceCode(tenantID, hash string) tenant.DeviceCode {
	return tenant.DeviceCode{
		TenantID: tenantID, Hash: hash, UserCode: "hash of user code of " + hash, ClientID: "client", Audience: "https://api.test/",
		RequestedScope: "openid", Device: tenant.Device{InitialIP: "192.0.2.7"}, CreatedAt: noon, ExpiresAt: noon.Add(15 * time.Minute),
	}
}

func (w *world) try(code string) tenant.CodeTry {
	return tenant.CodeTry{TenantID: w.a.ID, UserCode: code, Browser: "b", Source: "s", BrowserLimit: 10, SourceLimit: 12, Window: time.Hour, At: w.clock.Now()}
}

// decision is the first user's yes to a device.
func (w *world) decision(t *testing.T, d tenant.DeviceCode) tenant.DeviceDecision {
	t.Helper()
	tx := tenant.Transaction{TenantID: w.a.ID, ID: "tx of " + d.Hash, Request: []byte(`{}`), CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	must(t, w.CreateTransaction(w.ctx, tx))
	d.UserID, d.Decision, d.DecidedAt, d.Scopes, d.AuthTime, d.AMR = "auth0|u1", tenant.DeviceAllowed, w.clock.Now(), []string{"openid"}, noon, []string{"pwd"}
	return tenant.DeviceDecision{
		TenantID: w.a.ID, At: w.clock.Now(), Guard: w.guard(t, w.a.ID), Device: d, Consent: consent(w.a.ID), TransactionID: tx.ID,
		SessionID: "sid", IdleExpiresAt: noon.Add(time.Hour), Event: event("s"),
	}
}

// deviceTests are about RFC 8628 (SEC-66, REL-7).
var deviceTests = map[string]func(*testing.T, *world){
	"a device from its first step to its family": func(t *testing.T, w *world) {
		d := deviceCode(w.a.ID, "dev")
		must(t, w.CreateDeviceCode(w.ctx, d))
		second := deviceCode(w.a.ID, "dev2")
		second.UserCode = d.UserCode
		is(t, "a user code in use", w.CreateDeviceCode(w.ctx, second), tenant.ErrExists)
		got, err := w.DeviceCode(w.ctx, w.a.ID, "dev")
		must(t, err)
		equal(t, "as it was made", got, d)
		found, err := w.FindUserCode(w.ctx, w.try(d.UserCode))
		must(t, err)
		equal(t, "found by its user code", found, d)
		w.gone(t, "at the other tenant", errOf(w.DeviceCode(w.ctx, w.b.ID, "dev")))

		redemption := tenant.Redemption{TenantID: w.a.ID, CodeHash: "dev", At: noon, Guard: w.guard(t, w.a.ID), Event: event("sede")}
		is(t, "redeemed before the yes", w.RedeemDeviceCode(w.ctx, redemption), tenant.ErrConflict)
		must(t, w.PollDeviceCode(w.ctx, w.a.ID, "dev", noon, noon.Add(-5*time.Second)))
		is(t, "polled again too soon", w.PollDeviceCode(w.ctx, w.a.ID, "dev", noon.Add(time.Second), noon.Add(-4*time.Second)), tenant.ErrConflict)
		must(t, w.PollDeviceCode(w.ctx, w.a.ID, "dev", noon.Add(5*time.Second), noon))

		yes := w.decision(t, d)
		must(t, w.DecideDevice(w.ctx, yes))
		got, err = w.DeviceCode(w.ctx, w.a.ID, "dev")
		must(t, err)
		want := yes.Device
		want.ConsentID, want.PolledAt = "ccc1", noon.Add(5*time.Second)
		equal(t, "as it was allowed", got, want)
		w.gone(t, "the transaction", errOf(w.Transaction(w.ctx, w.a.ID, yes.TransactionID)))
		w.gone(t, "its user code", errOf(w.FindUserCode(w.ctx, w.try(d.UserCode))))
		no := w.decision(t, d)
		is(t, "a second decision", w.DecideDevice(w.ctx, no), tenant.ErrConflict)

		i := issue(family(w.a.ID, "rt_device"))
		redemption.Issue = &i
		must(t, w.RedeemDeviceCode(w.ctx, redemption))
		is(t, "redeemed twice", w.RedeemDeviceCode(w.ctx, redemption), tenant.ErrConflict)
		got, err = w.DeviceCode(w.ctx, w.a.ID, "dev")
		must(t, err)
		equal(t, "what it issued", []any{got.RedeemedAt, got.FamilyID}, []any{noon, tenant.FamilyID("rt_device")})
	},
	"a decision that is too late, or about what has changed": func(t *testing.T, w *world) {
		d := deviceCode(w.a.ID, "dev")
		must(t, w.CreateDeviceCode(w.ctx, d))
		late := w.decision(t, d)
		late.At = d.ExpiresAt
		is(t, "at the deadline", w.DecideDevice(w.ctx, late), tenant.ErrConflict)
		late.At, late.Guard.UserVersion = noon, 99
		is(t, "another user", w.DecideDevice(w.ctx, late), tenant.ErrConflict)
		must(t, w.TellDeviceExpired(w.ctx, w.a.ID, "dev", event("fede")))
		is(t, "told twice", w.TellDeviceExpired(w.ctx, w.a.ID, "dev", event("fede")), tenant.ErrConflict)
		equal(t, "events", w.count(t, "fede"), 1)
	},
	"wrong user codes are counted by browser and source": func(t *testing.T, w *world) {
		d := deviceCode(w.a.ID, "dev")
		d.ExpiresAt = noon.Add(24 * time.Hour)
		must(t, w.CreateDeviceCode(w.ctx, d))
		answers := together(40, func(int) error { return errOf(w.FindUserCode(w.ctx, w.try("wrong"))) })
		equal(t, "of 40 at once", answers, map[string]int{tenant.ErrNotFound.Error(): 10, tenant.ErrLimited.Error(): 30})
		is(t, "the right one", errOf(w.FindUserCode(w.ctx, w.try(d.UserCode))), tenant.ErrLimited)
		other := w.try("wrong")
		for n := range 2 {
			other.Browser = fmt.Sprint("b", n)
			w.gone(t, "another browser", errOf(w.FindUserCode(w.ctx, other)))
		}
		is(t, "the source's last", errOf(w.FindUserCode(w.ctx, other)), tenant.ErrLimited)
		elsewhere := w.try(d.UserCode)
		elsewhere.Browser, elsewhere.Source = "", "s2"
		must(t, errOf(w.FindUserCode(w.ctx, elsewhere)))
		w.clock.Advance(time.Hour)
		must(t, errOf(w.FindUserCode(w.ctx, w.try(d.UserCode))))
	},
	"a device goes with its user and its client, and when its time has come": func(t *testing.T, w *world) {
		for _, hash := range []string{"dev", "dev2", "dev3"} {
			must(t, w.CreateDeviceCode(w.ctx, deviceCode(w.a.ID, hash)))
		}
		yes := w.decision(t, deviceCode(w.a.ID, "dev"))
		must(t, w.DecideDevice(w.ctx, yes))
		must(t, w.DeleteUser(w.ctx, deletion(w.a.ID, "auth0|u1", "sdu")))
		w.gone(t, "the deleted user's", errOf(w.DeviceCode(w.ctx, w.a.ID, "dev")))
		w.aged = true
		w.clock.Advance(15*time.Minute + time.Hour)
		must(t, errOf(w.Sweep(w.ctx)))
		must(t, errOf(w.DeviceCode(w.ctx, w.a.ID, "dev2")))
		must(t, w.DeleteClient(w.ctx, deletion(w.a.ID, "client", "sapi")))
		w.gone(t, "the deleted client's", errOf(w.DeviceCode(w.ctx, w.a.ID, "dev2")))
		again := deviceCode(w.a.ID, "dev4")
		must(t, w.CreateDeviceCode(w.ctx, again))
		w.clock.Advance(time.Millisecond)
		must(t, errOf(w.Sweep(w.ctx)))
		w.gone(t, "an old one", errOf(w.DeviceCode(w.ctx, w.a.ID, "dev4")))
	},
}
