package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// journal is what every commit takes along of the events that wait.
type journal struct {
	queue *audit.Queue
	ids   *eventIDs
	clock Clock
	lost  atomic.Uint64

	mu sync.Mutex
	// pending have their ids and wait for a commit that succeeds. Repeating it
	// writes none twice, since their ids are unique.
	pending []tenant.Event
}

// maxDrained bounds how many events that wait one commit takes along.
const maxDrained = 512

func newJournal(o Options) (*journal, error) {
	ids, err := newEventIDs(o.Rand)
	if err != nil {
		return nil, err
	}
	return &journal{queue: audit.NewQueue(o.EventQueue), ids: ids, clock: o.Clock}, nil
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending) == 0 && j.queue.Len() == 0
}

// write puts own, the events of a transaction, and those that wait into it and
// tells how many that makes. After the commit, written forgets the latter.
func (j *journal) write(ctx context.Context, run runner, own []tenant.Event) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) == 0 {
		j.pending = j.stamp(j.queue.Drain(maxDrained))
	}
	events := append(j.pending[:len(j.pending):len(j.pending)], j.stampOwn(own)...)
	return len(events), insertEvents(ctx, run, events)
}

func (j *journal) written() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = nil
}

// stampOwn cleans and stamps the events of one transaction.
func (j *journal) stampOwn(events []tenant.Event) []tenant.Event {
	out := make([]tenant.Event, len(events))
	for i, e := range events {
		out[i] = audit.Clean(e)
	}
	return j.stamp(out)
}

func (j *journal) stamp(events []tenant.Event) []tenant.Event {
	for i := range events {
		e := &events[i]
		now := j.clock.Now()
		e.ID = j.ids.next(now)
		if e.At.IsZero() {
			e.At = now
		}
		e.Count = max(e.Count, 1)
	}
	return events
}

// eventIDs makes log ids: 900, the instant to the millisecond, a number within
// it and the node's own 30 digits. Their order is the order in which this node
// gave them out, also when its clock goes back (management-api.md §8, REL-26).
type eventIDs struct {
	mu     sync.Mutex
	node   string
	millis int64
	seq    int
}

// eventIDLen is the number of digits of a log id.
const eventIDLen = 56

func newEventIDs(rand io.Reader) (*eventIDs, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("read randomness for event ids: %w", err)
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil)
	return &eventIDs{node: fmt.Sprintf("%030s", new(big.Int).Mod(new(big.Int).SetBytes(b), limit))}, nil
}

func (g *eventIDs) next(now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	const perMilli = 1_000_000
	if ms := now.UnixMilli(); ms > g.millis {
		g.millis, g.seq = ms, 0
	} else if g.seq++; g.seq == perMilli {
		g.millis, g.seq = g.millis+1, 0
	}
	at := time.UnixMilli(g.millis).UTC()
	return fmt.Sprintf("900%s%03d%06d%s", at.Format("20060102150405"), at.Nanosecond()/1e6, g.seq, g.node)
}

const eventColumns = `tenant_id, id, at, type, description, reason, client_id, client_name, connection, connection_id,
	user_id, user_name, audience, scope, strategy, strategy_type, session_id, family_id, generation, ip, user_agent, host, sdk, details, count`

const eventColumnCount = 25

// insertBatches are the numbers of rows one statement inserts, largest first:
// few statements for many events, and few shapes to keep prepared.
var insertBatches = [...]struct {
	rows      int
	statement string
}{{32, insertEventRows(32)}, {8, insertEventRows(8)}, {1, insertEventRows(1)}}

func insertEventRows(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO events (" + eventColumns + ") VALUES ")
	for r := range rows {
		if r > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for c := range eventColumnCount {
			if c > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "$%d", r*eventColumnCount+c+1)
		}
		b.WriteByte(')')
	}
	b.WriteString(" ON CONFLICT (tenant_id, id) DO NOTHING")
	return b.String()
}

