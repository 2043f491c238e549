// Package app joins the parts: configuration goes in, a running server and its
// background loops come out. It also carries out what the command line asks for,
// inside a running server or in its place.
//
// It promises: nothing is served before the server says on its standard output
// that it is ready, and everything after it; a start that fails says in one line
// what to do and leaves the disk as it was (SEC-138, SEC-262); a stop that is
// asked for finishes the requests it has (REL-16). It refuses to hold a rule of
// its own about tokens, users or tenants: those are the parts' business.
package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/config"
	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/server"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Options are what a server is made of besides its parts. Config is required
// and has been validated; the zero value of everything else is for production.
type Options struct {
	Config config.Config
	// Clock judges and stamps; nil is the machine's. Certificates and request
	// rates follow the machine's clock whatever this is.
	Clock clock.Clock
	// Rand gives ids, codes and token values; nil is crypto/rand.
	Rand io.Reader
	// Logger is nil for silence.
	Logger *slog.Logger
	// Stdout gets the line that says ready, and after it what a person has to
	// know once.
	Stdout io.Writer
	// Listeners are used instead of opening Config.Listen.
	Listeners []net.Listener
	// Pause, when set, is called once in each token request between its reads and
	// its write, where rules run: a test waits there.
	Pause func()
	// PasswordMemory replaces the memory in KiB of a password hash; zero is the
	// default. A test need not pay it.
	PasswordMemory uint32
	Build          Build
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	return o
}

// App is a server that is ready to run.
type App struct {
	opts Options
	log  *slog.Logger
	wall clock.Clock

	data    *data
	hasher  *password.Hasher // one for all parts: it bounds the machine's memory
	parts   *parts
	tests   *testTenants // nil where there are none
	metrics *metrics
	signing token.RingOptions // what signs with RSA keys
	link    string            // of the first administrator, at the first start

	public, ops []net.Listener
	tls         *tls.Config
	certificate *certificate // nil with the local authority
	node        *nodeClock   // nil when Options.Clock is not the machine's
	admin       net.Listener
	draining    chan struct{} // closed when /readyz turns false

	// closers undo what New did, the latest first.
	closers []func() error
}

// parts are the packages at work on one store.
type parts struct {
	grants     *grant.Service
	management *management.API
	server     *server.Server
	hasher     *password.Hasher
	ring       *token.Ring
}

