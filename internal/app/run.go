package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the public listener that hold before any work is done (SEC-225).
const (
	maxHeaderBytes    = 16 << 10
	headerTimeout     = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second // the reading and the answer together
	idleTimeout       = 60 * time.Second
	maxStreams        = 100
	opsTimeout        = 10 * time.Second
	drainTimeout      = 30 * time.Second // REL-16
	adminDrainTimeout = 5 * time.Second
)

// Run says that the server is ready, serves until ctx is done, and drains: it
// says that it is not ready, takes no new connections, finishes the requests it
// has within 30 seconds and closes the store (REL-16). It returns nil after a
// complete drain.
func (a *App) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	a.startLoops(background, &loops)

	public := a.publicServer(a.parts)
	if a.tests != nil {
		if err := a.tests.reopen(ctx); err != nil {
			a.log.Error("test tenants are not served", "error", err)
		}
	}
	servers := []*served{{server: public, listeners: a.public, tls: true}, {server: adminServer(a.operations()), listeners: []net.Listener{a.admin}}}
	if a.ops != nil {
		servers = append(servers, &served{server: a.opsServer(), listeners: a.ops})
	}
	a.announce()
	failed := make(chan error, 1)
	var serving sync.WaitGroup
	for _, s := range servers {
		s.start(&serving, failed)
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, a.drain(servers))
	if a.tests != nil {
		a.tests.close()
	}
	stop()
	serving.Wait()
	loops.Wait()
	if cerr := a.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close the store: %w", cerr))
	}
	if err == nil {
		a.log.Info("stopped")
	}
	return err
}

// announce is the contract with whoever started us: the first line of standard
// output says ready (D12). The link below it is printed once and kept nowhere
// (SEC-177); it goes to standard output and never to the log (SEC-230).
func (a *App) announce() {
	fmt.Fprintf(a.opts.Stdout, "bulla: ready %s\n", a.opts.Config.Issuer())
	if a.link != "" {
		fmt.Fprintf(a.opts.Stdout, "bulla: make the first administrator within %.0f minutes, once: %s\n", ticketLifetime.Minutes(), a.link)
	}
	if ca := a.CAFile(); ca != "" && a.link != "" {
		fmt.Fprintf(a.opts.Stdout, "bulla: clients have to trust %s\n", ca)
	}
}

// startLoops starts what runs beside the requests until ctx is done.
func (a *App) startLoops(ctx context.Context, loops *sync.WaitGroup) {
	loops.Go(func() {
		// The first round makes the keys that are published before they sign (D7),
		// after the start: making an RSA key takes longer than everything else in it.
		a.roundOfKeys(ctx, a.parts, a.opts.Clock, production)
		a.keepKeys(ctx, a.parts, a.opts.Clock, production)
	})
	loops.Go(func() { a.parts.management.RunJobs(ctx) })
	if a.node != nil && !a.opts.Config.Embedded() {
		loops.Go(func() { a.node.follow(ctx, a.data.store.DatabaseTime, a.log) })
	}
	if a.certificate != nil {
		loops.Go(func() { a.certificate.watch(ctx) })
	}
}

func (a *App) publicServer(p *parts) *http.Server {
	handler := a.metrics.count(p.server, p.server.Route)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		// A server adds to its TLS configuration as it starts; there may be several.
		Handler: handler, TLSConfig: a.tls.Clone(), Protocols: protocols,
		MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// Handshakes that fail and peers that hang up are everyday life.
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

func (a *App) opsServer() *http.Server {
	return &http.Server{
		Handler: a.metrics.opsHandler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: opsTimeout, WriteTimeout: opsTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// served is a server on its listeners.
type served struct {
	server    *http.Server
	listeners []net.Listener
	tls       bool
}

func (s *served) start(serving *sync.WaitGroup, failed chan<- error) {
	for _, l := range s.listeners {
		serving.Go(func() {
			var err error
			if s.tls {
				err = s.server.ServeTLS(l, "", "")
			} else {
				err = s.server.Serve(l)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				select {
				case failed <- fmt.Errorf("serve %s: %w", l.Addr(), err):
				default:
				}
			}
		})
	}
}

// drain ends the servers in the order of start: the public one first, so that
// commands and metrics go on while its last requests end.
func (a *App) drain(servers []*served) error {
	close(a.draining)
	a.log.Info("stopping: no longer ready")
	if d := a.opts.Config.DrainDelay; d > 0 {
		timer := time.NewTimer(d)
		<-timer.C
	}
	var errs []error
	for i, s := range servers {
		timeout := adminDrainTimeout
		if i == 0 {
			timeout = drainTimeout
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		if err := s.server.Shutdown(ctx); err != nil {
			s.server.Close()
			errs = append(errs, fmt.Errorf("requests were cut off after %v: %w", timeout, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}