func insertEvents(ctx context.Context, run runner, events []tenant.Event) error {
	args := make([]any, 0, min(len(events), insertBatches[0].rows)*eventColumnCount)
	for _, batch := range insertBatches {
		for len(events) >= batch.rows {
			args = args[:0]
			for _, e := range events[:batch.rows] {
				details, err := eventDetails(e)
				if err != nil {
					return err
				}
				args = append(args, e.TenantID, e.ID, millis(e.At), e.Type, e.Description, e.Reason, e.ClientID, e.ClientName,
					e.Connection, e.ConnectionID, e.UserID, e.UserName, e.Audience, e.Scope, e.Strategy, e.StrategyType, e.SessionID,
					string(e.FamilyID), int64(e.Generation), e.Origin.IP, e.Origin.UserAgent, e.Origin.Host, raw(e.Origin.SDK), details, e.Count)
			}
			if _, err := run.exec(ctx, batch.statement, args...); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			events = events[batch.rows:]
		}
	}
	return nil
}

func eventDetails(e tenant.Event) (string, error) {
	if len(e.Details) == 0 {
		return "", nil
	}
	b, err := json.Marshal(e.Details)
	if err != nil {
		return "", fmt.Errorf("details of event %s: %w", e.Type, err)
	}
	return string(b), nil
}

func scanEvent(row scanner) (tenant.Event, error) {
	var e tenant.Event
	var details json.RawMessage
	err := row.Scan(&e.TenantID, &e.ID, instant{&e.At}, &e.Type, &e.Description, &e.Reason, &e.ClientID, &e.ClientName,
		&e.Connection, &e.ConnectionID, &e.UserID, &e.UserName, &e.Audience, &e.Scope, &e.Strategy, &e.StrategyType, &e.SessionID,
		&e.FamilyID, &e.Generation, &e.Origin.IP, &e.Origin.UserAgent, &e.Origin.Host, rawOf{&e.Origin.SDK}, rawOf{&details}, &e.Count)
	if err == nil && details != nil {
		err = json.Unmarshal(details, &e.Details)
	}
	return e, err
}

var eventSearch = map[string]column{
	"type": {expr: "type"}, "description": {expr: "description"}, "reason": {expr: "reason"},
	"client_id": {expr: "client_id"}, "client_name": {expr: "client_name"}, "connection": {expr: "connection"},
	"connection_id": {expr: "connection_id"}, "user_id": {expr: "user_id"}, "user_name": {expr: "user_name"},
	"audience": {expr: "audience"}, "scope": {expr: "scope"}, "strategy": {expr: "strategy"}, "strategy_type": {expr: "strategy_type"},
	"ip": {expr: "ip"}, "hostname": {expr: "host"}, "user_agent": {expr: "user_agent"}, "log_id": {expr: "id"},
	"session_id": {expr: "session_id"}, "date": {expr: "at"},
}

// Events lists events by id, which is time order: the newest first unless
// q.Ascending. A position is the id of the event before it.
func (s *Store) Events(ctx context.Context, tenantID string, q tenant.EventQuery, p tenant.Page) (tenant.List[tenant.Event], error) {
	w := newWhere(tenantID)
	w.equal("user_id", q.UserID)
	w.equal("family_id", string(q.FamilyID))
	if err := w.search(q.Where, eventSearch, tenant.EventField); err != nil {
		return tenant.List[tenant.Event]{}, err
	}
	if p.Checkpoint && p.After != "" && !eventID(p.After) {
		return tenant.List[tenant.Event]{}, tenant.ErrStale
	}
	return list(ctx, s.read, listing[tenant.Event]{
		columns: eventColumns, table: "events", key: []string{"id"}, descending: !q.Ascending,
		position: func(e tenant.Event) []string { return []string{e.ID} }, scan: scanEvent,
	}, w, p)
}

func eventID(s string) bool {
	return len(s) == eventIDLen && strings.Trim(s, "0123456789") == ""
}

// Event finds an event by its id.
func (s *Store) Event(ctx context.Context, tenantID, id string) (tenant.Event, error) {
	rows, err := s.read.query(ctx, `SELECT `+eventColumns+` FROM events WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, scanEvent)
}
