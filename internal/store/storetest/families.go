package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// seed is the family every world begins with.
const seed = tenant.FamilyID("rt_seed")

var familyTests = map[string]func(*testing.T, *world){
	"rotation makes the next generation (SEC-114)": func(t *testing.T, w *world) {
		w.clock.Advance(time.Hour)
		r := w.rotation(t, seed, tenant.Rotate)
		r.Device = tenant.Device{Name: "phone", LastIP: "192.0.2.9"}
		must(t, w.RotateRefreshToken(w.ctx, r))
		want := family(w.a.ID, seed)
		want.Generation, want.KeyVersion, want.Attempt, want.PreviousAttempt = 1, 2, "attempt", "first"
		want.RotatedAt, want.LastExchangedAt, want.IdleExpiresAt, want.Device = r.At, r.At, r.IdleExpiresAt, r.Device
		got, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "family", got, want)
		is(t, "the same rotation again", w.RotateRefreshToken(w.ctx, r), tenant.ErrConflict)
		equal(t, "timeline", w.count(t, "sertft"), 1)
	},
	"a replay inside the leeway changes nothing but its count (SEC-116)": func(t *testing.T, w *world) {
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Rotate)))
		for range 100 {
			must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Replay)))
		}
		is(t, "the 101st", w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Replay)), tenant.ErrConflict)
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "generation, attempt, repeats, rotated", []any{f.Generation, f.Attempt, f.Repeats, f.RotatedAt}, []any{uint32(1), "attempt", 100, noon})
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Rotate)))
		f, err = w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "repeats after a rotation", f.Repeats, 0)
	},
	"a replay of a value whose successor was used conflicts": func(t *testing.T, w *world) {
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Rotate)))
		replay := w.rotation(t, seed, tenant.Replay)
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Rotate)))
		is(t, "replay", w.RotateRefreshToken(w.ctx, replay), tenant.ErrConflict)
	},
	"moving to a reusable value and back (SEC-111)": func(t *testing.T, w *world) {
		must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Stay)))
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "after stay", []any{f.Rotating, f.Generation, f.Used}, []any{false, uint32(1), false})
		replay := w.rotation(t, seed, tenant.Replay)
		must(t, w.RotateRefreshToken(w.ctx, replay)) // its predecessor may be repeated
		for range 2 {
			must(t, w.RotateRefreshToken(w.ctx, w.rotation(t, seed, tenant.Keep)))
		}
		is(t, "repeating the predecessor of a used value", w.RotateRefreshToken(w.ctx, replay), tenant.ErrConflict)
		f, err = w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "after keep", []any{f.Rotating, f.Generation, f.Used}, []any{false, uint32(1), true})

		for _, x := range []struct {
			id       tenant.FamilyID
			rotating bool
			audience string
		}{{"rt_sibling", false, f.Audience}, {"rt_rotating", true, f.Audience}, {"rt_elsewhere", false, "https://other.test/"}} {
			other := family(w.a.ID, x.id)
			other.Rotating, other.Audience = x.rotating, x.audience
			must(t, w.IssueRefreshToken(w.ctx, issue(other), w.guard(t, w.a.ID), event("sepft")))
		}
		r := w.rotation(t, seed, tenant.Rotate)
		r.DropSiblings = true
		must(t, w.RotateRefreshToken(w.ctx, r))
		equal(t, "families left", w.ids(t, tenant.RefreshTokenFilter{Ended: true}), []tenant.FamilyID{"rt_elsewhere", "rt_rotating", seed})
	},
	"an exchange remembers an added audience": func(t *testing.T, w *world) {
		for _, scopes := range [][]string{{"a"}, {"b", "a"}} {
			r := w.rotation(t, seed, tenant.Rotate)
			r.AddedAudience, r.AddedScopes = "https://added.test/", scopes
			must(t, w.RotateRefreshToken(w.ctx, r))
		}
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "resource servers", f.ResourceServers, []tenant.ResourcePolicy{
			{Audience: "https://other.test/", Scope: []string{"x"}}, {Audience: "https://added.test/", Scope: []string{"a", "b"}}})
	},
	"a deadline that becomes none is none": func(t *testing.T, w *world) {
		r := w.rotation(t, seed, tenant.Rotate)
		r.IdleExpiresAt, r.ExpiresAt = time.Time{}, time.Time{}
		must(t, w.RotateRefreshToken(w.ctx, r))
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "deadlines", []bool{f.IdleExpiresAt.IsZero(), f.ExpiresAt.IsZero()}, []bool{true, true})
		equal(t, "device kept", f.Device, family(w.a.ID, seed).Device)
	},
	"revoking ends the family with its denylist entry and event, once (SEC-120)": func(t *testing.T, w *world) {
		r := tenant.Revocation{TenantID: w.a.ID, ID: seed, At: noon, Reason: "reused", DeniedUntil: noon.Add(time.Hour), DeniedHash: "h", Event: event("srrt")}
		r.Event.FamilyID = seed
		must(t, w.RevokeFamily(w.ctx, r))
		r.Reason = "again"
		must(t, w.RevokeFamily(w.ctx, r))
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "revoked", []any{f.RevokedAt, f.RevokedReason}, []any{noon, "reused"})
		denied, err := w.Denied(w.ctx, w.a.ID, "h", noon)
		must(t, err)
		equal(t, "denied", denied, true)
		equal(t, "timeline", w.timeline(t, seed), []string{"srrt"})
		for _, kind := range []tenant.RotationKind{tenant.Rotate, tenant.Replay, tenant.Stay} {
			is(t, "exchange after the end (SEC-124)", w.RotateRefreshToken(w.ctx, w.rotation(t, seed, kind)), tenant.ErrConflict)
		}
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: "rt_unknown", At: noon}))
	},
	"revoking with the consent ends its other families (refresh-tokens.md §9.2)": func(t *testing.T, w *world) {
		sibling, elsewhere := family(w.a.ID, "rt_sibling"), family(w.a.ID, "rt_elsewhere")
		elsewhere.Audience = ""
		for _, f := range []tenant.RefreshToken{sibling, elsewhere} {
			must(t, w.IssueRefreshToken(w.ctx, issue(f), w.guard(t, w.a.ID), event("sepft")))
		}
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: seed, At: noon, Reason: "revoked_by_client", DeleteConsent: true,
			DeniedUntil: noon.Add(time.Hour), DeniedHash: familyHash(seed), FamilyHash: familyHash, Event: event("srrt")}))
		equal(t, "live", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{"rt_elsewhere"})
		for id, want := range map[tenant.FamilyID]bool{seed: true, "rt_sibling": true, "rt_elsewhere": false} {
			got, err := w.Denied(w.ctx, w.a.ID, familyHash(id), noon)
			must(t, err)
			equal(t, "denied "+string(id), got, want)
		}
		_, err := w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")
		is(t, "consent", err, tenant.ErrNotFound)
	},
	"the oldest live family beyond the limit is evicted (SEC-112)": func(t *testing.T, w *world) {
		add := func(id string, at time.Duration, change func(*tenant.RefreshToken)) {
			f := family(w.a.ID, tenant.FamilyID(id))
			f.CreatedAt = noon.Add(at)
			if change != nil {
				change(&f)
			}
			i := issue(f)
			i.Limit = 3
			must(t, w.IssueRefreshToken(w.ctx, i, w.guard(t, w.a.ID), event("sepft")))
		}
		add("rt_2", 2*time.Second, nil)
		add("rt_1", time.Second, nil)
		add("rt_other_client", 0, func(f *tenant.RefreshToken) { f.ClientID = "other" })
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: "rt_2", At: noon, Reason: "x"}))
		add("rt_expired", 3*time.Second, func(f *tenant.RefreshToken) { f.ExpiresAt = noon.Add(4 * time.Second) })
		equal(t, "before", w.ids(t, tenant.RefreshTokenFilter{ClientID: "client", Now: noon.Add(3 * time.Second)}), []tenant.FamilyID{seed, "rt_1", "rt_expired"})
		add("rt_4", 4*time.Second, nil) // neither the revoked nor the expired one counts
		equal(t, "room", w.ids(t, tenant.RefreshTokenFilter{ClientID: "client", Now: noon.Add(4 * time.Second)}), []tenant.FamilyID{seed, "rt_1", "rt_4"})
		add("rt_5", 5*time.Second, nil)
		equal(t, "evicted", w.ids(t, tenant.RefreshTokenFilter{ClientID: "client", Now: noon.Add(5 * time.Second)}), []tenant.FamilyID{"rt_1", "rt_4", "rt_5"})
		_, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		is(t, "the evicted row (SEC-121)", err, tenant.ErrNotFound)
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash(seed), noon)
		must(t, err)
		equal(t, "its access tokens are denied", denied, true)
		equal(t, "its timeline", w.timeline(t, seed), []string{"resource_cleanup"})
		equal(t, "other client", w.ids(t, tenant.RefreshTokenFilter{ClientID: "other"}), []tenant.FamilyID{"rt_other_client"})
	},
	"a lowered limit makes room at once": func(t *testing.T, w *world) {
		for n := range 9 {
			f := family(w.a.ID, tenant.FamilyID(fmt.Sprintf("rt_%d", n)))
			f.CreatedAt = noon.Add(time.Duration(n+1) * time.Second)
			must(t, w.IssueRefreshToken(w.ctx, issue(f), w.guard(t, w.a.ID), event("sepft")))
		}
		last := family(w.a.ID, "rt_last")
		last.CreatedAt = noon.Add(time.Minute)
		i := issue(last)
		i.Limit = 2
		must(t, w.IssueRefreshToken(w.ctx, i, w.guard(t, w.a.ID), event("sepft")))
		equal(t, "live", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{"rt_8", "rt_last"})
	},
	"metadata of a live family": func(t *testing.T, w *world) {
		got, err := w.SetRefreshTokenMetadata(w.ctx, w.a.ID, seed, map[string]string{"a": "b"}, event("sapi"))
		must(t, err)
		want := family(w.a.ID, seed)
		want.Metadata = map[string]string{"a": "b"}
		equal(t, "returned", got, want)
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: seed, At: noon}))
		_, err = w.SetRefreshTokenMetadata(w.ctx, w.a.ID, seed, nil, event("sapi"))
		is(t, "of an ended one", err, tenant.ErrNotFound)
	},
	"revoking by filter goes on until nothing is left": func(t *testing.T, w *world) {
		for n := range 5 {
			must(t, w.IssueRefreshToken(w.ctx, issue(family(w.a.ID, tenant.FamilyID(fmt.Sprintf("rt_%d", n)))), w.guard(t, w.a.ID), event("sepft")))
		}
		var counts []int
		for {
			n, err := w.RevokeFamilies(w.ctx, tenant.RefreshTokenFilter{UserID: "auth0|u1"}, tenant.Deletion{TenantID: w.a.ID, At: noon,
				Reason: "revoked_by_admin", FamilyHash: familyHash, DeniedUntil: noon.Add(time.Hour), Event: event("srrt")}, 4)
			must(t, err)
			counts = append(counts, n)
			if n == 0 {
				break
			}
		}
		equal(t, "counts", counts, []int{4, 2, 0})
		equal(t, "timeline", w.timeline(t, "rt_3"), []string{"srrt"})
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash("rt_3"), noon)
		must(t, err)
		equal(t, "denied", denied, true)
	},
}

// ids are the families that match, in the order of the list.
func (w *world) ids(t *testing.T, f tenant.RefreshTokenFilter) []tenant.FamilyID {
	t.Helper()
	l, err := w.RefreshTokens(w.ctx, w.a.ID, f, tenant.Page{})
	must(t, err)
	ids := []tenant.FamilyID{}
	for _, x := range l.Items {
		ids = append(ids, x.ID)
	}
	return ids
}
