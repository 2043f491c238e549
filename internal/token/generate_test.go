package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// SEC-78, SEC-145, keys-and-validation.md §1.4.
func TestNewSigningKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kids, serials := map[string]bool{}, map[string]bool{}
	for _, k := range append(w.keys.signing, otherWorld(t).keys.signing...) {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(k.Kid) || kids[k.Kid] {
			t.Errorf("kid %q is not a new random one", k.Kid)
		}
		kids[k.Kid] = true
		if (k.State == tenant.KeyCurrent) != k.CurrentSince.Equal(noon) || !k.CreatedAt.Equal(noon) {
			t.Errorf("key in state %s was made at %v, is current since %v", k.State, k.CreatedAt, k.CurrentSince)
		}
		if k.Algorithm != familyRSA {
			if k.Certificate != "" {
				t.Errorf("%s key has a certificate", k.Algorithm)
			}
			continue
		}
		der, err := base64.StdEncoding.DecodeString(k.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
			t.Errorf("self-signature: %v", err)
		}
		years := cert.NotAfter.Sub(cert.NotBefore) / (365 * 24 * time.Hour)
		if cert.SignatureAlgorithm != x509.SHA256WithRSA || cert.PublicKey.(*rsa.PublicKey).N.BitLen() != 2048 ||
			years != certificateYears || !cert.NotBefore.Equal(noon) || !strings.HasSuffix(cert.Subject.CommonName, ".example:8443") {
			t.Errorf("certificate: %v, %d bits, %d years from %v, CN %s", cert.SignatureAlgorithm,
				cert.PublicKey.(*rsa.PublicKey).N.BitLen(), years, cert.NotBefore, cert.Subject.CommonName)
		}
		if serial := cert.SerialNumber.String(); serials[serial] || cert.SerialNumber.BitLen() < 120 {
			t.Errorf("serial %s is not a new random one", serial)
		} else {
			serials[serial] = true
		}
	}
	if _, err := NewSigningKey(t.Context(), w.vault, w.tenant, "HS256", tenant.KeyNext, noon); err == nil {
		t.Error("made a key pair for HS256")
	}
}

// SEC-137: private keys and secrets are nowhere in clear.
func TestKeysAtRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := *w.key(t, familyRSA, tenant.KeyCurrent)
	private := signerOf(t, w, k)
	stored := strings.Join([]string{k.Private, k.Public, k.Certificate, k.Kid}, " ")
	for _, part := range [][]byte{private.D.Bytes(), private.Primes[0].Bytes()} {
		if strings.Contains(stored, base64.StdEncoding.EncodeToString(part)[:32]) || strings.Contains(stored, string(part)) {
			t.Error("the record holds private material in clear")
		}
	}
	for _, s := range w.keys.secrets {
		moved := s
		moved.Version = 9
		if _, err := w.vault.Open(t.Context(), w.tenant, PurposeRefresh, secretID(moved.Version), moved.Sealed); err == nil {
			t.Error("a secret opens as another version")
		}
	}
}

func TestLongDomainFitsACommonName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	te := w.tenant
	te.Domain = strings.Repeat("long.", 30) + "example"
	k, err := NewSigningKey(t.Context(), w.vault, te, "RSA", tenant.KeyNext, noon)
	if err != nil || k.Certificate == "" {
		t.Errorf("NewSigningKey = %v", err)
	}
}

func TestRandomAndHash(t *testing.T) {
	t.Parallel()
	a, err := Random(zeros)
	if err != nil || a != strings.Repeat("A", 43) {
		t.Errorf("Random(zeros) = %q, %v, want 43 characters", a, err)
	}
	if _, err := Random(strings.NewReader("short")); err == nil {
		t.Error("Random took less than 256 bits")
	}
	// FIPS 180-4: SHA-256 of "abc".
	if got := Hash("abc"); got != "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" {
		t.Errorf("Hash(abc) = %s", got)
	}
}
