package audit

import (
	"sync"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// DefaultQueue is how many events a Queue holds unless told otherwise.
const DefaultQueue = 4096

// Queue holds the events that change nothing until the next commit takes them
// along (D13). It is bounded, never blocks and counts what it drops; like
// refusals from one source that wait together become one event with a count.
// It is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex
	limit   int
	waiting []tenant.Event
	// folded finds the waiting refusal that a like one joins: the number of the
	// event, counted from the first ever.
	folded  map[source]uint64
	first   uint64 // the number of waiting[0]
	dropped uint64
}

// source is what makes two refusals alike.
type source struct{ tenantID, code, reason, clientID, userID, userName, connection, audience, ip string }

// NewQueue is a queue of at most limit events; zero means DefaultQueue.
func NewQueue(limit int) *Queue {
	if limit <= 0 {
		limit = DefaultQueue
	}
	return &Queue{limit: limit, folded: make(map[source]uint64)}
}

// Add puts e, cleaned, at the end, or folds it into a waiting one like it, which
// keeps its time and details. A full queue drops and counts e. Refusals, which
// anybody can provoke, may fill three quarters: there is room for the rest.
func (q *Queue) Add(e tenant.Event) {
	e = Clean(e)
	count := max(e.Count, 1)
	refusal := Refusal(e.Type)
	src := source{
		e.TenantID, e.Type, e.Reason, e.ClientID, e.UserID, e.UserName, e.Connection, e.Audience, e.Origin.IP,
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	room := q.limit
	if refusal {
		// A refusal of a certain family is a line of that family's timeline (D14).
		if n, ok := q.folded[src]; ok && e.FamilyID == "" {
			w := &q.waiting[n-q.first]
			w.Count = max(w.Count, 1) + count
			return
		}
		room -= q.limit / 4
	}
	if len(q.waiting) >= room {
		q.dropped += uint64(count)
		return
	}
	if refusal && e.FamilyID == "" {
		q.folded[src] = q.first + uint64(len(q.waiting))
	}
	q.waiting = append(q.waiting, e)
}

// Drain takes at most max events, the oldest first; nothing folds into them any
// more. A max of zero or less takes all.
func (q *Queue) Drain(max int) []tenant.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	if max > 0 && max < n {
		n = max
	}
	if n == 0 {
		return nil
	}
	out := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	q.first += uint64(n)
	for src, at := range q.folded {
		if at < q.first {
			delete(q.folded, src)
		}
	}
	return out
}

// Len is how many events wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Dropped is how many events have been lost since the start, folded ones counted
// each.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
