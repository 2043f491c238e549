package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// maxTestTenants bounds ports and memory.
	maxTestTenants = 50
	// testDrain is how long the requests of a test tenant may take to end.
	testDrain = 2 * time.Second
)

// virtualClock is ahead of another clock, further each time it is moved, and
// never goes back (D10).
type virtualClock struct {
	base  clock.Clock
	mu    sync.Mutex
	ahead time.Duration
}

// Now implements clock.Clock.
func (c *virtualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Now().Add(c.ahead)
}

// moveTo sets how far it is ahead, unless it is further already.
func (c *virtualClock) moveTo(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = max(c.ahead, ahead)
}

// view is the store as the parts of one clock see it: with the tenants that live
// by that clock alone. A test tenant's host named to the main server, where
// another time holds, is a host nobody knows, and the other way about.
type view struct {
	*store.Store
	serves func(tenant.Tenant) bool
}

// TenantByHost is the store's, of the tenants served here.
func (v view) TenantByHost(ctx context.Context, host string) (tenant.Tenant, error) {
	t, err := v.Store.TenantByHost(ctx, host)
	if err == nil && !v.serves(t) {
		return tenant.Tenant{}, tenant.ErrNotFound
	}
	return t, err
}

// Tenants lists the tenants served here.
func (v view) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	all, err := v.Store.Tenants(ctx)
	var out []tenant.Tenant
	for _, t := range all {
		if v.serves(t) {
			out = append(out, t)
		}
	}
	return out, err
}

// production are the tenants of the main server.
func production(t tenant.Tenant) bool { return !t.Test }

// testTenants serves each test tenant by parts of its own, which read its clock,
// at a port of its own at localhost (D2).
type testTenants struct {
	app *App

	mu      sync.Mutex
	running map[string]*testTenant
}

type testTenant struct {
	tenant tenant.Tenant
	clock  *virtualClock
	parts  *parts
	server *http.Server
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// reopen serves the test tenants of before a restart. One whose port is taken is
// told of and left; it can be dropped.
func (x *testTenants) reopen(ctx context.Context) error {
	all, err := x.app.data.store.Tenants(ctx)
	if err != nil {
		return fmt.Errorf("read the test tenants: %w", err)
	}
	for _, t := range all {
		if !t.Test {
			continue
		}
		_, port, err := net.SplitHostPort(t.Domain)
		if err != nil {
			return fmt.Errorf("test tenant at %s: %w", t.Domain, err)
		}
		ls, err := listen(net.JoinHostPort("localhost", port))
		if err != nil {
			x.app.log.Warn("a test tenant cannot be served: its port is in use", "tenant", t.ID, "domain", t.Domain)
			continue
		}
		x.serve(t, ls)
	}
	return nil
}

// serve begins to serve a tenant on listeners.
func (x *testTenants) serve(t tenant.Tenant, ls []net.Listener) *testTenant {
	clk := &virtualClock{base: x.app.opts.Clock, ahead: t.Advanced}
	alone := func(other tenant.Tenant) bool { return other.ID == t.ID }
	p := x.app.join(clk, alone, x)
	ctx, stop := context.WithCancel(context.Background())
	run := &testTenant{tenant: t, clock: clk, parts: p, server: x.app.publicServer(p), stop: stop}
	run.done.Go(func() { p.management.RunJobs(ctx) })
	run.done.Go(func() { x.app.keepKeys(ctx, p, clk, alone) })
	for _, l := range ls {
		run.done.Go(func() {
			if err := run.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				x.app.log.Error("a test tenant is no longer served", "tenant", t.ID, "error", err)
			}
		})
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running[t.ID] = run
	return run
}

// end stops serving and waits until nothing of it runs.
func (run *testTenant) end() {
	ctx, cancel := context.WithTimeout(context.Background(), testDrain)
	defer cancel()
	if err := run.server.Shutdown(ctx); err != nil {
		run.server.Close()
	}
	run.stop()
	run.done.Wait()
}

// close ends all of them, for a stop of the server.
func (x *testTenants) close() {
	x.mu.Lock()
	all := x.running
	x.running = map[string]*testTenant{}
	x.mu.Unlock()
	var ending sync.WaitGroup
	for _, run := range all {
		ending.Go(run.end)
	}
	ending.Wait()
}

// Create implements management.TestTenants.
func (x *testTenants) Create(ctx context.Context) (out management.TestTenant, err error) {
	x.mu.Lock()
	full := len(x.running) >= maxTestTenants
	x.mu.Unlock()
	if full {
		return out, management.ErrTooManyTestTenants
	}
	ls, err := listen("localhost:0")
	if err != nil {
		return out, err
	}
	founding, _, err := x.app.data.founding(ctx, "localhost:"+listenerPort(ls[0]), x.app.opts.Clock.Now(), x.app.opts.Rand)
	if err == nil {
		founding.Tenant.Test, founding.Tickets = true, nil
		founding.Event.Reason = "test_tenant"
		err = x.app.data.store.CreateTenant(ctx, founding)
	}
	if err != nil {
		closeAll(ls)
		return out, fmt.Errorf("found a test tenant: %w", err)
	}
	t, err := x.app.data.store.Tenant(ctx, founding.Tenant.ID)
	if err != nil {
		closeAll(ls)
		return out, err
	}
	run := x.serve(t, ls)
	out = management.TestTenant{Tenant: t, Now: run.clock.Now()}
	if out.ClientID, out.ClientSecret, err = run.parts.management.MachineClient(ctx, t, "test"); err != nil {
		return out, errors.Join(err, x.Drop(context.WithoutCancel(ctx), t.ID))
	}
	return out, nil
}

// Advance implements management.TestTenants. The clock has moved when it answers.
func (x *testTenants) Advance(ctx context.Context, t tenant.Tenant, d time.Duration) (time.Time, error) {
	x.mu.Lock()
	run := x.running[t.ID]
	x.mu.Unlock()
	if run == nil {
		return time.Time{}, tenant.ErrNotFound
	}
	ahead, err := x.app.data.store.AdvanceTenant(ctx, t.ID, d)
	if err != nil {
		return time.Time{}, err
	}
	run.clock.moveTo(ahead)
	return run.clock.Now(), nil
}

// Drop implements management.TestTenants. Nobody serves the tenant any more when
// its rows go.
func (x *testTenants) Drop(ctx context.Context, id string) error {
	x.mu.Lock()
	run := x.running[id]
	delete(x.running, id)
	x.mu.Unlock()
	if run != nil {
		run.end()
	}
	return x.app.data.store.DeleteTestTenant(ctx, id)
}
