package goclients

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/auth0/go-auth0"
	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
)

const connection = "Username-Password-Authentication"

// issuer is the running server, for all tests: its address, what the management-client
// command printed, and an HTTP client that trusts its authority and nothing else.
var issuer struct {
	URL, Domain, ClientID, ClientSecret string
	HTTP                                *http.Client
}

// TestMain starts the server in $BULLA (default ../../bulla) on an empty directory and
// stops it with SIGTERM, which must end it with exit status 0.
func TestMain(m *testing.M) {
	code, err := serve(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "goclients:", err)
		code = 1
	}
	os.Exit(code)
}

func serve(m *testing.M) (code int, err error) {
	binary := os.Getenv("BULLA")
	if binary == "" {
		binary = "../../bulla"
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return 1, err
	}
	data, err := os.MkdirTemp("", "bulla-goclients-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()

	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return 1, err
	}
	issuer.Domain = fmt.Sprintf("localhost:%d", free.Addr().(*net.TCPAddr).Port)
	issuer.URL = "https://" + issuer.Domain + "/"
	if err := free.Close(); err != nil {
		return 1, err
	}

	env := append(os.Environ(), "BULLA_DATA="+filepath.Join(data, "data"), "BULLA_LISTEN="+issuer.Domain, "BULLA_DOMAIN="+issuer.Domain)
	server := exec.Command(binary, "serve")
	var log bytes.Buffer
	server.Env, server.Stderr = env, &log
	stdout, err := server.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := server.Start(); err != nil {
		return 1, err
	}
	ready := make(chan string, 1)
	go func() {
		out := bufio.NewReader(stdout)
		line, _ := out.ReadString('\n')
		ready <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, out)
	}()
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(30*time.Second, func() { _ = server.Process.Kill() })
		if end := server.Wait(); end != nil {
			code = 1
			err = errors.Join(err, fmt.Errorf("after SIGTERM: %w", end))
		}
		late.Stop()
		if code != 0 {
			fmt.Fprintf(os.Stderr, "--- the server's log:\n%s", log.String())
		}
	}()
	select {
	case line := <-ready:
		if want := "bulla: ready " + issuer.URL; line != want {
			return 1, fmt.Errorf("first line %q, want %q", line, want)
		}
	case <-time.After(30 * time.Second):
		return 1, errors.New("not ready within 30 s")
	}

	command := exec.Command(binary, "management-client", "--format", "env")
	command.Env, command.Stderr = env, os.Stderr
	out, err := command.Output()
	if err != nil {
		return 1, fmt.Errorf("management-client: %w", err)
	}
	var caFile string
	for line := range strings.Lines(string(out)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "CA_FILE":
			caFile = value
		case "MGMT_CLIENT_ID":
			issuer.ClientID = value
		case "MGMT_CLIENT_SECRET":
			issuer.ClientSecret = value
		}
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return 1, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return 1, fmt.Errorf("no certificate in %s", caFile)
	}
	issuer.HTTP = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
	}
	defer issuer.HTTP.CloseIdleConnections()
	return m.Run(), nil
}

// withClient is a context whose OAuth calls trust the issuer.
func withClient(t *testing.T) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, issuer.HTTP)
}

// newManagement is go-auth0's management client, in the version most programs use.
func newManagement(t *testing.T) *management.Management {
	t.Helper()
	m, err := management.New(issuer.Domain,
		management.WithClientCredentials(withClient(t), issuer.ClientID, issuer.ClientSecret),
		management.WithClient(issuer.HTTP))
	if err != nil {
		t.Fatalf("management.New: %v", err)
	}
	return m
}

// api, application and person are the fixtures; every name is new.

func api(t *testing.T, m *management.Management) *management.ResourceServer {
	t.Helper()
	rs := &management.ResourceServer{
		Name:               auth0.String("Orders"),
		Identifier:         auth0.String("https://" + strings.ToLower(rand.Text()) + ".example/"),
		AllowOfflineAccess: auth0.Bool(true),
		Scopes:             &[]management.ResourceServerScope{{Value: auth0.String("read:orders"), Description: auth0.String("Read")}},
		SkipConsentForVerifiableFirstPartyClients: auth0.Bool(true),
	}
	if err := m.ResourceServer.Create(t.Context(), rs); err != nil {
		t.Fatalf("create resource server: %v", err)
	}
	return rs
}

// callback is the redirect address of the applications; nothing listens there.
const callback = "https://app.example.com/callback"

func application(t *testing.T, m *management.Management, grants ...string) *management.Client {
	t.Helper()
	c := &management.Client{
		Name:                    auth0.String("journey " + rand.Text()),
		AppType:                 auth0.String("regular_web"),
		TokenEndpointAuthMethod: auth0.String("client_secret_post"),
		GrantTypes:              &grants,
		Callbacks:               &[]string{callback},
	}
	if slices.Contains(grants, "refresh_token") { // else rotation is refused
		c.RefreshToken = &management.ClientRefreshToken{
			RotationType: auth0.String("rotating"), ExpirationType: auth0.String("expiring"),
			Leeway: auth0.Int(0), TokenLifetime: auth0.Int(86400), IdleTokenLifetime: auth0.Int(3600),
		}
	}
	if err := m.Client.Create(t.Context(), c); err != nil {
		t.Fatalf("create client: %v", err)
	}
	list, err := m.Connection.List(t.Context(), management.Parameter("name", connection))
	if err != nil || len(list.Connections) != 1 {
		t.Fatalf("list connections: %v, %v", list, err)
	}
	enable := []management.ConnectionEnabledClient{{ClientID: c.ClientID, Status: auth0.Bool(true)}}
	if err := m.Connection.UpdateEnabledClients(t.Context(), list.Connections[0].GetID(), enable); err != nil {
		t.Fatalf("enable the connection: %v", err)
	}
	return c
}

// person makes a user and returns it with its password.
func person(t *testing.T, m *management.Management) (*management.User, string) {
	t.Helper()
	password := "Aa1!" + rand.Text()
	u := &management.User{
		Connection: auth0.String(connection),
		Email:      auth0.String(strings.ToLower(rand.Text()) + "@example.com"), EmailVerified: auth0.Bool(true),
		Password: auth0.String(password),
	}
	if err := m.User.Create(t.Context(), u); err != nil {
		t.Fatalf("create user: %v", err)
	}
	return u, password
}
