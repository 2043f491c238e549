package seal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Purposes of sealed records that more than one package touches.
const (
	purposeClientSecret  = "client_secret"
	purposeSigningSecret = "api_signing_secret"
)

// secretVersion leads the hash of a client secret.
const secretVersion = "h1."

// ErrBlank says that a secret is empty or only white space, which could be
// matched by one that is missing (SEC-8).
var ErrBlank = errors.New("blank secret")

// NewClientSecret is secret as it is kept: a keyed hash to compare and a sealed
// copy to show or to sign HS256 ID tokens with (D7, SEC-7). A blank secret is
// ErrBlank.
func (v *Vault) NewClientSecret(ctx context.Context, t tenant.Tenant, clientID, secret string) (tenant.ClientSecret, error) {
	if blank(secret) {
		return tenant.ClientSecret{}, fmt.Errorf("client %s: %w", clientID, ErrBlank)
	}
	key, err := v.Derive(ctx, t, LabelClientSecret)
	if err != nil {
		return tenant.ClientSecret{}, err
	}
	sealed, err := v.Seal(ctx, t, purposeClientSecret, clientID, []byte(secret))
	if err != nil {
		return tenant.ClientSecret{}, err
	}
	return tenant.ClientSecret{Hash: hashSecret(key, clientID, secret), Sealed: sealed}, nil
}

// hashSecret is enough for the 256 bits of a generated secret, and gives away
// nothing of a weaker one to those who have only the database (D7).
func hashSecret(key []byte, clientID, secret string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(bind(clientID, secret))
	return secretVersion + b64.EncodeToString(mac.Sum(nil))
}

// MatchClientSecret tells whether secret is one of the client's that work at
// now: dead at ExpiresAt itself (SEC-9). A missing, empty or blank secret
// matches nothing, a client without secrets is matched by nothing (SEC-8) and
// costs the same work (SEC-14). An error is a fault, never a mismatch.
func (v *Vault) MatchClientSecret(ctx context.Context, t tenant.Tenant, c tenant.Client, secret string, now time.Time) (bool, error) {
	if blank(secret) {
		return false, nil
	}
	key, err := v.Derive(ctx, t, LabelClientSecret)
	if err != nil {
		return false, err
	}
	presented := []byte(hashSecret(key, c.ID, secret))
	matched := false
	for _, s := range c.Secrets { // all of them, so that time tells nothing
		same := hmac.Equal(presented, []byte(s.Hash))
		if same && (s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt)) {
			matched = true
		}
	}
	return matched, nil
}

// OpenClientSecret is the secret in clear, for those who may see it.
// tenant.ErrNotFound says that the tenant has dropped the sealed copy.
func (v *Vault) OpenClientSecret(ctx context.Context, t tenant.Tenant, clientID string, s tenant.ClientSecret) (string, error) {
	if s.Sealed == "" {
		return "", fmt.Errorf("secret of client %s: %w", clientID, tenant.ErrNotFound)
	}
	b, err := v.Open(ctx, t, purposeClientSecret, clientID, s.Sealed)
	return string(b), err
}

// MinSigningSecret is the shortest HS256 secret of an API, in bytes (SEC-78).
const MinSigningSecret = 32

// SealSigningSecret seals the HS256 secret of the API with the id apiID; the
// result is tenant.ResourceServer.SigningSecret.
func (v *Vault) SealSigningSecret(ctx context.Context, t tenant.Tenant, apiID, secret string) (string, error) {
	if len(secret) < MinSigningSecret {
		return "", fmt.Errorf("signing secret of API %s: shorter than %d bytes", apiID, MinSigningSecret)
	}
	return v.Seal(ctx, t, purposeSigningSecret, apiID, []byte(secret))
}

// OpenSigningSecret is the API's HS256 secret; tenant.ErrNotFound when it has none.
func (v *Vault) OpenSigningSecret(ctx context.Context, t tenant.Tenant, r tenant.ResourceServer) (string, error) {
	if r.SigningSecret == "" {
		return "", fmt.Errorf("signing secret of API %s: %w", r.ID, tenant.ErrNotFound)
	}
	b, err := v.Open(ctx, t, purposeSigningSecret, r.ID, r.SigningSecret)
	return string(b), err
}

func blank(secret string) bool { return strings.TrimSpace(secret) == "" }
