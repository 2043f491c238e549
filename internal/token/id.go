package token

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// IDToken is what an ID token says (OIDC Core §2, tokens.md §4.3). It holds
// values of other tokens for a moment, to hash them, and prints redacted.
type IDToken struct {
	Client tenant.Client
	User   tenant.User
	// Scopes release the user's claims.
	Scopes []string
	// Nonce is that of the authorization request; never set at a refresh: there
	// is none to compare with, and clients refuse it.
	Nonce string
	// SessionID is sid, or empty.
	SessionID string
	// AuthTime is written unless zero: max_age or prompt=login was asked.
	AuthTime time.Time
	AMR      []string
	// AccessToken and Code are what stands beside the token in the front
	// channel, for at_hash and c_hash (OIDC Core §3.3.2.11), or empty.
	AccessToken string
	Code        string
	IssuedAt    time.Time
	ExpiresAt   time.Time
}

// Format implements fmt.Formatter (SEC-248).
func (i IDToken) Format(f fmt.State, _ rune) { formatRedacted(f, "token.IDToken") }

// LogValue implements slog.LogValuer.
func (i IDToken) LogValue() slog.Value { return logRedacted("token.IDToken") }

// MarshalJSON implements json.Marshaler.
func (i IDToken) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// IDToken makes the token, signed as the client asks: with the tenant's current
// key, or with HS256 under the client's newest secret.
func (m *Minter) IDToken(ctx context.Context, t tenant.Tenant, i IDToken) (string, error) {
	if err := lifetime(i.IssuedAt, i.ExpiresAt); err != nil {
		return "", fmt.Errorf("mint ID token: %w", err)
	}
	if i.Client.ID == "" || i.User.ID == "" {
		return "", errors.New("mint ID token: no client or user")
	}
	alg := jose.Algorithm(i.Client.IDTokenAlg())
	var e *jose.Encoder
	if alg == jose.HS256 {
		secret, err := m.clientSecret(ctx, t, i.Client, i.IssuedAt)
		if err != nil {
			return "", fmt.Errorf("mint ID token: %w", err)
		}
		e = hmacEncoder(typJWT, secret)
	} else {
		s, err := m.ring.state(ctx, t)
		if err != nil {
			return "", err
		}
		if e, err = m.ring.encoder(ctx, t, s, alg, typJWT, i.IssuedAt, i.ExpiresAt); err != nil {
			return "", fmt.Errorf("mint ID token: %w", err)
		}
	}
	b := m.bufs.Get().(*buffers)
	defer m.bufs.Put(b)
	b.payload = appendIDClaims(b.payload[:0], t, i, alg)
	return sign(e, b)
}

// clientSecret is the HS256 key of a client: its newest secret that works, as
// the bytes of its characters, or decoded for very old clients (tokens.md §9).
func (m *Minter) clientSecret(ctx context.Context, t tenant.Tenant, c tenant.Client, now time.Time) ([]byte, error) {
	for _, s := range c.Secrets {
		if !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt) {
			continue
		}
		secret, err := m.ring.vault.OpenClientSecret(ctx, t, c.ID, s)
		if err != nil {
			return nil, err
		}
		if !c.JWT.SecretEncoded {
			return []byte(secret), nil
		}
		key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(secret, "="))
		if err != nil {
			return nil, errors.New("client secret is not base64url, as secret_encoded says") // not the cause: it quotes the secret
		}
		return key, nil
	}
	return nil, fmt.Errorf("%w: client %s has no secret for HS256", ErrNoKey, c.ID)
}

func appendIDClaims(dst []byte, t tenant.Tenant, i IDToken, alg jose.Algorithm) []byte {
	dst = append(dst, '{')
	dst = ProfileClaims(i.User, i.Scopes).appendMembers(dst)
	dst = appendText(dst, "iss", t.Issuer())
	dst = appendText(dst, "sub", i.User.ID)
	dst = appendText(dst, "aud", i.Client.ID) // one string, so no azp (tokens.md §4.3)
	dst = appendSeconds(dst, "iat", i.IssuedAt)
	dst = appendSeconds(dst, "exp", i.ExpiresAt)
	if !i.AuthTime.IsZero() {
		dst = appendSeconds(dst, "auth_time", i.AuthTime)
	}
	for _, c := range [...]struct{ name, value string }{
		{"sid", i.SessionID}, {"nonce", i.Nonce}, {"at_hash", halfHash(alg, i.AccessToken)}, {"c_hash", halfHash(alg, i.Code)},
	} {
		if c.value != "" {
			dst = appendText(dst, c.name, c.value)
		}
	}
	if len(i.AMR) > 0 {
		dst = appendTexts(dst, "amr", i.AMR)
	}
	return append(dst, '}')
}

// halfHash is the left half of the hash that goes with alg (OIDC Core §3.1.3.6).
func halfHash(alg jose.Algorithm, value string) string {
	if value == "" {
		return ""
	}
	if alg == jose.RS512 || alg == jose.EdDSA { // Ed25519 hashes with SHA-512 (RFC 8032 §5.1)
		sum := sha512.Sum512([]byte(value))
		return b64.EncodeToString(sum[:len(sum)/2])
	}
	sum := sha256.Sum256([]byte(value))
	return b64.EncodeToString(sum[:len(sum)/2])
}
