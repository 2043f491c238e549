package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// result is what one load run saw.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	// cpu is the server's processor time per request.
	cpu    time.Duration
	errors int
}

// drive runs work on n workers for d and measures the process pid meanwhile. A
// worker calls its function again and again; an error is counted.
func drive(ctx context.Context, pid, n int, d time.Duration, work func(worker int) error) (result, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return result{}, err
	}
	var (
		mu        sync.Mutex
		latencies []time.Duration
		failures  int
		first     error
		wg        sync.WaitGroup
	)
	start := time.Now()
	for w := range n {
		wg.Go(func() {
			var own []time.Duration
			var failed int
			var firstErr error
			for time.Since(start) < d && ctx.Err() == nil {
				t := time.Now()
				if err := work(w); err != nil {
					failed++
					firstErr = err
					continue
				}
				own = append(own, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
			failures += failed
			if first == nil {
				first = firstErr
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	after, err := cpuTime(pid)
	if err != nil {
		return result{}, err
	}
	if len(latencies) == 0 {
		return result{}, fmt.Errorf("no request succeeded: %w", first)
	}
	slices.Sort(latencies)
	return result{
		perSecond: float64(len(latencies)) / elapsed.Seconds(),
		p50:       latencies[len(latencies)/2],
		p99:       latencies[len(latencies)*99/100],
		cpu:       (after - before) / time.Duration(len(latencies)),
		errors:    failures,
	}, nil
}

// cpuTime is the processor time a process has used (proc(5): utime and stime, in
// clock ticks of 1/100 s).
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("unexpected form of /proc/%d/stat", pid)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is the resident memory of a process now and at its peak, in MiB.
func memory(pid int) (now, peak float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			now = kib / 1024
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			peak = kib / 1024
		}
	}
	return now, peak, nil
}

func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