// Serve runs a server until ctx is done, and then drains it.
func Serve(ctx context.Context, o Options) error {
	a, err := New(ctx, o)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// New makes a server ready: everything that can fail at a start fails here. The
// addresses come first, because a busy port must leave no trace on the disk.
// Whoever does not call Run calls Close.
func New(ctx context.Context, o Options) (a *App, err error) {
	var node *nodeClock
	if o.Clock == nil {
		node = &nodeClock{base: clock.System{}}
		o.Clock = node
	}
	o = o.withDefaults()
	a = &App{
		opts: o, log: o.Logger, wall: clock.System{}, node: node,
		metrics: newMetrics(o.Build), draining: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if err := a.listen(); err != nil {
		return a, err
	}
	if err := a.openCertificate(); err != nil {
		return a, err
	}
	if a.data, err = openData(ctx, o, true, a.metrics.commit); err != nil {
		return a, err
	}
	a.closers = append(a.closers, a.data.store.Close)
	if err := a.setClock(ctx); err != nil {
		return a, err
	}
	if len(a.data.tenants) == 0 {
		if _, a.link, err = a.data.found(ctx, o.Config.Domain, o.Clock, o.Rand); err != nil {
			return a, err
		}
	}
	if err := a.data.belongs(o.Config); err != nil {
		return a, err
	}
	if err := a.localAuthority(); err != nil {
		return a, err
	}
	a.hasher = password.NewHasher(password.Options{Rand: o.Rand, Memory: o.PasswordMemory})
	var tests management.TestTenants // a nil of this type, and not of ours
	if o.Config.TestTenants {
		a.tests = &testTenants{app: a, running: map[string]*testTenant{}}
		tests = a.tests
	}
	a.signing = a.openSigning()
	a.parts = a.join(o.Clock, production, tests)
	a.publish()
	return a, a.listenAdmin()
}

// Close undoes New. Run does it too.
func (a *App) Close() error {
	var errs []error
	for _, c := range slices.Backward(a.closers) {
		errs = append(errs, c())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// AdministratorLink is the one-time address that makes the first administrator;
// empty but at the first start.
func (a *App) AdministratorLink() string { return a.link }

// CAFile is the certificate that clients have to trust; empty when the operator
// has configured a certificate.
func (a *App) CAFile() string { return caFile(a.opts.Config) }

func caFile(cfg config.Config) string {
	if cfg.TLSCert != "" {
		return ""
	}
	path := filepath.Join(cfg.Data, authorityFile)
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

func (a *App) listen() error {
	a.public = a.opts.Listeners
	if a.public == nil {
		ls, err := listen(a.opts.Config.Listen)
		if err != nil {
			return err
		}
		a.public = ls
	}
	a.closers = append(a.closers, func() error { closeAll(a.public); return nil })
	if a.opts.Config.OpsListen == "" {
		return nil
	}
	ls, err := listen(a.opts.Config.OpsListen)
	if err != nil {
		return fmt.Errorf("operator's listener: %w", err)
	}
	a.ops = ls
	a.closers = append(a.closers, func() error { closeAll(a.ops); return nil })
	return nil
}

// openCertificate opens the configured certificate; with none there is nothing
// to do before there is a data directory.
func (a *App) openCertificate() error {
	cfg := a.opts.Config
	if cfg.TLSCert == "" {
		return nil
	}
	c, err := openCertificate(cfg.TLSCert, cfg.TLSKey, cfg.DomainHost(), a.wall, a.log)
	if err != nil {
		return err
	}
	a.certificate, a.tls = c, tlsConfig(c.getCertificate)
	return nil
}

func (a *App) localAuthority() error {
	if a.certificate != nil {
		return nil
	}
	authority, err := openAuthority(a.opts.Config.Data, a.opts.Config.DomainHost(), a.wall)
	if err != nil {
		return err
	}
	a.tls = tlsConfig(authority.getCertificate)
	return nil
}

// setClock takes the database's time over before anything is stamped with it.
func (a *App) setClock(ctx context.Context) error {
	if a.node == nil {
		return nil
	}
	if err := a.node.measure(ctx, a.data.store.DatabaseTime); err != nil {
		return err
	}
	return a.node.inService()
}

func (a *App) listenAdmin() error {
	l, remove, err := listenSocket(a.opts.Config.Data)
	if err != nil {
		return err
	}
	a.admin = l
	a.closers = append(a.closers, func() error { l.Close(); remove(); return nil })
	return nil
}

// join makes the packages of one clock, for the tenants that live by it.
func (a *App) join(clk clock.Clock, serves func(tenant.Tenant) bool, tests management.TestTenants) *parts {
	o, vault := a.opts, a.data.vault
	o.Clock = clk
	st := view{Store: a.data.store, serves: serves}
	ring := token.NewRingWith(st, vault, a.signing)
	minter := token.NewMinter(ring, o.Rand)

	var rules grant.Rules
	if o.Pause != nil {
		rules = pause(o.Pause)
	}
	grants := grant.New(grant.Options{
		Store: countedStore{Store: a.data.store, m: a.metrics}, Rules: rules, Minter: minter, Ring: ring, Refresh: token.NewRefresh(st, vault),
		Secrets: vault, Passwords: a.hasher, Clock: o.Clock, Rand: o.Rand, Logger: o.Logger,
	})
	api := newManagement(a.data, st, ring, a.hasher, grants, o, tests)
	front := authorize.New(authorize.Options{
		Store: st, Minter: minter, Ring: ring, Passwords: a.hasher, Clock: o.Clock, Rand: o.Rand,
	})
	edge := server.New(server.Options{
		Directory: st, Authorize: front, Grants: grants, Keys: ring, Management: api,
		Ready: a.ready, Draining: a.draining, Wall: a.wall, Rand: o.Rand, Logger: o.Logger, TrustedProxies: prefixes(o.Config.TrustedProxies),
	})
	return &parts{grants: grants, management: api, server: edge, hasher: a.hasher, ring: ring}
}

// newManagement is the Management API; commands need it without the rest.
func newManagement(d *data, st management.Store, ring *token.Ring, hasher *password.Hasher, auth management.Authenticator, o Options, tests management.TestTenants) *management.API {
	return management.New(management.Options{
		TestTenants: tests, Store: st, Authenticator: auth, Vault: d.vault, Passwords: hasher, Hashes: ring, Keyring: d.keyring(o.Clock),
		Thumbprint: jose.Thumbprint, Clock: o.Clock, Rand: o.Rand, Logger: o.Logger,
	})
}

// pause stands where the rules would, decides nothing and takes its time.
type pause func()

func (p pause) Run(context.Context, tenant.RuleContext) (tenant.RuleResult, error) {
	p()
	return tenant.RuleResult{}, nil
}

// prefixes are the networks of the configuration, an address being its own.
func prefixes(values []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(values))
	for _, v := range values {
		if p, err := netip.ParsePrefix(v); err == nil {
			out = append(out, p.Masked())
		} else if addr, err := netip.ParseAddr(v); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

var errDraining = errors.New("the server is stopping")

// ready tells whether requests can be served (REL-14, REL-16).
func (a *App) ready(ctx context.Context) error {
	select {
	case <-a.draining:
		return errDraining
	default:
	}
	if a.node != nil {
		if err := a.node.inService(); err != nil {
			return err
		}
	}
	return a.data.store.Ping(ctx)
}

// publish registers what other parts count.
func (a *App) publish() {
	a.metrics.counter("bulla_events_dropped_total", "Events lost because the queue was full.", func() float64 { return float64(a.data.store.Dropped()) })
	a.metrics.gauge("bulla_events_waiting", "Events that wait for a commit.", func() float64 { return float64(a.data.store.WaitingEvents()) })
	a.metrics.gauge("bulla_store_writes_waiting", "Writes that wait for the embedded store's writer.", func() float64 { return float64(a.data.store.WaitingWrites()) })
	a.metrics.gauge("bulla_password_hashes_computing", "Password hashes being computed.", func() float64 { n, _ := a.parts.hasher.InUse(); return float64(n) })
	a.metrics.gauge("bulla_password_hashes_waiting", "Callers that wait to have a password hashed.", func() float64 { _, n := a.parts.hasher.InUse(); return float64(n) })
	if a.node != nil && !a.opts.Config.Embedded() {
		a.metrics.gauge("bulla_clock_drift_seconds", "How far the database's clock is ahead of this machine's.", func() float64 { return a.node.drift().Seconds() })
	}
	if a.certificate != nil {
		a.metrics.gauge("bulla_tls_certificate_expiry_seconds", "When the TLS certificate expires, as Unix time.",
			func() float64 { return float64(a.certificate.expiresAt().Unix()) })
	}
}

// tenantNow is the tenant of the configured domain, with its configuration
// version of now.
func (d *data) tenantNow(ctx context.Context, cfg config.Config) (tenant.Tenant, error) {
	t, err := d.store.TenantByHost(ctx, cfg.Domain)
	if errors.Is(err, tenant.ErrNotFound) {
		err = d.belongs(cfg)
	}
	return t, err
}
