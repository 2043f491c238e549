package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

func TestAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	first, err := openAuthority(dir, "id.example.com", clk)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, authorityKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the authority's key: %v (%v), want 0600", info.Mode(), err)
	}
	second, err := openAuthority(dir, "id.example.com", clk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.cert.Raw, second.cert.Raw) {
		t.Error("a second start made another authority")
	}

	roots, err := authorityPool(filepath.Join(dir, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := second.getCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "id.example.com"} {
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: clk.Now()}); err != nil {
			t.Errorf("leaf for %s: %v", name, err)
		}
	}

	if again, _ := second.getCertificate(nil); again != leaf {
		t.Error("a leaf in its first third was replaced")
	}
	clk.Advance(leafLifetime * 3 / 4)
	renewed, err := second.getCertificate(nil)
	if err != nil || renewed == leaf || renewed.Leaf.NotAfter.Sub(clk.Now()) != leafLifetime {
		t.Errorf("a leaf in its last third was not renewed (%v)", err)
	}
}

// Whoever takes the authority's key cannot speak for other names.
func TestAuthorityIsConstrained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if _, err := openAuthority(dir, "localhost", clk); err != nil {
		t.Fatal(err)
	}
	_, err := openAuthority(dir, "bank.example.com", clk)
	if err == nil || !strings.Contains(err.Error(), "move ") {
		t.Errorf("authority for localhost signed for bank.example.com: got %v, want an error that says what to move", err)
	}
}

func TestAuthorityFromInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if _, err := openAuthority(dir, "localhost", clk); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, authorityKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openAuthority(dir, "localhost", clk); err != nil {
		t.Errorf("certificate without key: %v, want a new authority", err)
	}
	if err := os.WriteFile(filepath.Join(dir, authorityFile), []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAuthority(dir, "localhost", clk); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("damaged certificate: got %v, want one line", err)
	}
}

// SEC-222: a certificate reloads without a restart; a wrong or expired one stops
// the reload, not the service; expiry within 14 days alarms.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls-key.pem")
		now := time.Now()
		writePair(t, certFile, keyFile, "id.example.com", now.Add(10*24*time.Hour))
		var log bytes.Buffer
		c, err := openCertificate(certFile, keyFile, "id.example.com", clock.System{}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		first, _ := c.getCertificate(nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.watch(ctx) }()
		synctest.Wait()
		if !strings.Contains(log.String(), "expires soon") {
			t.Errorf("no alarm for a certificate with ten days left: %q", log.String())
		}

		for name, bad := range map[string]func(){
			"expired":       func() { writePair(t, certFile, keyFile, "id.example.com", now.Add(-time.Minute)) },
			"another name":  func() { writePair(t, certFile, keyFile, "other.example.com", now.Add(90*24*time.Hour)) },
			"not PEM":       func() { writeBytes(t, certFile, "garbage") },
			"another's key": func() { writePair(t, filepath.Join(dir, "x"), keyFile, "id.example.com", now.Add(time.Hour)) },
		} {
			bad()
			time.Sleep(certificatePoll)
			synctest.Wait()
			if got, _ := c.getCertificate(nil); got != first {
				t.Errorf("%s: the old certificate was dropped", name)
			}
		}

		writePair(t, certFile, keyFile, "id.example.com", now.Add(90*24*time.Hour))
		time.Sleep(certificatePoll)
		synctest.Wait()
		if got, _ := c.getCertificate(nil); got == first {
			t.Error("a good pair of files was not taken")
		}
		cancel()
		<-done
	})
}

func TestCertificateAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls-key.pem")
	clk := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	writePair(t, certFile, keyFile, "id.example.com", clk.Now().Add(time.Hour))
	log := slog.New(slog.DiscardHandler)
	if _, err := openCertificate(certFile, keyFile, "localhost", clk, log); err == nil || !strings.Contains(err.Error(), "for the domain") {
		t.Errorf("another name: %v", err)
	}
	clk.Advance(2 * time.Hour)
	if _, err := openCertificate(certFile, keyFile, "id.example.com", clk, log); err == nil || !strings.Contains(err.Error(), "renew it") {
		t.Errorf("expired: %v", err)
	}
	if _, err := openCertificate(filepath.Join(dir, "none"), keyFile, "id.example.com", clk, log); err == nil {
		t.Error("missing file: no error")
	}
}

// SEC-219: the listener itself is asked, with each version and each cipher that
// it must refuse.
func TestTLSHandshakes(t *testing.T) {
	t.Parallel()
	a, err := openAuthority(t.TempDir(), "localhost", clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", tlsConfig(a.getCertificate))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	handshake := func(c *tls.Config) error {
		c.RootCAs, c.ServerName = roots, "localhost"
		conn, err := tls.Dial("tcp", l.Addr().String(), c)
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if handshake(&tls.Config{MinVersion: v, MaxVersion: v}) == nil {
			t.Errorf("%s was accepted", tls.VersionName(v))
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if err := handshake(&tls.Config{MinVersion: v, MaxVersion: v}); err != nil {
			t.Errorf("%s was refused: %v", tls.VersionName(v), err)
		}
	}
	weak := tls.InsecureCipherSuites()
	for _, s := range tls.CipherSuites() {
		if strings.HasSuffix(s.Name, "_SHA") {
			weak = append(weak, s)
		}
	}
	for _, s := range weak {
		if handshake(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}}) == nil {
			t.Errorf("%s was accepted", s.Name)
		}
	}
}

func TestListenLocalhost(t *testing.T) {
	t.Parallel()
	ls, err := listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(ls)
	for _, l := range ls[1:] {
		if listenerPort(l) != listenerPort(ls[0]) {
			t.Errorf("ports %s and %s", listenerPort(ls[0]), listenerPort(l))
		}
	}
	_, err = listen(net.JoinHostPort("localhost", listenerPort(ls[0])))
	if err == nil || !strings.Contains(err.Error(), "in use") || strings.Contains(err.Error(), "\n") {
		t.Errorf("busy port: got %v, want one line that says so", err)
	}
}

func writePair(t *testing.T, certFile, keyFile, host string, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: notAfter.Add(-100 * 24 * time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeBytes(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeBytes(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

func writeBytes(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
