// Package authtest runs a real Bulla in the process of a test: on a free loopback
// port, over TLS, with an empty store of its own and a clock that the test moves.
//
// It promises that what a test sees is the product: the same handlers, store and
// keys, reached over HTTPS alone. Only the clock is not real; it stands still
// until Advance, so that expiry is tested in milliseconds. The server stops, and
// its files go, with the test. It refuses to fake an answer.
//
//	srv := authtest.Start(t)
//	api := srv.CreateAPI(t, "https://api.example.com", "read:things")
//	client := srv.CreateClient(t, map[string]any{"name": "machine", "app_type": "non_interactive"})
//	srv.Grant(t, client.ID, api.Identifier, "read:things")
//	tokens := srv.ClientCredentials(t, client, api.Identifier)
//	srv.Advance(24 * time.Hour) // and the token has expired
package authtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/app"
	"github.com/bulla-auth/bulla/internal/clock"
)

// Server is a running Bulla. Its methods are safe for concurrent use.
type Server struct {
	// URL is where it listens, https://localhost:PORT, without a slash at the end.
	URL string
	// Issuer is iss of its tokens: URL with a slash.
	Issuer string
	// CAFile is the certificate that clients have to trust, in PEM.
	CAFile string
	// Dir is its data directory.
	Dir string
	// AdministratorLink makes the first administrator, once; empty after Restart.
	AdministratorLink string

	opts   options
	clock  *clock.Fake
	roots  *x509.CertPool
	client *http.Client
	domain string

	mu         sync.Mutex
	stop       func(testing.TB) // of the running server; nil when stopped
	management managementToken
	admin      *app.Admin
}

type options struct {
	database string
	start    time.Time
	pause    func()
	log      io.Writer
}

// Option changes how a server is started.
type Option func(*options)

// Database keeps the data in an empty PostgreSQL database instead of the
// embedded store.
func Database(url string) Option { return func(o *options) { o.database = url } }

// StartAt sets the clock; the default is the present, to the second. Clients that
// judge tokens by the machine's clock need one near it.
func StartAt(t time.Time) Option { return func(o *options) { o.start = t } }

// Pause calls f once in every token request between its reads and its write,
// where a tenant's rules run, so that a test can make requests overtake one another.
func Pause(f func()) Option { return func(o *options) { o.pause = f } }

// Log writes the server's log to w.
func Log(w io.Writer) Option { return func(o *options) { o.log = w } }

const (
	startTimeout = 30 * time.Second
	// cheapPasswordKiB makes logins fast: a test does not defend its passwords.
	cheapPasswordKiB = 64
)

// Start starts a server for the test and waits until it is ready.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{start: clock.System{}.Now().Truncate(time.Second)}
	for _, opt := range opts {
		opt(&o)
	}
	dir, err := os.MkdirTemp("", "authtest") // shorter than t.TempDir: there will be a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{Dir: dir, opts: o, clock: clock.NewFake(o.start)}
	ls := s.listen(t, "127.0.0.1:0")
	_, port, err := net.SplitHostPort(ls.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.domain = "localhost:" + port
	s.URL = "https://" + s.domain
	s.Issuer = s.URL + "/"
	s.run(t, ls)
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	if !s.roots.AppendCertsFromPEM(pem) {
		t.Fatalf("authtest: %s holds no certificate", s.CAFile)
	}
	s.client = s.newClient()
	t.Cleanup(func() {
		s.Stop(t)
		s.client.CloseIdleConnections()
	})
	return s
}

