package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

func answering(at time.Time) databaseTime {
	return func(context.Context) (time.Time, bool, error) { return at, true, nil }
}

// REL-27: the node's clock is the database's. REL-26: it never goes back; above
// 10 s of drift the node is out of service.
func TestNodeClock(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := clock.NewFake(noon)
	c := &nodeClock{base: base}
	if got := c.Now(); got != noon {
		t.Errorf("before any measure: %v, want the machine's time", got)
	}
	if err := c.measure(t.Context(), answering(noon.Add(3*time.Second))); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Now(), noon.Add(3*time.Second); got != want {
		t.Errorf("Now = %v, want the database's %v", got, want)
	}
	if err := c.inService(); err != nil {
		t.Errorf("3 s of drift: %v", err)
	}

	if err := c.measure(t.Context(), answering(noon.Add(-5*time.Second))); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Now(), noon.Add(3*time.Second); got != want {
		t.Errorf("after the database's clock went back: %v, want to stand at %v", got, want)
	}
	base.Advance(20 * time.Second)
	if got, want := c.Now(), noon.Add(15*time.Second); got != want {
		t.Errorf("Now = %v, want %v", got, want)
	}

	if err := c.measure(t.Context(), answering(base.Now().Add(-11*time.Second))); err != nil {
		t.Fatal(err)
	}
	if err := c.inService(); err == nil || !strings.Contains(err.Error(), "set it") {
		t.Errorf("11 s of drift: got %v, want a refusal that says what to do", err)
	}
}

func TestNodeClockMeasures(t *testing.T) {
	t.Parallel()
	base := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	c := &nodeClock{base: base}
	slow := func(context.Context) (time.Time, bool, error) {
		base.Advance(2 * clockRoundTrip)
		return base.Now().Add(time.Hour), true, nil
	}
	if err := c.measure(t.Context(), slow); err != nil || c.drift() != 0 {
		t.Errorf("an answer after 2 s was taken: drift %v (%v)", c.drift(), err)
	}
	none := func(context.Context) (time.Time, bool, error) { return time.Time{}, false, nil }
	if err := c.measure(t.Context(), none); err != nil || c.drift() != 0 {
		t.Errorf("a store without a clock: drift %v (%v)", c.drift(), err)
	}
	away := errors.New("away")
	failing := func(context.Context) (time.Time, bool, error) { return time.Time{}, true, away }
	if err := c.measure(t.Context(), failing); !errors.Is(err, away) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestNodeClockFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &nodeClock{base: clock.System{}}
		ahead := func(context.Context) (time.Time, bool, error) {
			return time.Now().UTC().Add(5 * time.Second), true, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.follow(ctx, ahead, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		time.Sleep(clockPoll)
		synctest.Wait()
		if c.drift() != 5*time.Second {
			t.Errorf("drift %v after a minute, want 5s", c.drift())
		}
		cancel()
		<-done
		if !strings.Contains(log.String(), "not the database's") {
			t.Errorf("5 s of drift made no alarm: %q", log.String())
		}
	})
}
