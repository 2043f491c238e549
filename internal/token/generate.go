package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// The families of signing keys (tenant.SigningKey.Algorithm).
const (
	familyRSA   = "RSA"
	familyES256 = string(jose.ES256)
	familyEdDSA = string(jose.EdDSA)
)

// family is the kind of key that signs alg; empty for HS256 and whatever is unknown.
func family(alg string) string {
	switch jose.Algorithm(alg) {
	case jose.RS256, jose.RS512, jose.PS256, familyRSA:
		return familyRSA
	case jose.ES256:
		return familyES256
	case jose.EdDSA:
		return familyEdDSA
	}
	return ""
}

// certificateYears is how long the vendor's certificates live
// (keys-and-validation.md §1.4).
const certificateYears = 13

// NewSigningKey makes a key pair for alg (RSA or one of its algorithms, ES256,
// EdDSA) in the given state, sealed, at now. An RSA key comes with the
// self-signed certificate that some clients build their key from.
func NewSigningKey(ctx context.Context, v Vault, t tenant.Tenant, alg string, state tenant.KeyState, now time.Time) (tenant.SigningKey, error) {
	k := tenant.SigningKey{TenantID: t.ID, Algorithm: family(alg), State: state, CreatedAt: now}
	if state == tenant.KeyCurrent {
		k.CurrentSince = now
	}
	var private crypto.Signer
	var err error
	switch k.Algorithm {
	case familyRSA:
		private, err = rsa.GenerateKey(rand.Reader, t.Settings.RSABits())
	case familyES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case familyEdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return tenant.SigningKey{}, fmt.Errorf("make signing key: no keys for algorithm %q", alg)
	}
	if err != nil {
		return tenant.SigningKey{}, fmt.Errorf("make signing key: %w", err)
	}
	kid := make([]byte, 16) // 22 characters, unguessable (SEC-145)
	_, _ = rand.Read(kid)   // never fails (crypto/rand)
	k.Kid = b64.EncodeToString(kid)

	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return tenant.SigningKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	k.Public = base64.StdEncoding.EncodeToString(public)
	if k.Algorithm == familyRSA {
		if k.Certificate, err = certificate(private, t.Domain, now); err != nil {
			return tenant.SigningKey{}, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return tenant.SigningKey{}, fmt.Errorf("encode signing key: %w", err)
	}
	k.Private, err = v.Seal(ctx, t, purposeSigningKey, k.Kid, der)
	return k, err
}

// certificate is the self-signed certificate of a key, base64 of its DER form.
func certificate(private crypto.Signer, domain string, now time.Time) (string, error) {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial)              // never fails (crypto/rand)
	serial[0] = serial[0]&0x7f | 0x40     // positive, and never short (RFC 5280 §4.1.2.2)
	name := domain[:min(len(domain), 64)] // the upper bound of a common name (RFC 5280 appendix A)
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now,
		NotAfter:              now.AddDate(certificateYears, 0, 0),
		SignatureAlgorithm:    x509.SHA256WithRSA,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", fmt.Errorf("make certificate: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// NewRefreshSecret makes a version of the secret under which refresh-token
// values get their MACs (D4). Versions begin at 1.
func NewRefreshSecret(ctx context.Context, v Vault, t tenant.Tenant, version uint16, now time.Time) (tenant.Secret, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	sealed, err := v.Seal(ctx, t, PurposeRefresh, secretID(version), secret)
	if err != nil {
		return tenant.Secret{}, err
	}
	return tenant.Secret{TenantID: t.ID, Purpose: PurposeRefresh, Version: version, Sealed: sealed, CreatedAt: now}, nil
}

func secretID(version uint16) string { return strconv.Itoa(int(version)) }
