package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

const (
	certificatePoll  = 5 * time.Second
	certificateAlarm = 14 * 24 * time.Hour
	// alarmEvery is how often a certificate that is about to expire is reported.
	alarmEvery = 24 * time.Hour
)

// certificate is a configured certificate that follows its files: connections
// that are open keep the one they began with, and a bad pair of files stops the
// reload, not the service (SEC-222).
type certificate struct {
	certFile, keyFile, host string
	clock                   clock.Clock
	log                     *slog.Logger

	current atomic.Pointer[tls.Certificate]
	// stamp is the state of the files at the last look, good or bad; only watch
	// uses it once the certificate is open.
	stamp [sha256.Size]byte
}

func openCertificate(certFile, keyFile, host string, clk clock.Clock, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, host: host, clock: clk, log: log}
	c.stamp = c.fingerprint()
	pair, err := c.read()
	if err != nil {
		return nil, err
	}
	c.current.Store(pair)
	return c, nil
}

func (c *certificate) read() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w; name a PEM chain and the key that belongs to it", c.certFile, c.keyFile, err)
	}
	if err := pair.Leaf.VerifyHostname(c.host); err != nil {
		return nil, fmt.Errorf("TLS certificate %s: %w; name one for the domain", c.certFile, err)
	}
	now := c.clock.Now()
	if now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return nil, fmt.Errorf("TLS certificate %s is valid from %s to %s only; renew it", c.certFile,
			pair.Leaf.NotBefore.Format(time.DateOnly), pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &pair, nil
}

// fingerprint changes when the files do. It is over the content, because times
// are too coarse and links get swapped.
func (c *certificate) fingerprint() [sha256.Size]byte {
	h := sha256.New()
	for _, f := range []string{c.certFile, c.keyFile} {
		content, err := os.ReadFile(f)
		fmt.Fprintf(h, "%d %t\n", len(content), err == nil)
		h.Write(content)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (c *certificate) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if p := c.current.Load(); p != nil {
		return p, nil
	}
	return nil, errors.New("no certificate")
}

func (c *certificate) expiresAt() time.Time { return c.current.Load().Leaf.NotAfter }

// watch follows the files until ctx is done.
func (c *certificate) watch(ctx context.Context) {
	ticker := time.NewTicker(certificatePoll)
	defer ticker.Stop()
	var alarmed time.Time
	for {
		if now := c.clock.Now(); c.expiresAt().Sub(now) < certificateAlarm && now.Sub(alarmed) >= alarmEvery {
			alarmed = now
			c.log.Warn("the TLS certificate expires soon; renew it", "file", c.certFile, "expires_at", c.expiresAt())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		stamp := c.fingerprint()
		if stamp == c.stamp {
			continue
		}
		c.stamp = stamp
		pair, err := c.read()
		if err != nil {
			c.log.Error("the TLS certificate changed and cannot be used; the old one stays", "error", err)
			continue
		}
		c.current.Store(pair)
		alarmed = time.Time{}
		c.log.Info("TLS certificate reloaded", "file", c.certFile, "expires_at", pair.Leaf.NotAfter)
	}
}

// tlsConfig is the one of the public listener: TLS 1.2 or later with forward
// secrecy and authenticated ciphers only (SEC-219). Go's own list for 1.2 still
// ends in ciphers without one or the other, so it is written out.
func tlsConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: get,
		NextProtos:     []string{"h2", "http/1.1"},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// authorityPool is the pool of one PEM file, for our own client of our own server.
func authorityPool(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}
