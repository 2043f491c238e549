package audit

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func refusal(ip, reason string) tenant.Event {
	return tenant.Event{TenantID: "t", Type: RefreshRefused, Reason: reason, ClientID: "c", Origin: tenant.Origin{IP: ip}}
}

// D13: like refusals from one source fold into one event with a count.
func TestQueueFoldsLikeRefusals(t *testing.T) {
	q := NewQueue(0)
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 5 {
		e := refusal("192.0.2.1", "unknown")
		e.At = first.Add(time.Duration(i) * time.Second)
		q.Add(e)
	}
	q.Add(refusal("192.0.2.2", "unknown"))
	q.Add(refusal("192.0.2.1", "idle"))
	other := refusal("192.0.2.1", "unknown")
	other.TenantID = "u"
	q.Add(other)

	got := q.Drain(0)
	if len(got) != 4 {
		t.Fatalf("%d events, want 4: %+v", len(got), got)
	}
	if got[0].Count != 5 || !got[0].At.Equal(first) {
		t.Errorf("first event has count %d at %v, want 5 at %v", got[0].Count, got[0].At, first)
	}
	for _, e := range got[1:] {
		if e.Count > 1 {
			t.Errorf("event of another source has count %d", e.Count)
		}
	}
}

func TestQueueKeepsWhatMustNotFold(t *testing.T) {
	q := NewQueue(0)
	for range 3 {
		q.Add(tenant.Event{TenantID: "t", Type: ClientCredentialsExchanged, ClientID: "c"})
		reuse := refusal("192.0.2.1", "reused")
		reuse.FamilyID = "rt_1"
		q.Add(reuse)
	}
	if got := len(q.Drain(0)); got != 6 {
		t.Errorf("%d events, want 6: tokens issued and the timeline of a family are single events", got)
	}
}

func TestQueueDrainEndsTheFold(t *testing.T) {
	q := NewQueue(0)
	q.Add(refusal("192.0.2.1", "unknown"))
	q.Add(refusal("192.0.2.2", "unknown"))
	q.Add(refusal("192.0.2.2", "unknown"))
	taken := q.Drain(1)
	q.Add(refusal("192.0.2.1", "unknown")) // a new one
	q.Add(refusal("192.0.2.2", "unknown")) // joins the one that waits
	if len(taken) != 1 || taken[0].Count > 1 {
		t.Errorf("taken = %+v, want one event untouched by later ones", taken)
	}
	rest := q.Drain(0)
	if len(rest) != 2 || rest[0].Count != 3 || rest[1].Count > 1 {
		t.Errorf("rest = %+v, want counts 3 and 1", rest)
	}
	if got := q.Drain(0); got != nil {
		t.Errorf("Drain of an empty queue = %v, want nil", got)
	}
}

// D13: the queue is bounded and counts what it drops; a flood of refusals leaves
// room for what is not one.
func TestQueueCountsWhatItDrops(t *testing.T) {
	q := NewQueue(8)
	for i := range 10 {
		q.Add(refusal(fmt.Sprintf("192.0.2.%d", i), "unknown"))
	}
	if q.Len() != 6 || q.Dropped() != 4 {
		t.Errorf("Len = %d, Dropped = %d, want 6 and 4", q.Len(), q.Dropped())
	}
	for range 3 {
		q.Add(tenant.Event{TenantID: "t", Type: ClientCredentialsExchanged})
	}
	if q.Len() != 8 || q.Dropped() != 5 {
		t.Errorf("Len = %d, Dropped = %d, want 8 and 5", q.Len(), q.Dropped())
	}
	q.Add(refusal("192.0.2.0", "unknown")) // folding needs no room
	if q.Dropped() != 5 {
		t.Errorf("a refusal that folds was dropped")
	}
}

func TestQueueLosesNothingUncounted(t *testing.T) {
	q := NewQueue(64)
	const adders, each = 8, 500
	var wg sync.WaitGroup
	for a := range adders {
		wg.Go(func() {
			for i := range each {
				q.Add(refusal(fmt.Sprintf("192.0.2.%d", (a+i)%100), "unknown"))
			}
		})
	}
	var taken uint64
	count := func() {
		for _, e := range q.Drain(10) {
			taken += uint64(max(e.Count, 1))
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			count()
		}
	}
	for q.Len() > 0 {
		count()
	}
	if got := taken + q.Dropped(); got != adders*each {
		t.Errorf("taken and dropped make %d, want %d", got, adders*each)
	}
}
