package token

import (
	"context"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Keys is where the ring finds its keys and the tenant's secrets, sealed.
type Keys interface {
	// SigningKeys lists all keys of the tenant, revoked ones included.
	SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error)
	// Secrets lists all versions of a tenant secret, newest first.
	Secrets(ctx context.Context, tenantID, purpose string) ([]tenant.Secret, error)
}

// Vault opens and seals the tenant's secrets and derives its keys; seal.Vault is one.
type Vault interface {
	Seal(ctx context.Context, t tenant.Tenant, purpose, id string, plaintext []byte) (string, error)
	Open(ctx context.Context, t tenant.Tenant, purpose, id, sealed string) ([]byte, error)
	// Derive is a 256-bit key of the tenant for one labelled purpose (SEC-146).
	Derive(ctx context.Context, t tenant.Tenant, label string) ([]byte, error)
}
