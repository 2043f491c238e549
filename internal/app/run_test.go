package app

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// live is an App that runs in the test.
type live struct {
	*App
	address string // of the public listener
	roots   *x509.CertPool
	client  *http.Client
	stop    func() error // asks it to stop and waits
}

// start runs an App on an empty directory and a free port. stop has to be called.
func start(t *testing.T, change func(*Options)) *live {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	o := Options{Listeners: []net.Listener{l}, PasswordMemory: 64}
	o.Config.Data, o.Config.MasterKeyFile = dir, dir+"/master.key"
	o.Config.Domain = "localhost:" + listenerPort(l)
	if change != nil {
		change(&o)
	}
	reader, writer := io.Pipe()
	o.Stdout = writer
	a, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := a.Run(ctx)
		writer.Close()
		done <- err
	}()
	lines := bufio.NewReader(reader)
	if first, err := lines.ReadString('\n'); err != nil || first != "bulla: ready https://"+o.Config.Domain+"/\n" {
		t.Fatalf("first line %q (%v)", first, err)
	}
	rest := make(chan struct{})
	go func() { defer close(rest); _, _ = io.Copy(io.Discard, lines) }()
	roots, err := authorityPool(a.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	s := &live{App: a, address: l.Addr().String(), roots: roots, client: &http.Client{Transport: transport}}
	s.stop = func() error {
		transport.CloseIdleConnections()
		cancel()
		err := <-done
		<-rest
		return err
	}
	return s
}

func (s *live) get(t *testing.T, target string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (s *live) token(t *testing.T, c Credentials) (int, error) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}, "audience": {c.Issuer + "api/v2/"}}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.Issuer+"oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// SEC-196: metrics are on the operator's listener and nowhere else; health
// endpoints give a status only. SEC-230: no label holds what a caller wrote.
func TestOpsListener(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := start(t, func(o *Options) {
		o.Config.OpsListen = "127.0.0.1:0"
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	c, err := NewAdmin(s.opts).ManagementClient(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := s.token(t, c); status != http.StatusOK {
		t.Fatalf("token: %d (%v)", status, err)
	}
	issuer := strings.TrimSuffix(c.Issuer, "/")
	if status, _ := s.get(t, issuer+"/canary-path?canary=query"); status != http.StatusNotFound {
		t.Errorf("unknown path: %d, want 404", status)
	}
	for path, want := range map[string]int{"/metrics": 404, "/debug/pprof/": 404, "/healthz": 204, "/readyz": 204} {
		if status, body := s.get(t, issuer+path); status != want || want == 204 && body != "" {
			t.Errorf("public %s: %d %q, want %d", path, status, body, want)
		}
	}
	_, body := s.get(t, "http://"+s.ops[0].Addr().String()+"/metrics")
	for _, want := range []string{
		`bulla_token_requests_total{grant="client_credentials",outcome="issued"} 1`,
		`bulla_http_requests_total{method="POST",route="POST /oauth/token",status="200"} 1`,
		`bulla_http_request_duration_seconds_count{route="POST /oauth/token"} 1`,
		"bulla_store_commit_writes_count", "bulla_store_commit_duration_seconds_sum", "bulla_events_dropped_total 0",
		"bulla_password_hashes_waiting 0", "bulla_build_info{", "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if err := s.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, secret := range []string{"canary", c.ClientSecret} {
		if strings.Contains(body, secret) {
			t.Errorf("metrics hold %q", secret)
		}
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// REL-16: when a stop is asked for, /readyz says so, requests that are under way
// end well, and then the server does.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c, err := NewAdmin(s.opts).ManagementClient(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	// A request whose body is half there when the stop is asked for.
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}, "audience": {c.Issuer + "api/v2/"}}.Encode()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /oauth/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", s.opts.Config.Domain, len(form))
	answer := bufio.NewReader(conn)
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("got %q (%v), want 100 Continue: the handler reads the body", line, err)
	}
	if _, err := answer.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, form[:10])

	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	<-s.draining
	if err := s.ready(t.Context()); err == nil {
		t.Error("ready while it drains")
	}
	refused := false
	for !refused { // the listener closes at once, but not in the same instant
		next, err := net.Dial("tcp", s.address)
		if refused = err != nil; !refused {
			next.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way (%v)", err)
	default:
	}
	fmt.Fprint(conn, form[10:])
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatalf("the request under way was cut off: %v", err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the request under way: %s: %s (%v)", resp.Status, body, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// SEC-225: limits hold before any work is done. SEC-218: plain HTTP on the TLS
// port gets 400 and no redirect.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	defer func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	ask := func(conn io.ReadWriter, header string) (status int, location string) {
		t.Helper()
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", s.opts.Config.Domain, header)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, resp.Header.Get("Location")
	}
	dial := func(protocol string) *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.roots, ServerName: "localhost", NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	if status, _ := ask(dial("http/1.1"), "X-Fill: "+strings.Repeat("a", maxHeaderBytes/2)+"\r\n"); status != http.StatusNoContent {
		t.Errorf("headers of 8 KiB: %d", status)
	}
	// net/http adds 4096 bytes of its own to the limit.
	if status, _ := ask(dial("http/1.1"), "X-Fill: "+strings.Repeat("a", maxHeaderBytes+4096)+"\r\n"); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("headers over 16 KiB: %d, want 431", status)
	}
	plain, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if status, location := ask(plain, ""); status != http.StatusBadRequest || location != "" {
		t.Errorf("plain HTTP: %d to %q, want 400 and no redirect", status, location)
	}
	if got := maxStreamsOf(t, dial("h2")); got != maxStreams {
		t.Errorf("HTTP/2 streams: %d, want %d", got, maxStreams)
	}
	srv := s.publicServer(s.parts)
	if srv.ReadHeaderTimeout != 5*time.Second || srv.ReadTimeout != 15*time.Second || srv.IdleTimeout != 60*time.Second {
		t.Errorf("timeouts: header %v, request %v, idle %v", srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout)
	}
}

// maxStreamsOf is SETTINGS_MAX_CONCURRENT_STREAMS of the server's first frame
// (RFC 9113 §6.5.2).
func maxStreamsOf(t *testing.T, conn *tls.Conn) uint32 {
	t.Helper()
	fmt.Fprint(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 {
		t.Fatalf("first frame %x (%v), want SETTINGS", head, err)
	}
	settings := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == 3 {
			return binary.BigEndian.Uint32(settings[2:])
		}
	}
	return 0
}

// Nothing is left behind by a start that fails, listeners included.
func TestFailedStartReleasesEverything(t *testing.T) {
	t.Parallel()
	ls, err := listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Listeners: ls}
	o.Config.Data, o.Config.Domain, o.Config.MasterKeyFile = file, "localhost:"+listenerPort(ls[0]), file+"/master.key"
	if _, err := New(t.Context(), o); err == nil {
		t.Fatal("a file was taken for a data directory")
	}
	again, err := listen("localhost:" + listenerPort(ls[0]))
	if err != nil {
		t.Fatalf("the port was not released: %v", err)
	}
	closeAll(again)
}
