package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func openNode(t *testing.T, databaseURL string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: databaseURL, MaxConns: 8, Clock: clock.NewFake(start)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// foundOne makes a tenant with a user and a family, and returns its guard.
func foundOne(t *testing.T, s *store.Store) tenant.Guard {
	t.Helper()
	err := s.CreateTenant(t.Context(), tenant.Founding{Tenant: tenant.Tenant{ID: "t", Domain: "t.test", CreatedAt: start}})
	if err == nil {
		err = s.CreateUser(t.Context(), tenant.User{TenantID: "t", ID: "u", CreatedAt: start, UpdatedAt: start}, "", tenant.Event{})
	}
	g := tenant.Guard{ConfigVersion: 1, UserID: "u", UserVersion: 1}
	if err == nil {
		f := tenant.RefreshToken{TenantID: "t", ID: "rt", ClientID: "c", UserID: "u", Rotating: true, CreatedAt: start}
		err = s.IssueRefreshToken(t.Context(), tenant.Issue{Family: f, Limit: 200}, g, tenant.Event{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func rotate(g tenant.Guard, generation uint32, kind tenant.RotationKind) tenant.Rotation {
	return tenant.Rotation{TenantID: "t", ID: "rt", Guard: g, Kind: kind, Generation: generation, WasRotating: true, NowRotating: true,
		At: start, NewKeyVersion: 1, Attempt: "a", Event: tenant.Event{Type: "sertft"}}
}

// TestPostgresNodes: two nodes with one database are one store (D6, SEC-3): what
// one changes the other sees with its next read, and of two that write one row
// one wins, or all do, as the contract says.
func TestPostgresNodes(t *testing.T) {
	t.Parallel()
	u := postgresDatabase(t)
	nodes := []*store.Store{openNode(t, u), openNode(t, u)}
	g := foundOne(t, nodes[0])

	together := func(n int, call func(i int) error) (won, conflicts int) {
		var wg sync.WaitGroup
		var ok, lost atomic.Int64
		for i := range n {
			wg.Go(func() {
				switch err := call(i); {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, tenant.ErrConflict):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return int(ok.Load()), int(lost.Load())
	}
	for generation := range uint32(20) {
		r := rotate(g, generation, tenant.Rotate)
		if won, lost := together(16, func(i int) error { return nodes[i%2].RotateRefreshToken(t.Context(), r) }); won != 1 || lost != 15 {
			t.Errorf("round %d: %d rotations won and %d lost, want 1 and 15 (SEC-114)", generation, won, lost)
		}
	}
	replay := rotate(g, 20, tenant.Replay)
	if won, lost := together(100, func(i int) error { return nodes[i%2].RotateRefreshToken(t.Context(), replay) }); won != 100 || lost != 0 {
		t.Errorf("%d replays won and %d lost, want all 100", won, lost)
	}
	f, err := nodes[1].RefreshToken(t.Context(), "t", "rt")
	if err != nil || f.Generation != 20 || f.Repeats != 100 {
		t.Errorf("family at generation %d with %d repeats, %v, want 20 and 100", f.Generation, f.Repeats, err)
	}
	for n := range 20 { // a changed client is changed everywhere at once (SEC-129)
		c := tenant.Client{TenantID: "t", ID: "c", Name: fmt.Sprint(n), CreatedAt: start}
		if n == 0 {
			err = nodes[0].CreateClient(t.Context(), c, tenant.Event{})
		} else {
			_, err = nodes[n%2].UpdateClient(t.Context(), "t", "c", func(old tenant.Client) (tenant.Client, error) {
				old.Name, old.Document = c.Name, nil
				return old, nil
			}, tenant.Event{})
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, node := range nodes {
			now, err := node.TenantByHost(t.Context(), "t.test")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := node.Client(t.Context(), now, "c"); err != nil || got.Name != c.Name {
				t.Errorf("node %d reads %q, %v, want %q", i, got.Name, err, c.Name)
			}
		}
	}
}

// TestPostgresTurnsReadOnly: a server that only reads is refused at the start; a
// session that turns read-only fails its write, leaves the pool, and writes go on
// when the server does (REL-12, REL-14).
func TestPostgresTurnsReadOnly(t *testing.T) {
	t.Parallel()
	u := postgresDatabase(t)
	s := openNode(t, u)
	g := foundOne(t, s)
	admin, err := sql.Open("pgx", os.Getenv("TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/")
	readOnly := func(on string) {
		if _, err := admin.ExecContext(t.Context(), `ALTER DATABASE "`+name+`" SET default_transaction_read_only = `+on); err != nil {
			t.Fatal(err)
		}
	}
	kick := func() {
		if _, err := admin.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name); err != nil {
			t.Fatal(err)
		}
	}
	readOnly("on")
	kick()
	for range 20 { // past the connections that were cut
		err = s.RotateRefreshToken(t.Context(), rotate(g, 0, tenant.Rotate))
		if err == nil || errors.Is(err, tenant.ErrConflict) || errors.Is(err, tenant.ErrNotFound) {
			t.Fatalf("a rotation on a server that only reads: %v", err)
		}
	}
	if !strings.Contains(err.Error(), "25006") {
		t.Errorf("the last of them: %v, want 25006", err)
	}
	if other, err := store.Open(t.Context(), store.Options{URL: u, Clock: clock.NewFake(start)}); err == nil || !strings.Contains(err.Error(), "only reads") {
		if err == nil {
			_ = other.Close()
		}
		t.Errorf("opening a server that only reads: %v", err)
	}
	readOnly("off")
	// The sessions opened meanwhile still only read. None of them may be left.
	if err := s.RotateRefreshToken(t.Context(), rotate(g, 0, tenant.Rotate)); err != nil {
		t.Errorf("a rotation when the server writes again: %v", err)
	}
}

// cutter stands before a server and, while armed, cuts a connection after it has
// passed a commit on and before the answer comes back.
type cutter struct {
	listener net.Listener
	server   string
	armed    atomic.Bool
	cut      atomic.Int64
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, server: server}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.serve(client) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	back := make(chan struct{})
	var silent atomic.Bool
	go func() {
		defer close(back)
		buffer := make([]byte, 1<<15)
		for {
			n, err := server.Read(buffer)
			if n > 0 && !silent.Load() {
				_, _ = client.Write(buffer[:n])
			}
			if err != nil || silent.Load() && n > 0 { // the answer to the commit has come: it happened
				_ = client.Close()
				return
			}
		}
	}()
	buffer := make([]byte, 1<<15)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			if c.armed.Load() && bytes.Contains(buffer[:n], []byte("commit")) {
				silent.Store(true)
				c.cut.Add(1)
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	<-back
}

// TestPostgresCommitOfUnknownOutcome: the answer to a commit that is lost is
// ErrUnknownOutcome; the write is there once, and was not repeated (D6).
func TestPostgresCommitOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	u := postgresDatabase(t)
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	c := newCutter(t, parsed.Host)
	parsed.Host = c.listener.Addr().String()
	s := openNode(t, parsed.String())
	g := foundOne(t, s)

	c.armed.Store(true)
	err = s.RotateRefreshToken(t.Context(), rotate(g, 0, tenant.Rotate))
	if !errors.Is(err, tenant.ErrUnknownOutcome) {
		t.Errorf("rotation whose answer was cut off: %v", err)
	}
	c.armed.Store(false)
	if n := c.cut.Load(); n != 1 {
		t.Errorf("%d commits were cut, want 1: was it repeated?", n)
	}
	f, err := s.RefreshToken(t.Context(), "t", "rt")
	if err != nil || f.Generation != 1 || f.Attempt != "a" {
		t.Errorf("generation %d of attempt %q, %v, want 1 of a", f.Generation, f.Attempt, err)
	}
	if err := s.RotateRefreshToken(t.Context(), rotate(g, 1, tenant.Rotate)); err != nil {
		t.Errorf("the next rotation: %v", err)
	}
}

// TestPostgresAway: a database that is not there is a fault and nothing else
// (SEC-2), and one that comes back is used again.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	u := postgresDatabase(t)
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	c := newCutter(t, parsed.Host)
	parsed.Host = c.listener.Addr().String()
	s, err := store.Open(t.Context(), store.Options{URL: parsed.String(), MaxConns: 2, Clock: clock.NewFake(start), WriteTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	g := foundOne(t, s)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.RotateRefreshToken(cancelled, rotate(g, 0, tenant.Rotate)); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	admin, err := sql.Open("pgx", os.Getenv("TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := c.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, strings.TrimPrefix(parsed.Path, "/")); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"a rotation": func() error { return s.RotateRefreshToken(t.Context(), rotate(g, 0, tenant.Rotate)) },
		"a read":     func() error { _, err := s.RefreshToken(t.Context(), "t", "rt"); return err },
		"readiness":  func() error { return s.Ping(t.Context()) },
	} {
		var err error
		for range 3 { // past the pooled connections that were cut
			err = call()
		}
		if err == nil || errors.Is(err, tenant.ErrConflict) || errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%s without a database: %v", what, err)
		}
	}
}
