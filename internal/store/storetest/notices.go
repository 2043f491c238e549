package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func (w *world) notices(t *testing.T, after int64) []tenant.Notice {
	t.Helper()
	l, err := w.Notices(w.ctx, w.a.ID, after, w.clock.Now(), 1<<20)
	must(t, err)
	return l
}

func (w *world) position(t *testing.T) tenant.FeedPosition {
	t.Helper()
	p, err := w.FeedPosition(w.ctx, w.a.ID)
	must(t, err)
	return p
}

// hashes of the denylist entries among the notices, in order.
func hashes(notices []tenant.Notice) []string {
	var out []string
	for _, n := range notices {
		if n.Hash != "" {
			out = append(out, n.Hash)
		}
	}
	return out
}

// noticeTests are about what ends access tokens and how it is followed (D5, D6,
// SEC-124, SEC-134, SEC-135).
var noticeTests = map[string]func(*testing.T, *world){
	"each has a number, and says whom it is for": func(t *testing.T, w *world) {
		equal(t, "position at first", w.position(t), tenant.FeedPosition{})
		equal(t, "notices at first", len(w.notices(t, -1)), 0)
		changed := w.NoticesChanged(w.a.ID)
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: seed, At: noon, Reason: "x", DeniedHash: "h1", DeniedUntil: noon.Add(time.Hour)}))
		<-changed
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h2", noon.Add(time.Minute), tenant.Event{}))
		must(t, w.DeleteUser(w.ctx, deletion(w.a.ID, "auth0|u1", "sdu")))
		equal(t, "notices", w.notices(t, -1), []tenant.Notice{
			{Number: 1, Hash: "h1", Audiences: []string{"https://api.test/", "https://other.test/"}, ExpiresAt: noon.Add(time.Hour)},
			{Number: 2, Hash: "h2", Everybody: true, ExpiresAt: noon.Add(time.Minute)},
			{Number: 3, Audiences: []string{}, Mark: tenant.MarkSubject{Kind: "user", ID: "auth0|u1"}, NotBefore: noon.Add(time.Second), ExpiresAt: noon.Add(31*24*time.Hour + time.Second)},
		})
		equal(t, "position", w.position(t), tenant.FeedPosition{Epoch: noon.UnixMilli(), Number: 3})
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h1", noon.Add(2*time.Hour), tenant.Event{}))
		equal(t, "written again", hashes(w.notices(t, 2)), []string{"h1"})
		first, err := w.Notices(w.ctx, w.a.ID, -1, noon, 1)
		must(t, err)
		equal(t, "limited", hashes(first), []string{"h2"})
		later, err := w.Notices(w.ctx, w.a.ID, -1, noon.Add(time.Minute), 99)
		must(t, err)
		equal(t, "one that has expired is none", hashes(later), []string{"h1"})
		other, err := w.Notices(w.ctx, w.b.ID, -1, noon, 99)
		must(t, err)
		equal(t, "of the other tenant", len(other), 0)
	},
	"a write that is refused has no number": func(t *testing.T, w *world) {
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h1", noon.Add(time.Minute), tenant.Event{}))
		is(t, "unknown user", w.DeleteUser(w.ctx, deletion(w.a.ID, "auth0|unknown", "sdu")), tenant.ErrNotFound)
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: "rt_unknown", At: noon, DeniedHash: "h2", DeniedUntil: noon.Add(time.Hour)}))
		equal(t, "position", w.position(t).Number, int64(1))
	},
	"who follows while others commit misses none (D6)": func(t *testing.T, w *world) {
		const writers, each = 8, 25
		done := make(chan struct{})
		seen := make(chan []string)
		go func() {
			var got []string
			position := int64(-1)
			for last := false; ; {
				l, err := w.Notices(w.ctx, w.a.ID, position, noon, 3)
				if err != nil {
					t.Error(err)
					break
				}
				for _, n := range l {
					got, position = append(got, n.Hash), n.Number
				}
				if len(l) > 0 {
					continue
				}
				if last {
					break
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
			seen <- got
		}()
		var want []string
		for writer := range writers {
			for n := range each {
				want = append(want, fmt.Sprint(writer, "/", n))
			}
		}
		answers := together(writers, func(writer int) error {
			for n := range each {
				if err := w.DenyAuthorization(w.ctx, w.a.ID, fmt.Sprint(writer, "/", n), noon.Add(time.Minute), tenant.Event{}); err != nil {
					return err
				}
			}
			return nil
		})
		equal(t, "answers", answers, map[string]int{"ok": writers})
		close(done)
		got := <-seen
		slices.Sort(got)
		slices.Sort(want)
		equal(t, "what was seen", got, want)
		equal(t, "position", w.position(t).Number, int64(writers*each))
	},
	"a consent takes with it what came of it without a family (SEC-134)": func(t *testing.T, w *world) {
		must(t, w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "code", At: noon, Guard: w.guard(t, w.a.ID)}))
		d := deviceCode(w.a.ID, "dev")
		must(t, w.CreateDeviceCode(w.ctx, d))
		must(t, w.DecideDevice(w.ctx, w.decision(t, d)))
		must(t, w.RedeemDeviceCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "dev", At: noon, Guard: w.guard(t, w.a.ID)}))
		w.clock.Advance(1500 * time.Millisecond)
		must(t, w.DeleteConsents(w.ctx, w.a.ID, tenant.ConsentFilter{UserID: "auth0|u1"}, deletion(w.a.ID, "", "sapi")))
		equal(t, "denied", hashes(w.notices(t, -1)), []string{familyHash(seed), "keyed code code", "keyed device dev"})
		mark, err := w.Mark(w.ctx, w.a.ID, []tenant.MarkSubject{{Kind: "consent", ID: "auth0|u1 client https://api.test/"}})
		must(t, err)
		equal(t, "mark, on the second that has begun", mark, noon.Add(time.Second))
		equal(t, "timeline", w.timeline(t, seed), []string{"srrt"})
	},
	"a session that is revoked takes with it what came from it (SEC-134)": func(t *testing.T, w *world) {
		must(t, w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "code", At: noon, Guard: w.guard(t, w.a.ID)}))
		_, err := w.EndSessions(w.ctx, tenant.SessionEnd{
			Deletion: deletion(w.a.ID, "", "sapi"), Filter: tenant.SessionFilter{ID: "sid"}, WithFamilies: true, FamilyEvent: event("srrt"), Limit: 9})
		must(t, err)
		equal(t, "denied", hashes(w.notices(t, -1)), []string{familyHash(seed), "keyed sid", "keyed code code"})
	},
	"a move to rotation ends what is beside it (SEC-111)": func(t *testing.T, w *world) {
		for _, id := range []tenant.FamilyID{"rt_this", "rt_that", "rt_elsewhere"} {
			f := family(w.a.ID, id)
			f.Rotating = false
			if id == "rt_elsewhere" {
				f.Audience = "https://other.test/"
			}
			must(t, w.IssueRefreshToken(w.ctx, issue(f), w.guard(t, w.a.ID), event("sepft")))
		}
		r := w.rotation(t, "rt_this", tenant.Rotate)
		r.DropSiblings, r.FamilyHash, r.DeniedUntil, r.Dropped = true, familyHash, noon.Add(time.Hour), event("srrt")
		must(t, w.RotateRefreshToken(w.ctx, r))
		w.gone(t, "the sibling", errOf(w.RefreshToken(w.ctx, w.a.ID, "rt_that")))
		must(t, errOf(w.RefreshToken(w.ctx, w.a.ID, "rt_elsewhere")))
		equal(t, "denied", hashes(w.notices(t, -1)), []string{familyHash("rt_that")})
		equal(t, "its timeline", w.timeline(t, "rt_that"), []string{"srrt"})
	},
}
