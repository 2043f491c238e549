package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var sessionTests = map[string]func(*testing.T, *world){
	"list of a user, of what lives": func(t *testing.T, w *world) {
		must(t, w.CreateUser(w.ctx, user(w.a.ID, "auth0|u2", "u2@example.com"), "", event("ss")))
		w.signIn(t, "sid2", "auth0|u1")
		w.signIn(t, "sid3", "auth0|u1")
		w.signIn(t, "foreign", "auth0|u2")
		must(t, w.EndSession(w.ctx, w.a.ID, "sid2", event("slo")))
		ids := func(now time.Time, after string, limit int) (out []string, next string) {
			l, err := w.Sessions(w.ctx, w.a.ID, tenant.SessionFilter{UserID: "auth0|u1", Now: now}, tenant.Page{Checkpoint: true, After: after, Limit: limit})
			must(t, err)
			for _, x := range l.Items {
				out = append(out, x.ID)
			}
			return out, l.Next
		}
		got, _ := ids(noon, "", 10)
		equal(t, "sessions", got, []string{"sid", "sid3"})
		got, next := ids(noon, "", 1)
		equal(t, "first page", got, []string{"sid"})
		got, next = ids(noon, next, 1)
		equal(t, "second page", fmt.Sprint(got, next), "[sid3]")
		got, _ = ids(noon.Add(72*time.Hour), "", 10)
		equal(t, "at the idle deadline", len(got), 0)
	},
	"metadata is replaced and kept": func(t *testing.T, w *world) {
		x, err := w.SetSessionMetadata(w.ctx, w.a.ID, "sid", map[string]string{"a": "1"}, event("sapi"))
		must(t, err)
		read, err := w.Session(w.ctx, w.a.ID, "sid")
		must(t, err)
		equal(t, "metadata", []any{x.Metadata, read.Metadata}, []any{map[string]string{"a": "1"}, map[string]string{"a": "1"}})
		must(t, w.EndSession(w.ctx, w.a.ID, "sid", event("slo")))
		w.gone(t, "ended session", errOf(w.SetSessionMetadata(w.ctx, w.a.ID, "sid", nil, event("sapi"))))
		equal(t, "events", w.count(t, "sapi"), 1)
	},
	"an end with and without the families that came from it": func(t *testing.T, w *world) {
		elsewhere := family(w.a.ID, "rt_elsewhere")
		elsewhere.SessionID = "sid2"
		must(t, w.IssueRefreshToken(w.ctx, issue(elsewhere), w.guard(t, w.a.ID), event("sepft")))
		w.signIn(t, "sid2", "auth0|u1")
		end := tenant.SessionEnd{Deletion: deletion(w.a.ID, "", "sapi"), Filter: tenant.SessionFilter{ID: "sid2", UserID: "auth0|u1"},
			FamilyEvent: event("srrt"), Limit: 10}
		_, err := w.EndSessions(w.ctx, tenant.SessionEnd{Deletion: end.Deletion, Limit: 10})
		is(t, "all of the tenant", err, tenant.ErrQuery)
		n, err := w.EndSessions(w.ctx, end)
		must(t, err)
		equal(t, "ended, families kept", []any{n, w.ids(t, tenant.RefreshTokenFilter{})}, []any{1, sorted(seed, "rt_elsewhere")})
		w.gone(t, "session", errOf(w.Session(w.ctx, w.a.ID, "sid2")))

		end.Filter, end.WithFamilies, end.Reason = tenant.SessionFilter{ID: "sid"}, true, "session_revoked"
		n, err = w.EndSessions(w.ctx, end)
		must(t, err)
		equal(t, "ended with its families", []any{n, w.ids(t, tenant.RefreshTokenFilter{})}, []any{1, []tenant.FamilyID{"rt_elsewhere"}})
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "reason", []any{f.RevokedAt, f.RevokedReason}, []any{noon, "session_revoked"})
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash(seed), noon)
		must(t, err)
		equal(t, "denied", denied, true)
		l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{FamilyID: seed}, tenant.Page{Limit: 1})
		must(t, err)
		e := l.Items[0]
		equal(t, "event", []any{e.Type, e.UserID, e.ClientID, e.SessionID, e.Generation}, []any{"srrt", "auth0|u1", "client", "sid", f.Generation})
		n, err = w.EndSessions(w.ctx, end)
		must(t, err)
		equal(t, "again", n, 0)
	},
	"a few at a time": func(t *testing.T, w *world) {
		for i := range 4 {
			w.signIn(t, fmt.Sprint("more", i), "auth0|u1")
		}
		var got []int
		for {
			n, err := w.EndSessions(w.ctx, tenant.SessionEnd{Deletion: deletion(w.a.ID, "", ""), Filter: tenant.SessionFilter{UserID: "auth0|u1"}, Limit: 2})
			must(t, err)
			if got = append(got, n); n < 2 {
				break
			}
		}
		equal(t, "batches", got, []int{2, 2, 1})
	},
	"no rotation after the end of a session (SEC-124)": func(t *testing.T, w *world) {
		r := w.rotation(t, seed, tenant.Rotate)
		together(9, func(i int) error {
			if i > 0 {
				return w.RotateRefreshToken(w.ctx, r)
			}
			_, err := w.EndSessions(w.ctx, tenant.SessionEnd{Deletion: deletion(w.a.ID, "", "sapi"), Filter: tenant.SessionFilter{ID: "sid"},
				WithFamilies: true, FamilyEvent: event("srrt"), Limit: 10})
			must(t, err)
			f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
			must(t, err)
			late := r
			late.Generation, late.Used = f.Generation, f.Used
			is(t, "a rotation after the answer", w.RotateRefreshToken(w.ctx, late), tenant.ErrConflict)
			return nil
		})
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		if f.RevokedAt.IsZero() {
			t.Error("the family lives")
		}
	},
	"a mark on a user": func(t *testing.T, w *world) {
		must(t, w.RefuseIssued(w.ctx, w.a.ID, tenant.MarkSubject{Kind: "user", ID: "auth0|u1"}, noon, noon.Add(time.Hour), event("sapi")))
		w.marked(t, "user", "auth0|u1")
		equal(t, "events", w.count(t, "sapi"), 1)
	},
}

