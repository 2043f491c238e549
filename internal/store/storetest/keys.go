package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var keyTests = map[string]func(*testing.T, *world){
	"eight rotations of keys at once: one wins, and one key is current (SEC-141)": func(t *testing.T, w *world) {
		must(t, w.AddSigningKey(w.ctx, signingKey(w.a.ID, "next0", tenant.KeyNext), event("kms")))
		current, next := "kid", "next0"
		for round := range 5 {
			at := noon.Add(time.Duration(round) * time.Minute)
			answers := together(8, func(n int) error {
				return w.RotateSigningKeys(w.ctx, tenant.KeyRotation{TenantID: w.a.ID, At: at, Event: event("rotated"), Warning: event("warned"), Moves: []tenant.KeyMove{
					{From: current, To: next, Next: signingKey(w.a.ID, fmt.Sprintf("r%d_%d", round, n), tenant.KeyNext)},
				}})
			})
			equal(t, "answers", answers, map[string]int{"ok": 1, "conflict": 7})
			states := w.keyStates(t)
			equal(t, "current", states[tenant.KeyCurrent], []string{next})
			equal(t, "number of next keys", len(states[tenant.KeyNext]), 1)
			equal(t, "number of previous keys", len(states[tenant.KeyPrevious]), round+1)
			current, next = next, states[tenant.KeyNext][0]
		}
		equal(t, "events", []int{w.count(t, "rotated"), w.count(t, "warned")}, []int{5, 5})
	},
	"a rotation is all or nothing": func(t *testing.T, w *world) {
		before := w.keyStates(t)
		version := w.guard(t, w.a.ID).ConfigVersion
		is(t, "no such next key", w.RotateSigningKeys(w.ctx, tenant.KeyRotation{TenantID: w.a.ID, At: noon, Event: event("rotated"), Moves: []tenant.KeyMove{
			{From: "kid", To: "nobody", Next: signingKey(w.a.ID, "new", tenant.KeyNext)},
		}}), tenant.ErrConflict)
		equal(t, "states", w.keyStates(t), before)
		equal(t, "configuration version", w.guard(t, w.a.ID).ConfigVersion, version)
	},
	"a key leaves the key set as judged, and comes back (SEC-142)": func(t *testing.T, w *world) {
		change := tenant.KeyChange{TenantID: w.a.ID, Kid: "old", From: tenant.KeyPrevious, To: tenant.KeyRevoked, At: noon, Event: event("revoked")}
		for kid, state := range map[string]tenant.KeyState{"old": tenant.KeyPrevious, "next": tenant.KeyNext} {
			must(t, w.AddSigningKey(w.ctx, signingKey(w.a.ID, kid, state), event("kms")))
		}
		for _, kid := range []string{"kid", "next", "nobody"} {
			c := change
			c.Kid, c.LongestLifetime = kid, tenant.AnyLifetime
			is(t, "revoke "+kid, w.ChangeSigningKey(w.ctx, c), tenant.ErrConflict)
			c.From = tenant.KeyCurrent
			is(t, "revoke as current "+kid, w.ChangeSigningKey(w.ctx, c), tenant.ErrConflict)
		}
		must(t, w.ExtendSigningKey(w.ctx, w.a.ID, "old", time.Hour))
		must(t, w.ExtendSigningKey(w.ctx, w.a.ID, "old", time.Minute))
		is(t, "it has signed since", w.ChangeSigningKey(w.ctx, change), tenant.ErrConflict)
		change.LongestLifetime = time.Hour
		must(t, w.ChangeSigningKey(w.ctx, change))
		is(t, "again", w.ChangeSigningKey(w.ctx, change), tenant.ErrConflict)
		is(t, "a removed key signs", w.ExtendSigningKey(w.ctx, w.a.ID, "old", time.Minute), tenant.ErrConflict)
		is(t, "a next key signs", w.ExtendSigningKey(w.ctx, w.a.ID, "next", time.Minute), tenant.ErrConflict)
		keys, err := w.SigningKeys(w.ctx, w.a.ID)
		must(t, err)
		for _, k := range keys {
			if k.Kid == "old" {
				equal(t, "removed", []any{k.State, k.RevokedAt, k.Private, k.LongestLifetime}, []any{tenant.KeyRevoked, noon, "", time.Hour})
			}
		}
		must(t, w.ChangeSigningKey(w.ctx, tenant.KeyChange{TenantID: w.a.ID, Kid: "old", From: tenant.KeyRevoked, To: tenant.KeyPrevious, At: noon}))
		equal(t, "previous", w.keyStates(t)[tenant.KeyPrevious], []string{"old"})
		change.LongestLifetime = tenant.AnyLifetime
		must(t, w.ChangeSigningKey(w.ctx, change))
	},
	"signatures are added up and forgotten with the tokens": func(t *testing.T, w *world) {
		now := w.clock.Now()
		soon, late := now.Add(time.Hour).Truncate(time.Millisecond), now.Add(2*time.Hour).Truncate(time.Millisecond)
		counts := []tenant.SignatureCount{{Kid: "kid", Until: soon, Signed: 2}, {Kid: "kid", Until: late, Signed: 3}}
		equal(t, "answers", together(8, func(int) error { return w.CountSignatures(w.ctx, w.a.ID, counts) }), map[string]int{"ok": 8})
		got, err := w.Signatures(w.ctx, w.a.ID, now)
		must(t, err)
		equal(t, "counts", got, []tenant.SignatureCount{{Kid: "kid", Until: soon, Signed: 16}, {Kid: "kid", Until: late, Signed: 24}})
		got, err = w.Signatures(w.ctx, w.a.ID, soon)
		must(t, err)
		equal(t, "alive later", got, []tenant.SignatureCount{{Kid: "kid", Until: late, Signed: 24}})
	},
	"the first key set is what every node served": func(t *testing.T, w *world) {
		_, err := w.FirstKeySet(w.ctx, w.a.ID)
		is(t, "before", err, tenant.ErrNotFound)
		sets := [][]string{{"a", "b"}, {"a"}, {"a", "b", "c"}}
		equal(t, "answers", together(9, func(n int) error { return w.KeySetServed(w.ctx, w.a.ID, sets[n%3]) }), map[string]int{"ok": 9})
		first, err := w.FirstKeySet(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "first set", first, []string{"a"})
	},
}

func signingKey(tenantID, kid string, state tenant.KeyState) tenant.SigningKey {
	return tenant.SigningKey{TenantID: tenantID, Kid: kid, Algorithm: "RSA", State: state, Private: "sealed", Public: "pub", CreatedAt: noon}
}

// keyStates lists the kids in each state.
func (w *world) keyStates(t *testing.T) map[tenant.KeyState][]string {
	t.Helper()
	keys, err := w.SigningKeys(w.ctx, w.a.ID)
	must(t, err)
	out := make(map[tenant.KeyState][]string)
	for _, k := range keys {
		out[k.State] = append(out[k.State], k.Kid)
	}
	return out
}
