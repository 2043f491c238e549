// Package process runs the bulla binary the way an operator does, for the
// experiments beside it: they know the server by its command line and its wire
// alone, and keep their own ledger of what it answered (REL-39).
package process

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Server is a running bulla.
type Server struct {
	Binary string
	Data   string
	// Domain is localhost:PORT; the issuer is https://Domain/.
	Domain string

	cmd    *exec.Cmd
	stderr *os.File
}

// Options say how to start a server.
type Options struct {
	// Binary is the path of the bulla binary.
	Binary string
	// Data is its data directory.
	Data string
	// Domain is localhost:PORT; empty picks a free port.
	Domain string
	// Prefix are words to put before the command, such as taskset -c 0.
	Prefix []string
	// Env are further environment entries.
	Env []string
}

// Start starts a server and returns once it says that it is ready.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Domain == "" {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		o.Domain = fmt.Sprintf("localhost:%d", port)
	}
	s := &Server{Binary: o.Binary, Data: o.Data, Domain: o.Domain}
	words := append(append([]string{}, o.Prefix...), o.Binary, "serve")
	s.cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	s.cmd.Env = append(append(os.Environ(), s.env()...), o.Env...)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stderr, err = os.CreateTemp("", "bulla-stderr-"); err != nil {
		return nil, err
	}
	s.cmd.Stderr = s.stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "bulla: ready ") {
		s.Kill()
		text, _ := os.ReadFile(s.stderr.Name())
		return nil, fmt.Errorf("bulla did not become ready: %q: %s", first, text)
	}
	go io.Copy(io.Discard, lines) //nolint:errcheck // the pipe ends with the process
	return s, nil
}

func (s *Server) env() []string {
	return []string{"BULLA_DATA=" + s.Data, "BULLA_DOMAIN=" + s.Domain, "BULLA_LISTEN=" + s.Domain}
}

// URL is the address of path on the server.
func (s *Server) URL(path string) string { return "https://" + s.Domain + path }

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// CAFile is the server's certificate authority.
func (s *Server) CAFile() string { return filepath.Join(s.Data, "ca.pem") }

// Client is an HTTP client that trusts the server's authority and keeps up to
// connections connections open.
func (s *Server) Client(connections int) (*http.Client, error) {
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		return nil, err
	}
	return HTTPClient(pem, connections)
}

// HTTPClient is an HTTP/1.1 client that trusts the given authority.
func HTTPClient(pem []byte, connections int) (*http.Client, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in the authority file")
	}
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConns:        connections,
			MaxIdleConnsPerHost: connections,
			MaxConnsPerHost:     connections,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		},
	}, nil
}

// Command runs a bulla command against the server's data directory and returns
// its standard output.
func (s *Server) Command(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Env = append(os.Environ(), s.env()...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("bulla %s: %w", args[0], err)
	}
	return string(out), nil
}

// ManagementClient makes a machine client with every Management API scope.
func (s *Server) ManagementClient(ctx context.Context) (id, secret string, err error) {
	out, err := s.Command(ctx, "", "management-client", "--format", "env")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "MGMT_CLIENT_ID":
			id = value
		case "MGMT_CLIENT_SECRET":
			secret = value
		}
	}
	if id == "" || secret == "" {
		return "", "", errors.New("management-client printed no client")
	}
	return id, secret, nil
}

// Kill ends the server as power loss of the process does: kill -9.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.removeLog()
}

// Stop asks the server to drain and waits; the error is that of the exit status.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := s.cmd.Wait()
	s.removeLog()
	return err
}

func (s *Server) removeLog() {
	_ = s.stderr.Close()
	_ = os.Remove(s.stderr.Name())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
