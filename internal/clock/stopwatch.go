package clock

import "time"

// Stopwatch begins to measure how long something takes on this machine, for
// metrics. It is finer than a Clock and tells no time of day; no decision rests
// on it.
func Stopwatch() (elapsed func() time.Duration) {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