func (w *world) signIn(t *testing.T, id, userID string) {
	t.Helper()
	u, err := w.User(w.ctx, w.a.ID, userID)
	must(t, err)
	must(t, w.CompleteLogin(w.ctx, tenant.Login{Session: session(w.a.ID, id, userID), UserVersion: u.Version}))
}

var jobTests = map[string]func(*testing.T, *world){
	"batches end what matches, and are counted": func(t *testing.T, w *world) {
		for i := range 5 {
			f := family(w.a.ID, tenant.FamilyID(fmt.Sprint("rt_more", i)))
			must(t, w.IssueRefreshToken(w.ctx, issue(f), w.guard(t, w.a.ID), event("sepft")))
		}
		j := w.job(t, tenant.RefreshTokenFilter{UserID: "auth0|u1"})
		equal(t, "at first", []any{j.Total, j.Done, j.FinishedAt.IsZero()}, []any{6, 0, true})
		later := family(w.a.ID, "rt_later")
		later.CreatedAt = noon.Add(time.Second)
		must(t, w.IssueRefreshToken(w.ctx, issue(later), w.guard(t, w.a.ID), event("sepft")))

		var done []int
		for range 2 {
			j = w.advance(t, j.ID, 4)
			done = append(done, j.Done)
		}
		equal(t, "progress", done, []int{4, 6})
		read, err := w.Job(w.ctx, w.a.ID, j.ID)
		must(t, err)
		equal(t, "kept", []any{read.Total, read.Done, read.FinishedAt, read.Filter.UserID, read.Reason}, []any{6, 6, noon, "auth0|u1", "revoked_by_admin"})
		equal(t, "live: what was issued after the job began", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{"rt_later"})
		equal(t, "events", w.count(t, "srrt"), 6)
		f, err := w.RefreshToken(w.ctx, w.a.ID, seed)
		must(t, err)
		equal(t, "reason", f.RevokedReason, "revoked_by_admin")
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash(seed), noon)
		must(t, err)
		equal(t, "denied", denied, true)
		equal(t, "again", w.advance(t, j.ID, 4), read)
	},
	"eight runners of one job end each family once": func(t *testing.T, w *world) {
		for i := range 20 {
			f := family(w.a.ID, tenant.FamilyID(fmt.Sprint("rt_more", i)))
			must(t, w.IssueRefreshToken(w.ctx, issue(f), w.guard(t, w.a.ID), event("sepft")))
		}
		j := w.job(t, tenant.RefreshTokenFilter{ClientID: "client"})
		together(8, func(int) error {
			for {
				j, err := w.AdvanceJob(w.ctx, deletion(w.a.ID, j.ID, ""), 3)
				if err != nil || !j.FinishedAt.IsZero() {
					return err
				}
			}
		})
		read, err := w.Job(w.ctx, w.a.ID, j.ID)
		must(t, err)
		equal(t, "counted", []any{read.Total, read.Done, w.count(t, "srrt")}, []any{21, 21, 21})
	},
	"what is open, and for whom": func(t *testing.T, w *world) {
		j := w.job(t, tenant.RefreshTokenFilter{UserID: "auth0|u1"})
		open := func(tenantID string, before time.Time) int {
			l, err := w.OpenJobs(w.ctx, tenantID, before)
			must(t, err)
			return len(l)
		}
		equal(t, "open", []int{open(w.a.ID, noon), open(w.a.ID, noon.Add(-1*time.Second)), open(w.b.ID, noon)}, []int{1, 0, 0})
		w.gone(t, "the other tenant's", errOf(w.Job(w.ctx, w.b.ID, j.ID)))
		w.gone(t, "unknown", errOf(w.AdvanceJob(w.ctx, deletion(w.a.ID, "job_unknown", ""), 1)))
		w.advance(t, j.ID, 100)
		equal(t, "open after the end", open(w.a.ID, noon), 0)
		next := tenant.Job{TenantID: w.a.ID, ID: "job_next", Type: "refresh_tokens_revoke", Filter: tenant.RefreshTokenFilter{UserID: "auth0|u1"}, CreatedAt: noon.Add(31 * 24 * time.Hour)}
		must(t, errOf(w.CreateJob(w.ctx, next, event("sapi"))))
		w.gone(t, "a job of a month ago", errOf(w.Job(w.ctx, w.a.ID, j.ID)))
	},
	"a filter of nothing is never all": func(t *testing.T, w *world) {
		for _, f := range []tenant.RefreshTokenFilter{{}, {IDs: []tenant.FamilyID{}}, {Now: noon, IssuedUntil: noon}} {
			_, err := w.CreateJob(w.ctx, tenant.Job{TenantID: w.a.ID, ID: "job_1", Filter: f, CreatedAt: noon}, event("sapi"))
			if !errors.Is(err, tenant.ErrQuery) {
				t.Errorf("%+v: %v", f, err)
			}
		}
		equal(t, "events", w.count(t, "sapi"), 0)
	},
}

func (w *world) job(t *testing.T, f tenant.RefreshTokenFilter) tenant.Job {
	t.Helper()
	f.IssuedUntil = noon
	j, err := w.CreateJob(w.ctx, tenant.Job{TenantID: w.a.ID, ID: "job_1", Type: "refresh_tokens_revoke", Filter: f, Reason: "revoked_by_admin",
		Event: event("srrt"), CreatedAt: noon}, event("sapi"))
	must(t, err)
	return j
}

func (w *world) advance(t *testing.T, id string, limit int) tenant.Job {
	t.Helper()
	j, err := w.AdvanceJob(w.ctx, deletion(w.a.ID, id, ""), limit)
	must(t, err)
	return j
}
