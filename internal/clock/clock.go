// Package clock is where Bulla reads the time.
//
// Nothing else in the server calls time.Now: a request reads its clock once on
// arrival, to judge, and once before its write, to stamp (D10). Tests move a
// Fake; a test tenant's clock only ever advances.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	// Now is the present instant in UTC.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now is the machine's wall clock in UTC, cut to the millisecond: that is what
// the store keeps, and a deadline must not differ before and after a restart.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Fake is a clock that stands still until it is advanced. The zero value stands
// at the zero time; use NewFake.
type Fake struct {
	mu  sync.Mutex
	now time.Time
}

// NewFake is a clock that stands at now.
func NewFake(now time.Time) *Fake { return &Fake{now: now.UTC().Truncate(time.Millisecond)} }

// Now is where the clock stands.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock forward by d. It panics when d is negative: a clock
// that goes back would make what expired valid again (REL-26).
func (f *Fake) Advance(d time.Duration) {
	if d < 0 {
		panic("clock: Advance with a negative duration")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}
