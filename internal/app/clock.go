package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

const (
	clockPoll = time.Minute
	// clockWarn and clockRefuse are how far this machine's clock may be from the
	// database's before that is an alarm, and before the node is out of service
	// (REL-26).
	clockWarn   = 2 * time.Second
	clockRefuse = 10 * time.Second
	// clockRoundTrip is the longest question that still tells the time.
	clockRoundTrip = time.Second
)

// nodeClock is the clock of a node of a deployment: its machine's, corrected to
// the database's, so that leeways, lifetimes and throttles are the same on all
// nodes (REL-27). It never goes back: nothing that has expired becomes valid
// again because a clock was set (REL-26). With the embedded store there is
// nothing to follow.
type nodeClock struct {
	base clock.Clock

	mu     sync.Mutex
	offset time.Duration
	latest time.Time
}

// Now implements clock.Clock.
func (c *nodeClock) Now() time.Time {
	now := c.base.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	now = now.Add(c.offset)
	if now.Before(c.latest) {
		return c.latest
	}
	c.latest = now
	return now
}

// drift is how far the database's clock is ahead of this machine's.
func (c *nodeClock) drift() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// databaseTime asks a store for its database's time; false when it has none.
type databaseTime func(context.Context) (time.Time, bool, error)

// measure asks once and takes the answer over. An answer that took long says too
// little and changes nothing.
func (c *nodeClock) measure(ctx context.Context, ask databaseTime) error {
	began := c.base.Now()
	theirs, has, err := ask(ctx)
	ended := c.base.Now()
	if err != nil || !has {
		return err
	}
	took := ended.Sub(began)
	if took < 0 || took > clockRoundTrip {
		return nil
	}
	offset := theirs.Sub(began.Add(took / 2)).Truncate(time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
	return nil
}

// inService tells whether the drift still lets this node serve.
func (c *nodeClock) inService() error {
	if d := c.drift(); d.Abs() > clockRefuse {
		return fmt.Errorf("this machine's clock is %v from the database's; set it, with a time service on both", d.Round(time.Millisecond).Abs())
	}
	return nil
}

// follow measures until ctx is done.
func (c *nodeClock) follow(ctx context.Context, ask databaseTime, log *slog.Logger) {
	ticker := time.NewTicker(clockPoll)
	defer ticker.Stop()
	for {
		if d := c.drift(); d.Abs() > clockWarn {
			log.Warn("this machine's clock is not the database's; set it, with a time service on both", "ahead_by", -d)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := c.measure(ctx, ask); err != nil && ctx.Err() == nil {
			log.Warn("the database's clock could not be read; the last measure holds", "error", err)
		}
	}
}
