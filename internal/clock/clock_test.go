package clock

import (
	"testing"
	"time"
)

func TestFakeOnlyAdvances(t *testing.T) { // REL-26: time that goes back would revive what expired
	f := NewFake(time.Date(2026, 3, 1, 12, 0, 0, 999_999, time.UTC))
	start := f.Now()
	if start.Nanosecond() != 0 {
		t.Errorf("Now() = %v, want whole milliseconds, as the store keeps them", start)
	}
	f.Advance(90 * time.Second)
	if got := f.Now().Sub(start); got != 90*time.Second {
		t.Errorf("after Advance(90s) the clock moved %v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("Advance(-1) did not panic")
		}
	}()
	f.Advance(-1)
}

func TestSystemIsUTCInMilliseconds(t *testing.T) {
	now := System{}.Now()
	if now.Location() != time.UTC || now.Nanosecond()%1_000_000 != 0 {
		t.Errorf("Now() = %v, want UTC in whole milliseconds", now)
	}
}