func (s *Server) listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run starts the server on the listener and waits for the line that says ready.
func (s *Server) run(t testing.TB, l net.Listener) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if s.opts.log != nil {
		log = slog.New(slog.NewTextHandler(s.opts.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var o app.Options
	o.Config.Data, o.Config.Domain, o.Config.DatabaseURL = s.Dir, s.domain, s.opts.database
	o.Config.Listen, o.Config.MasterKeyFile = s.domain, s.Dir+"/master.key"
	o.Clock, o.Logger, o.Listeners, o.Pause = s.clock, log, []net.Listener{l}, s.opts.pause
	o.PasswordMemory, o.Build.Version = cheapPasswordKiB, "authtest"
	stdout, w := io.Pipe()
	o.Stdout = w
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.New(ctx, o)
	if err != nil {
		cancel()
		t.Fatalf("authtest: %v", err)
	}
	s.CAFile, s.AdministratorLink = a.CAFile(), a.AdministratorLink()
	done := make(chan error, 1)
	go func() {
		err := a.Run(ctx)
		w.Close()
		done <- err
	}()
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadString('\n')
	if want := "bulla: ready " + s.Issuer + "\n"; err != nil || first != want {
		cancel()
		t.Fatalf("authtest: first line %q (%v), want %q", first, err, want)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines) // the pipe ends with Run
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admin = app.NewAdmin(o)
	s.stop = func(t testing.TB) {
		cancel()
		timeout, giveUp := context.WithTimeout(context.Background(), startTimeout)
		defer giveUp()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("authtest: stop: %v", err)
			}
		case <-timeout.Done():
			t.Error("authtest: the server does not stop")
		}
		<-drained
	}
}

// Stop drains the server. Stopping twice is stopping once.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	stop := s.stop
	s.stop = nil
	s.mu.Unlock()
	if stop != nil {
		stop(t)
	}
}

// Restart stops the server and starts it again on the same data and address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.client.CloseIdleConnections()
	s.run(t, s.listen(t, strings.Replace(s.domain, "localhost", "127.0.0.1", 1)))
}

// Now is the server's time.
func (s *Server) Now() time.Time { return s.clock.Now() }

// Advance moves the server's clock forward.
func (s *Server) Advance(d time.Duration) { s.clock.Advance(d) }

// Client is an HTTP client that trusts the server's authority and hands
// redirects back instead of following them. It is shared: set nothing on it.
func (s *Server) Client() *http.Client { return s.client }

// Roots is the pool with the server's authority.
func (s *Server) Roots() *x509.CertPool { return s.roots }

func (s *Server) newClient() *http.Client {
	var d net.Dialer
	return &http.Client{
		Timeout: startTimeout,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 100,
			ForceAttemptHTTP2:   true,
			// A name like tenant.localhost does not resolve everywhere.
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				if host == "localhost" || strings.HasSuffix(host, ".localhost") {
					host = "127.0.0.1"
				}
				return d.DialContext(ctx, network, net.JoinHostPort(host, port))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Response is an answer that has been read to its end.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	// URL is what was asked for.
	URL *url.URL
	// Proto is HTTP/1.1 or HTTP/2.0.
	Proto string
	// Cookies are those the answer sets.
	Cookies []*http.Cookie
}

// Location is where a redirect leads; nil when the answer is none.
func (r Response) Location() *url.URL {
	l := r.Header.Get("Location")
	if l == "" {
		return nil
	}
	u, err := r.URL.Parse(l)
	if err != nil {
		return nil
	}
	return u
}

// JSON decodes the body into v; a body that is not JSON fails the test.
func (r Response) JSON(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(r.Body, v); err != nil {
		t.Fatalf("authtest: %s is not what was expected: %v", r, err)
	}
}

// String is the answer for a test's message.
func (r Response) String() string { return fmt.Sprintf("%s: %d: %s", r.URL.Path, r.Status, r.Body) }

// Do sends a request and reads the answer.
func (s *Server) Do(t testing.TB, req *http.Request) Response {
	t.Helper()
	return do(t, s.client, req)
}

func do(t testing.TB, c *http.Client, req *http.Request) Response {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Response{
		Status: resp.StatusCode, Header: resp.Header, Body: body, URL: req.URL, Proto: resp.Proto, Cookies: resp.Cookies(),
	}
}

// Request makes a request for a path of the server; body may be nil.
func (s *Server) Request(t testing.TB, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Get asks for a path.
func (s *Server) Get(t testing.TB, path string) Response {
	t.Helper()
	return s.Do(t, s.Request(t, http.MethodGet, path, nil))
}
