package token

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Keys is where the ring finds its keys and the tenant's secrets, sealed.
type Keys interface {
	// SigningKeys lists all keys of the tenant, revoked ones included.
	SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error)
	// Secrets lists all versions of a tenant secret, newest first.
	Secrets(ctx context.Context, tenantID, purpose string) ([]tenant.Secret, error)
	// ExtendSigningKey records that a key is about to sign a token of this life;
	// an error means that it must not.
	ExtendSigningKey(ctx context.Context, tenantID, kid string, lifetime time.Duration) error
	// CountSignatures adds to what keys have signed.
	CountSignatures(ctx context.Context, tenantID string, counts []tenant.SignatureCount) error
	// KeySetServed records which keys the first key set that is served holds.
	KeySetServed(ctx context.Context, tenantID string, kids []string) error
}

// Vault opens and seals the tenant's secrets and derives its keys; seal.Vault is one.
type Vault interface {
	Seal(ctx context.Context, t tenant.Tenant, purpose, id string, plaintext []byte) (string, error)
	Open(ctx context.Context, t tenant.Tenant, purpose, id, sealed string) ([]byte, error)
	// Derive is a 256-bit key of the tenant for one labelled purpose (SEC-146).
	Derive(ctx context.Context, t tenant.Tenant, label string) ([]byte, error)
	// OpenClientSecret and OpenSigningSecret are the HS256 secrets of ID tokens
	// and of an API's access tokens, in clear.
	OpenClientSecret(ctx context.Context, t tenant.Tenant, clientID string, s tenant.ClientSecret) (string, error)
	OpenSigningSecret(ctx context.Context, t tenant.Tenant, r tenant.ResourceServer) (string, error)
}

// Purposes of the records this package seals.
const (
	purposeSigningKey = "signing_key"
	// PurposeRefresh is the purpose of the secret of refresh-token values.
	PurposeRefresh = "refresh_token"
)

// Labels of the derived keys, as in the table of seal/labels.go (SEC-146).
const (
	labelOpaque        = "bulla/tenant/opaque-token/v1"
	labelAuthorization = "bulla/tenant/authorization/v1"
)
