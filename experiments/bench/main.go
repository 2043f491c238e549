// Command bench measures a bulla binary against the least that a token endpoint
// can be, in interleaved rounds of one run, and prints the tables of
// docs/figures.md. Absolute rates depend on the machine; the ratios are what it
// is for.
//
//	go run ./experiments/bench -bulla bin/bulla
//
// On a machine with two processors or more the server has the first for itself
// and the load the second. Linux only: it reads /proc and calls taskset.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/experiments/process"
)

func main() {
	binary := flag.String("bulla", "bin/bulla", "path of the bulla binary")
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	seconds := flag.Int("seconds", 5, "seconds of load in each measurement")
	floorFile := flag.String("floor", "", "internal: be the floor program and write its certificate here")
	flag.Parse()
	log.SetFlags(0)
	if *floorFile != "" {
		log.Fatal(floor(*floorFile))
	}
	if err := run(*binary, *rounds, time.Duration(*seconds)*time.Second); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(binary string, rounds int, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bulla-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	prefix, err := pin()
	if err != nil {
		return err
	}

	server, err := process.Start(ctx, process.Options{
		Binary: binary, Data: filepath.Join(dir, "data"), Prefix: prefix, Env: []string{"GOMAXPROCS=1"},
	})
	if err != nil {
		return err
	}
	defer server.Kill()
	b, err := newBench(ctx, dir, server, prefix)
	if err != nil {
		return err
	}
	defer b.stopFloor()

	fmt.Printf("Go %s, %d processors; server on one (GOMAXPROCS=1), load on another; %d interleaved rounds of %s.\n\n",
		runtime.Version(), runtime.NumCPU(), rounds, d)
	if err := b.clientCredentials(ctx, rounds, d); err != nil {
		return err
	}
	if err := b.rotation(ctx, d); err != nil {
		return err
	}
	now, peak, err := memory(server.Pid())
	if err != nil {
		return err
	}
	fmt.Printf("\nMemory of the server: %.1f MiB now, %.1f MiB at its peak (resident).\n", now, peak)
	if err := server.Stop(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	doctor, err := server.Command(ctx, "", "doctor")
	if err != nil {
		return err
	}
	for line := range strings.Lines(doctor) {
		if strings.Contains(line, "rows") {
			fmt.Printf("Rows after all that: %s", line)
		}
	}
	return nil
}

// pin puts this process on the second processor and answers the words that put
// another on the first.
func pin() ([]string, error) {
	if runtime.NumCPU() < 2 {
		return nil, nil
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		return nil, errors.New("taskset is needed to give the server a processor of its own (package util-linux)")
	}
	out, err := exec.Command("taskset", "-a", "-cp", "1", strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("taskset: %w: %s", err, out)
	}
	return []string{"taskset", "-c", "0"}, nil
}

type bench struct {
	server     *process.Server
	management *process.Management

	floor       *exec.Cmd
	floorURL    string
	floorClient *http.Client
}

func newBench(ctx context.Context, dir string, server *process.Server, prefix []string) (*bench, error) {
	m, err := server.Management(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{server: server, management: m}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	caFile := filepath.Join(dir, "floor.pem")
	words := append(append([]string{}, prefix...), self, "-floor", caFile)
	b.floor = exec.CommandContext(ctx, words[0], words[1:]...)
	b.floor.Env = append(os.Environ(), "GOMAXPROCS=1")
	b.floor.Stderr = os.Stderr
	stdout, err := b.floor.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.floor.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the floor did not start: %w", err)
	}
	address, _ := strings.CutPrefix(strings.TrimSpace(line), "floor: ready ")
	b.floorURL = address + "oauth/token"
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	b.floorClient, err = process.HTTPClient(pem, 64)
	return b, err
}

func (b *bench) stopFloor() {
	_ = b.floor.Process.Kill()
	_ = b.floor.Wait()
}

// clientCredentials measures machine tokens, RS256, against the floor.
func (b *bench) clientCredentials(ctx context.Context, rounds int, d time.Duration) error {
	const audience = "https://bench-machine.example/"
	if _, err := b.management.Call(ctx, http.MethodPost, "resource-servers", map[string]any{
		"name": "bench machine", "identifier": audience, "signing_alg": "RS256",
		"scopes": []map[string]string{{"value": "read:things", "description": "Read things"}},
	}); err != nil {
		return err
	}
	c, err := b.management.Call(ctx, http.MethodPost, "clients", map[string]any{
		"name": "bench machine", "app_type": "non_interactive", "grant_types": []string{"client_credentials"},
		"token_endpoint_auth_method": "client_secret_post",
	})
	if err != nil {
		return err
	}
	id, _ := c["client_id"].(string)
	secret, _ := c["client_secret"].(string)
	if _, err := b.management.Call(ctx, http.MethodPost, "client-grants", map[string]any{
		"client_id": id, "audience": audience, "scope": []string{"read:things"},
	}); err != nil {
		return err
	}
	client, err := b.server.Client(64)
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "audience": {audience}}
	floorForm := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "audience": {audience},
		"client_secret": {"floor-secret-of-sixty-four-characters-0123456789abcdef0123456789"}}
	ours := func(int) error {
		_, err := process.Token(ctx, client, b.server.URL("/oauth/token"), form)
		return err
	}
	theirs := func(int) error {
		_, err := process.Token(ctx, b.floorClient, b.floorURL, floorForm)
		return err
	}
	fmt.Println("### client_credentials, RS256-2048, TLS, 32 connections, events on")
	fmt.Println()
	fmt.Println("| round | floor/s | bulla/s | ratio | floor CPU | bulla CPU | ratio by CPU | bulla p50 / p99 |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	var rate, byCPU []float64
	for round := range rounds + 1 {
		f, err := drive(ctx, b.floor.Process.Pid, 32, d, theirs)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		o, err := drive(ctx, b.server.Pid(), 32, d, ours)
		if err != nil {
			return fmt.Errorf("bulla: %w", err)
		}
		if o.errors > 0 {
			return fmt.Errorf("bulla refused %d requests", o.errors)
		}
		if round == 0 {
			continue // the first round warms both up
		}
		rate = append(rate, o.perSecond/f.perSecond)
		byCPU = append(byCPU, float64(f.cpu)/float64(o.cpu))
		fmt.Printf("| %d | %.0f | %.0f | %.3f | %s | %s | %.3f | %s / %s |\n", round, f.perSecond, o.perSecond,
			rate[len(rate)-1], round10(f.cpu), round10(o.cpu), byCPU[len(byCPU)-1], round10(o.p50), round10(o.p99))
	}
	fmt.Printf("\nMedian: **%.3f** of the floor by rate, %.3f by processor time.\n", median(rate), median(byCPU))
	return nil
}

// rotation measures chained refreshes: each answer's token is the next request's.
func (b *bench) rotation(ctx context.Context, d time.Duration) error {
	fmt.Println("\n### refresh_token with rotation, chained, embedded store (WAL, synchronous=FULL, group commit)")
	fmt.Println()
	fmt.Println("| algorithm | connections | rotations/s | p50 / p99 | server CPU | broken chains |")
	fmt.Println("| --- | --- | --- | --- | --- | --- |")
	endpoint := b.server.URL("/oauth/token")
	for _, alg := range []string{"ES256", "RS256"} {
		f, err := b.management.NewFamily(ctx, "bench-"+strings.ToLower(alg), alg, 0)
		if err != nil {
			return err
		}
		for _, n := range []int{1, 16, 64} {
			client, err := b.server.Client(n)
			if err != nil {
				return err
			}
			values := make([]string, n)
			for i := range values {
				answer, err := f.Login(ctx, client, endpoint)
				if err != nil {
					return fmt.Errorf("login: %w", err)
				}
				values[i] = answer.RefreshToken
			}
			r, err := drive(ctx, b.server.Pid(), n, d, func(worker int) error {
				answer, err := f.Refresh(ctx, client, endpoint, values[worker])
				if err == nil {
					values[worker] = answer.RefreshToken
				}
				return err
			})
			if err != nil {
				return err
			}
			fmt.Printf("| %s | %d | %.0f | %s / %s | %s | %d |\n", alg, n, r.perSecond, round10(r.p50), round10(r.p99), round10(r.cpu), r.errors)
			client.CloseIdleConnections()
		}
	}
	return nil
}

func round10(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
