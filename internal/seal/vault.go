package seal

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// NewDataKey makes a tenant's data key and wraps it; the result is
// tenant.Tenant.DataKey.
func NewDataKey(m Master, tenantID string) (string, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	sealed, err := m.Wrap(dataKeyAAD(tenantID), key)
	if err != nil {
		return "", fmt.Errorf("wrap data key: %w", err)
	}
	return sealed, nil
}

func dataKeyAAD(tenantID string) string { return string(bind("data key", tenantID)) }

// Vault seals and opens the secrets of tenants and derives their keys. A
// tenant's data key is unwrapped once and kept in memory. It is safe for
// concurrent use.
type Vault struct {
	master Master

	mu      sync.RWMutex
	tenants map[string]*dataKey
}

// dataKey is what a tenant's data key gives; the key itself is the HKDF secret
// and encrypts nothing.
type dataKey struct {
	wrapped string // the DataKey it came from
	box     box
	secret  []byte
}

// maxTenants bounds the memory of a Vault; what does not fit is unwrapped again.
const maxTenants = 4096

// NewVault is a Vault whose data keys are wrapped by m.
func NewVault(m Master) *Vault { return &Vault{master: m, tenants: make(map[string]*dataKey)} }

func (v *Vault) dataKey(ctx context.Context, t tenant.Tenant) (*dataKey, error) {
	v.mu.RLock()
	k := v.tenants[t.ID]
	v.mu.RUnlock()
	if k != nil && k.wrapped == t.DataKey {
		return k, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	secret, err := v.master.Unwrap(dataKeyAAD(t.ID), t.DataKey)
	if err != nil {
		return nil, fmt.Errorf("open data key of tenant %s: %w", t.ID, err)
	}
	sealing, err := derive(secret, labelSeal)
	if err != nil {
		return nil, err
	}
	b, err := newBox(sealing)
	if err != nil {
		return nil, err
	}
	k = &dataKey{wrapped: t.DataKey, box: b, secret: secret}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.tenants) >= maxTenants {
		clear(v.tenants)
	}
	v.tenants[t.ID] = k
	return k, nil
}

// sealedVersion leads every sealed text, so that another form can follow.
const sealedVersion = "s1."

// Seal encrypts plaintext as the tenant's record id of a purpose.
func (v *Vault) Seal(ctx context.Context, t tenant.Tenant, purpose, id string, plaintext []byte) (string, error) {
	k, err := v.dataKey(ctx, t)
	if err != nil {
		return "", err
	}
	return sealedVersion + k.box.seal(bind(sealedVersion, t.ID, purpose, id), plaintext), nil
}

// Open decrypts what Seal made for the same tenant, purpose and id; anything
// else is ErrDamaged.
func (v *Vault) Open(ctx context.Context, t tenant.Tenant, purpose, id, sealed string) ([]byte, error) {
	k, err := v.dataKey(ctx, t)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(sealed, sealedVersion)
	if !ok {
		return nil, fmt.Errorf("open %s %s: %w", purpose, id, ErrDamaged)
	}
	plaintext, err := k.box.open(bind(sealedVersion, t.ID, purpose, id), text)
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %w", purpose, id, err)
	}
	return plaintext, nil
}

// Derive is the tenant's 256-bit key for one purpose: a label of labels.go, or
// ErrLabel (SEC-146).
func (v *Vault) Derive(ctx context.Context, t tenant.Tenant, label string) ([]byte, error) {
	if !derivable(label) {
		return nil, fmt.Errorf("%w %q: add it to internal/seal/labels.go", ErrLabel, label)
	}
	k, err := v.dataKey(ctx, t)
	if err != nil {
		return nil, err
	}
	return derive(k.secret, label)
}

// Format implements fmt.Formatter: keys are never printed (SEC-248).
func (v *Vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "seal.Vault([redacted])") }

// LogValue implements slog.LogValuer.
func (v *Vault) LogValue() slog.Value { return slog.StringValue("seal.Vault([redacted])") }
