package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStopwatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		elapsed := Stopwatch()
		time.Sleep(1500 * time.Microsecond) // the bubble's time
		if got, want := elapsed(), 1500*time.Microsecond; got != want {
			t.Errorf("elapsed %v, want %v", got, want)
		}
	})
}
