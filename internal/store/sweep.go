package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// How long what has ended is kept (SEC-235, SEC-121).
const (
	familiesKept = 30 * 24 * time.Hour
	sessionsKept = 30 * 24 * time.Hour
	codesKept    = time.Hour
	// deniedKept is beyond the end of what is denied or used up, for nodes whose
	// clocks differ.
	deniedKept = time.Hour
)

const (
	// sweepEvery is after how many writes or events a pass begins.
	sweepEvery = 256
	// minVisited and maxVisited bound the rows one pass looks at, minSwept and
	// maxSwept those of one table that it deletes: a pass keeps up with what was
	// written since the last one and never holds the writer for long (REL-25).
	minVisited, maxVisited = 128, 4096
	minSwept, maxSwept     = 64, 1024
)

// sweeper remembers where the clean-up is. What ended leaves a few rows at a
// time, with later writes; the columns that tell so are written by each use, so
// no index holds them, and families and sessions are visited in turn instead.
type sweeper struct {
	wake           chan struct{}
	writes, events atomic.Int64

	mu      sync.Mutex
	turn    int
	tenants map[string]*sweepState
}

type sweepState struct {
	family, session string
	// floor is the id of the newest event beyond the limit, looked up anew after
	// sinceFloor events.
	floor      string
	sinceFloor int64
}

func (w *sweeper) init() {
	w.wake = make(chan struct{}, 1)
	w.tenants = make(map[string]*sweepState)
}

// wrote hears of each commit.
func (w *sweeper) wrote(writes, events int) {
	if w.writes.Add(int64(writes)) < sweepEvery && w.events.Add(int64(events)) < sweepEvery {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (s *Store) sweepLoop(ctx context.Context) {
	tick := time.NewTicker(s.opts.SweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.sweep.wake:
		}
		if err := s.sweepNext(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Error("clean-up failed", "error", err)
		}
	}
}

// sweepNext makes one pass over the tenant whose turn it is.
func (s *Store) sweepNext(ctx context.Context) error {
	tenants, err := s.tenantIDs(ctx)
	if err != nil || len(tenants) == 0 {
		return err
	}
	w := &s.sweep
	w.mu.Lock()
	defer w.mu.Unlock()
	writes, events := w.writes.Swap(0), w.events.Swap(0)
	known := make(map[string]*sweepState, len(tenants))
	for _, id := range tenants {
		known[id] = w.tenants[id]
		if known[id] == nil {
			known[id] = &sweepState{sinceFloor: int64(s.opts.EventLimit)}
		}
		known[id].sinceFloor += events
	}
	w.tenants = known
	w.turn++
	id := tenants[w.turn%len(tenants)]
	share := int64(len(tenants)) // a tenant's turn comes once in as many passes
	visited := min(max(2*writes*share, minVisited), maxVisited)
	swept := min(max(2*events*share, minSwept), maxSwept)
	_, _, err = s.sweepTenant(ctx, id, known[id], int(visited), int(swept))
	return err
}

func (s *Store) tenantIDs(ctx context.Context) ([]string, error) {
	rows, err := s.read.query(ctx, `SELECT tenant_id FROM tenants ORDER BY tenant_id`)
	return all(rows, err, scanOne[string])
}

// Sweep deletes all that is due now, at every tenant, and tells how many rows
// that were. The server needs it not: passes are made all the time.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	tenants, err := s.tenantIDs(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, id := range tenants {
		state := &sweepState{sinceFloor: int64(s.opts.EventLimit)}
		for {
			n, end, err := s.sweepTenant(ctx, id, state, maxVisited, maxSwept)
			total += n
			if err != nil {
				return total, err
			}
			if end && n == 0 {
				break
			}
		}
	}
	return total, nil
}

