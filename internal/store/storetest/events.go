package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var eventTests = map[string]func(*testing.T, *world){
	"an event is kept as it was, cleaned": func(t *testing.T, w *world) {
		want := tenant.Event{
			TenantID: w.a.ID, At: noon.Add(time.Second), Type: "sertft", Description: "d", Reason: "r", ClientID: "c", ClientName: "cn", Connection: "con",
			ConnectionID: "con_1", UserID: "u", UserName: "un", Audience: "a", Scope: "s", Strategy: "st", StrategyType: "stt", SessionID: "sid",
			FamilyID: "rt_1", Generation: 7, Origin: tenant.Origin{IP: "192.0.2.1", UserAgent: "ua", Host: "h", SDK: json.RawMessage(`{"name":"x"}`)},
			Details: map[string]any{"n": float64(1), "o": map[string]any{"k": []any{"v"}}}, Count: 3,
		}
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h", noon, want))
		l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{FamilyID: "rt_1"}, tenant.Page{})
		must(t, err)
		got := l.Items[0]
		want.ID = got.ID
		equal(t, "event", got, want)
		one, err := w.Event(w.ctx, w.a.ID, got.ID)
		must(t, err)
		equal(t, "by id", one, want)
		_, err = w.Event(w.ctx, w.b.ID, got.ID)
		is(t, "at the other tenant (SEC-213)", err, tenant.ErrNotFound)
		l, err = w.Events(w.ctx, w.a.ID, tenant.EventQuery{UserID: "u"}, tenant.Page{})
		must(t, err)
		equal(t, "by user", len(l.Items), 1)
	},
	"ids are 56 digits in time order": func(t *testing.T, w *world) {
		for range 20 {
			must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h", noon, tenant.Event{Type: "t", At: noon.Add(-time.Hour)}))
			w.clock.Advance(time.Millisecond)
		}
		l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{Ascending: true}, tenant.Page{})
		must(t, err)
		for i, e := range l.Items {
			if len(e.ID) != 56 || strings.Trim(e.ID, "0123456789") != "" || !strings.HasPrefix(e.ID, "90020260301120000") {
				t.Errorf("id %q", e.ID)
			}
			if i > 0 && e.ID <= l.Items[i-1].ID {
				t.Errorf("id %q after %q", e.ID, l.Items[i-1].ID)
			}
		}
		newest, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{}, tenant.Page{})
		must(t, err)
		slices.Reverse(newest.Items)
		equal(t, "newest first is the same list", newest.Items, l.Items)
	},
	"a poller that goes on after the last id sees each event once": func(t *testing.T, w *world) {
		for n := range 10 {
			must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h", noon, tenant.Event{Type: "t", Reason: fmt.Sprint(n)}))
		}
		var got []string
		after := ""
		for {
			l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{Ascending: true, Where: &tenant.Condition{Op: "eq", Field: "type", Value: "t"}},
				tenant.Page{Limit: 3, Checkpoint: true, After: after})
			must(t, err)
			for _, e := range l.Items {
				got, after = append(got, e.Reason), e.ID
			}
			if len(l.Items) == 0 {
				break
			}
		}
		equal(t, "seen", got, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"})
	},
	"a refused write leaves no event": func(t *testing.T, w *world) {
		r := w.rotation(t, seed, tenant.Rotate)
		r.Generation = 9
		is(t, "rotation", w.RotateRefreshToken(w.ctx, r), tenant.ErrConflict)
		equal(t, "events", w.count(t, "sertft"), 0)
	},
	"a recorded event joins a later commit (D13)": func(t *testing.T, w *world) {
		for n := range 100 {
			w.Record(tenant.Event{TenantID: w.a.ID, Type: "seccft", At: noon, Reason: fmt.Sprint(n)})
		}
		// The loop that flushes runs every millisecond; Ping makes commits meanwhile.
		for w.count(t, "seccft") < 100 {
			must(t, w.Ping(w.ctx))
		}
		equal(t, "dropped", w.Dropped(), uint64(0))
	},
}
