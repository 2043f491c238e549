// Command crash kills a bulla server under load again and again (kill -9) and
// checks after each restart that everything it acknowledged is still true
// (REL-1, SEC-127): an acknowledged rotation has moved the family on, an
// acknowledged revocation refuses, and a family whose last answer was lost goes
// on from the last value that was acknowledged.
//
//	go run ./experiments/crash -bulla bin/bulla -kills 200
//
// It prints its seed; -seed repeats the same choices (not the same timing).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/experiments/process"
)

// leeway lets a worker present a value again whose answer was lost; it is longer
// than any run between two kills.
const leeway = 3600

func main() {
	binary := flag.String("bulla", "bin/bulla", "path of the bulla binary")
	kills := flag.Int("kills", 10, "how often to kill the server")
	workers := flag.Int("workers", 8, "parallel clients")
	seed := flag.Uint64("seed", 0, "seed of the random choices; 0 draws one")
	database := flag.String("database", "", "a postgres:// URL of an empty database; empty means the embedded store")
	flag.Parse()
	log.SetFlags(0)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	if err := run(*binary, *kills, *workers, *seed, *database); err != nil {
		log.Fatal("crash: ", err)
	}
}

// totals count what the clients were told.
type totals struct {
	mu                             sync.Mutex
	rotations, revocations, reuses int
	unknown                        int
}

func (t *totals) add(counter *int) {
	t.mu.Lock()
	*counter++
	t.mu.Unlock()
}

func run(binary string, kills, workers int, seed uint64, database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Hour)
	defer cancel()
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bulla-crash-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	options := process.Options{Binary: binary, Data: filepath.Join(dir, "data")}
	if database != "" {
		options.Env = []string{"BULLA_DATABASE_URL=" + database}
	}
	server, err := process.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { server.Kill() }()
	options.Domain = server.Domain
	management, err := server.Management(ctx)
	if err != nil {
		return err
	}
	family, err := management.NewFamily(ctx, "crash", "ES256", leeway)
	if err != nil {
		return err
	}
	client, err := server.Client(workers)
	if err != nil {
		return err
	}
	var sum totals
	clients := make([]*worker, workers)
	for i := range clients {
		clients[i] = &worker{
			random: rand.New(rand.NewPCG(seed, uint64(i))), family: family, client: client, sum: &sum,
			token: server.URL("/oauth/token"), revoke: server.URL("/oauth/revoke"),
		}
	}
	random := rand.New(rand.NewPCG(seed, 1<<32))
	var slowest time.Duration
	for kill := range kills {
		load, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		violations := make([]error, workers)
		for i, c := range clients {
			wg.Go(func() { violations[i] = c.work(load) })
		}
		wait(ctx, 100*time.Millisecond+time.Duration(random.Int64N(int64(500*time.Millisecond))))
		server.Kill()
		stop()
		wg.Wait()
		client.CloseIdleConnections()
		start := time.Now()
		if server, err = process.Start(ctx, options); err != nil {
			return fmt.Errorf("restart after kill %d (seed %d): %w", kill+1, seed, err)
		}
		slowest = max(slowest, time.Since(start))
		for i, c := range clients {
			violations[i] = errors.Join(violations[i], c.settle(ctx))
		}
		if err := errors.Join(violations...); err != nil {
			return fmt.Errorf("after kill %d (seed %d): %w", kill+1, seed, err)
		}
	}
	if err := server.Stop(); err != nil {
		return fmt.Errorf("the last server did not drain: %w", err)
	}
	if sum.rotations < kills || sum.revocations == 0 { // a server that answers nothing loses nothing
		unproven := fmt.Errorf("only %d rotations and %d revocations were acknowledged: nothing is proven", sum.rotations, sum.revocations)
		return errors.Join(append([]error{unproven}, failedLogins(clients)...)...)
	}
	fmt.Printf("%d kills, seed %d: %d acknowledged rotations, %d acknowledged revocations, %d reuses refused, %d answers lost; 0 violations; slowest restart %s\n",
		kills, seed, sum.rotations, sum.revocations, sum.reuses, sum.unknown, slowest.Round(time.Millisecond))
	return nil
}

func failedLogins(clients []*worker) []error {
	var out []error
	for _, c := range clients {
		out = append(out, c.loginError)
	}
	return out
}

// wait sleeps; a kill at a random moment is the point of the experiment.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// worker is one client with one family at a time, and the ledger of it.
type worker struct {
	random        *rand.Rand
	family        process.Family
	client        *http.Client
	sum           *totals
	token, revoke string

	// value is the last acknowledged value, previous the ones before it.
	value    string
	previous []string
	// ended: the end of the family was acknowledged. ending: it was asked for
	// and the answer was lost, so it may have happened.
	ended, ending bool
	// loginError is why the last login failed, for the report.
	loginError error
}

// work does what clients do until the context ends; an error is a violation.
func (w *worker) work(ctx context.Context) error {
	for ctx.Err() == nil {
		if w.value == "" || w.ended || w.ending {
			if !w.login(ctx) {
				return nil
			}
		}
		switch n := w.random.IntN(100); {
		case n < 90:
			answer, err := w.family.Refresh(ctx, w.client, w.token, w.value)
			switch {
			case err == nil:
				w.moved(answer.RefreshToken)
			case refused(answer):
				return fmt.Errorf("a live value was refused: %w", err)
			default:
				w.sum.add(&w.sum.unknown)
				return nil
			}
		case n < 95:
			if err := w.family.Revoke(ctx, w.client, w.revoke, w.value); err != nil {
				w.ending = true
				w.sum.add(&w.sum.unknown)
				return nil
			}
			w.ended = true
			w.sum.add(&w.sum.revocations)
		default:
			if len(w.previous) < 2 {
				continue
			}
			// Two generations back is outside any leeway: reuse.
			answer, err := w.family.Refresh(ctx, w.client, w.token, w.previous[len(w.previous)-2])
			switch {
			case err == nil:
				return errors.New("a consumed value was accepted")
			case refused(answer):
				w.ended = true
				w.sum.add(&w.sum.reuses)
			default:
				w.ending = true
				w.sum.add(&w.sum.unknown)
				return nil
			}
		}
	}
	return nil
}

func (w *worker) login(ctx context.Context) bool {
	answer, err := w.family.Login(ctx, w.client, w.token)
	if err != nil {
		w.loginError = err
		return false
	}
	w.value, w.previous, w.ended, w.ending = answer.RefreshToken, nil, false, false
	return true
}

func (w *worker) moved(value string) {
	w.previous = append(w.previous, w.value)
	w.value = value
	w.sum.add(&w.sum.rotations)
}

// settle checks the ledger against a server that has just come back.
func (w *worker) settle(ctx context.Context) error {
	if w.value == "" || w.ending {
		return nil
	}
	answer, err := w.family.Refresh(ctx, w.client, w.token, w.value)
	switch {
	case w.ended && err == nil:
		return errors.New("an acknowledged end of a family was lost")
	case w.ended && refused(answer):
		return nil
	case err != nil:
		return fmt.Errorf("an acknowledged value does not work after the restart: %w", err)
	}
	w.moved(answer.RefreshToken)
	return nil
}

// refused tells a statement about the credential from a fault.
func refused(a process.Answer) bool {
	return a.Status == http.StatusForbidden && a.Error == "invalid_grant"
}