// expiring are the tables whose rows have a deadline that never moves, with how
// long beyond it they stay.
var expiring = []struct {
	statement string
	kept      time.Duration
}{
	{`DELETE FROM codes WHERE tenant_id = $1 AND hash IN (
		SELECT hash FROM codes WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, codesKept},
	{`DELETE FROM login_transactions WHERE tenant_id = $1 AND id IN (
		SELECT id FROM login_transactions WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, codesKept},
	{`DELETE FROM device_codes WHERE tenant_id = $1 AND hash IN (
		SELECT hash FROM device_codes WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, codesKept},
	{`DELETE FROM code_tries WHERE tenant_id = $1 AND who IN (
		SELECT who FROM code_tries WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, 0},
	{`DELETE FROM tickets WHERE tenant_id = $1 AND hash IN (
		SELECT hash FROM tickets WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, codesKept},
	{`DELETE FROM denials WHERE tenant_id = $1 AND hash IN (
		SELECT hash FROM denials WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, deniedKept},
	{`DELETE FROM marks WHERE tenant_id = $1 AND (kind, id) IN (
		SELECT kind, id FROM marks WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, deniedKept},
	{`DELETE FROM assertions WHERE tenant_id = $1 AND (client_id, hash) IN (
		SELECT client_id, hash FROM assertions WHERE tenant_id = $1 AND expires_at < $2 LIMIT $3)`, deniedKept},
}

const (
	deleteEndedFamily = `
		DELETE FROM refresh_tokens
		 WHERE tenant_id = $1 AND id = $2 AND (revoked_at < $3 OR expires_at < $3 OR idle_expires_at < $3)`
	deleteEndedSession = `
		DELETE FROM sessions
		 WHERE tenant_id = $1 AND id = $2 AND (ended_at < $3 OR expires_at < $3 OR idle_expires_at < $3)`
	deleteOldEvents = `
		DELETE FROM events WHERE tenant_id = $1 AND id IN (
			SELECT id FROM events WHERE tenant_id = $1 AND id < $2 ORDER BY id LIMIT $3)`
)

// sweepTenant makes one pass: it looks at some families and sessions and deletes
// what is due, at most swept rows of each table. It tells how many rows left and
// whether both visits have come round.
func (s *Store) sweepTenant(ctx context.Context, tenantID string, state *sweepState, visited, swept int) (deleted int, end bool, err error) {
	now := s.opts.Clock.Now()
	families, familyEnd, err := s.visit(ctx, `
		SELECT id, CASE WHEN revoked_at < $3 OR expires_at < $3 OR idle_expires_at < $3 THEN 1 ELSE 0 END
		  FROM refresh_tokens WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $4`,
		tenantID, &state.family, now.Add(-familiesKept), visited)
	if err != nil {
		return 0, false, err
	}
	sessions, sessionEnd, err := s.visit(ctx, `
		SELECT id, CASE WHEN ended_at < $3 OR expires_at < $3 OR idle_expires_at < $3 THEN 1 ELSE 0 END
		  FROM sessions WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $4`,
		tenantID, &state.session, now.Add(-sessionsKept), visited)
	if err != nil {
		return 0, false, err
	}
	oldest, err := s.oldestEvent(ctx, tenantID, state, now)
	if err != nil {
		return 0, false, err
	}
	var rows int // the writer's, until the commit is known to have ended
	err = s.engine.clean(ctx, func(tx *Tx) error {
		rows = 0
		count := func(statement string, args ...any) error {
			n, err := tx.exec(statement, args...)
			rows += int(n)
			return err
		}
		for _, t := range expiring {
			if err := count(t.statement, tenantID, now.Add(-t.kept).UnixMilli(), swept); err != nil {
				return err
			}
		}
		for _, id := range families {
			if err := count(deleteEndedFamily, tenantID, id, now.Add(-familiesKept).UnixMilli()); err != nil {
				return err
			}
		}
		for _, id := range sessions {
			if err := count(deleteEndedSession, tenantID, id, now.Add(-sessionsKept).UnixMilli()); err != nil {
				return err
			}
		}
		return count(deleteOldEvents, tenantID, oldest, swept)
	})
	if err != nil {
		return 0, false, err
	}
	return rows, familyEnd && sessionEnd, nil
}

// visit reads the next rows after *cursor, which it moves on, and returns the ids
// of those that are due. At the end the cursor goes back to the beginning.
func (s *Store) visit(ctx context.Context, statement, tenantID string, cursor *string, before time.Time, limit int) (due []string, end bool, err error) {
	type seen struct {
		id  string
		due bool
	}
	rows, err := s.read.query(ctx, statement, tenantID, *cursor, before.UnixMilli(), limit)
	found, err := all(rows, err, func(row scanner) (x seen, err error) {
		err = row.Scan(&x.id, flag{&x.due})
		return x, err
	})
	if err != nil {
		return nil, false, err
	}
	*cursor = ""
	if end = len(found) < limit; !end {
		*cursor = found[len(found)-1].id
	}
	for _, x := range found {
		if x.due && len(due) < maxSwept {
			due = append(due, x.id)
		}
	}
	return due, end, nil
}

// oldestEvent is the id at which the events that are kept begin: by age, and by
// number. Ids are in time order, so both are one comparison.
func (s *Store) oldestEvent(ctx context.Context, tenantID string, state *sweepState, now time.Time) (string, error) {
	if state.sinceFloor >= int64(max(s.opts.EventLimit/64, 1)) {
		rows, err := s.read.query(ctx, `
			SELECT id FROM events WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2`, tenantID, s.opts.EventLimit-1)
		found, err := all(rows, err, scanOne[string])
		if err != nil {
			return "", err
		}
		state.sinceFloor, state.floor = 0, ""
		if len(found) > 0 {
			state.floor = found[0]
		}
	}
	return max(state.floor, "900"+now.Add(-s.opts.EventRetention).UTC().Format("20060102150405")), nil
}
