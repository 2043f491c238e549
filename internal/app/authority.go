package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
)

// The local authority's files in the data directory. The certificate is what a
// client has to trust; it is the CA_FILE of `bulla management-client`.
const (
	authorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
)

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	// leafLifetime is short because leaves are made in memory, at each start and
	// again when two thirds are over.
	leafLifetime = 90 * 24 * time.Hour
	// backdated is how far a certificate reaches back, for clients whose clock
	// is late.
	backdated = time.Hour
)

// authority is the local certificate authority of a data directory (D11): it
// signs for the names of this server and, by name constraints (RFC 5280
// §4.2.1.10), can sign for no other, so that trusting it gives nothing away.
//
// It reads the machine's clock, not the tenants': a certificate is judged by
// clients that know no virtual time.
type authority struct {
	clock clock.Clock
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string // host names
	ips   []net.IP

	mu   sync.Mutex
	leaf *tls.Certificate
}

// openAuthority reads the authority of dir or makes one for host, localhost and
// the loopback addresses.
func openAuthority(dir, host string, clk clock.Clock) (*authority, error) {
	a := &authority{clock: clk, names: []string{"localhost"}, ips: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	if ip := net.ParseIP(host); ip == nil {
		a.names = appendNew(a.names, host)
	} else if !ip.IsLoopback() {
		a.ips = append(a.ips, ip)
	}
	certPath, keyPath := filepath.Join(dir, authorityFile), filepath.Join(dir, authorityKeyFile)
	err := a.load(certPath, keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		err = a.create(certPath, keyPath)
	}
	if err != nil {
		return nil, err
	}
	if _, err := a.issue(); err != nil {
		return nil, fmt.Errorf("the local authority %s cannot sign for %s: %w; move %s and %s away and start again", certPath, host, err, certPath, keyPath)
	}
	return a, nil
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func (a *authority) load(certPath, keyPath string) error {
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	switch {
	case errors.Is(keyErr, fs.ErrNotExist):
		// A certificate without its key comes from a start that was cut short
		// (the key is written last), or somebody took the key away to stay safe:
		// either way nobody can sign with it any more.
		return fs.ErrNotExist
	case certErr != nil:
		return fmt.Errorf("read the local authority: %w", certErr)
	case keyErr != nil:
		return fmt.Errorf("read the local authority's key: %w", keyErr)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("the local authority %s is unusable: %w; move it and %s away and start again", certPath, err, keyPath)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("the local authority's key %s is not ECDSA; move it away and start again", keyPath)
	}
	a.cert, a.key = pair.Leaf, key
	return nil
}

func (a *authority) create(certPath, keyPath string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the local authority's key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	now := a.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Bulla local authority " + serial.Text(16)[:8]},
		NotBefore:    now.Add(-backdated), NotAfter: now.Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         a.names,
	}
	for _, ip := range a.ips {
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(len(ip)*8, len(ip)*8)})
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make the local authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("make the local authority: %w", err)
	}
	a.key = key
	if err := replaceFile(certPath, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return fmt.Errorf("write the local authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write the local authority's key: %w", err)
	}
	if err := replaceFile(keyPath, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return fmt.Errorf("write the local authority's key: %w", err)
	}
	return nil
}

// getCertificate is for tls.Config: the leaf in memory, or a new one when two
// thirds of its life are over.
func (a *authority) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf == nil || a.leaf.Leaf.NotAfter.Sub(a.clock.Now()) < leafLifetime/3 {
		leaf, err := a.issue()
		if err != nil {
			return nil, err
		}
		a.leaf = leaf
	}
	return a.leaf, nil
}

// issue signs a leaf and checks that a client which trusts the authority would
// accept it.
func (a *authority) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a TLS key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := a.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: a.names[len(a.names)-1]},
		NotBefore:    now.Add(-backdated), NotAfter: now.Add(leafLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: a.names, IPAddresses: a.ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), crypto.Signer(a.key))
	if err != nil {
		return nil, fmt.Errorf("sign a TLS certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign a TLS certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// serialNumber has 127 random bits: positive and at most 20 octets (RFC 5280 §4.1.2.2).
func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n.SetBit(n, 126, 1), nil
}

// replaceFile writes a whole file or nothing: a reader, and the next start after
// a power cut, finds the old content or the new.
func replaceFile(path string, mode fs.FileMode, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
