package token

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// The form of a refresh-token value (D4):
//
//	brt_ base64url( key version 2 ‖ locator 32 ‖ generation 4 ‖ MAC 16 )
//
// 54 bytes are 72 characters without a spare bit, so each value has one
// spelling and every change of a character is a change of the value (SEC-106).
const (
	refreshPrefix = "brt_"
	locatorSize   = 32
	macSize       = 16
	macFrom       = 2 + locatorSize + 4
	refreshBytes  = macFrom + macSize
	// RefreshLength is the length of every value, in characters.
	RefreshLength = len(refreshPrefix) + refreshBytes/3*4
)

// Presented is a genuine refresh-token value taken apart: one that this tenant
// made. Whether it still counts, the row says. It prints redacted.
type Presented struct {
	// ID is the family's, a hash of the locator.
	ID         tenant.FamilyID
	Generation uint32
	KeyVersion uint16

	locator [locatorSize]byte
}

// Refresh makes and reads refresh-token values. It keeps the tenants' secrets
// under their configuration version and is safe for concurrent use.
type Refresh struct {
	keys  Keys
	vault Vault
	cache perTenant[refreshSecrets]
}

// refreshSecrets are the versions of a tenant's secret.
type refreshSecrets struct {
	current   uint16
	byVersion map[uint16][]byte
}

// NewRefresh is a Refresh whose secrets are found in keys and opened by v.
func NewRefresh(keys Keys, v Vault) *Refresh { return &Refresh{keys: keys, vault: v} }

// New makes the first value of a new family, at generation 0, with randomness
// from rand.
func (r *Refresh) New(ctx context.Context, t tenant.Tenant, rand io.Reader) (value string, id tenant.FamilyID, keyVersion uint16, err error) {
	s, err := r.secrets(ctx, t)
	if err != nil {
		return "", "", 0, err
	}
	var p Presented
	if _, err := io.ReadFull(rand, p.locator[:]); err != nil {
		return "", "", 0, fmt.Errorf("read randomness: %w", err)
	}
	return refreshValue(s.byVersion[s.current], t.ID, p.locator, 0, s.current), familyID(p.locator), s.current, nil
}

// Parse takes a value apart. Whatever this tenant did not make exactly so is
// tenant.ErrNotFound, without a look at the store: a guess, a part, another
// spelling, a value of another tenant or under a key version that is gone
// (SEC-106, SEC-123). Other errors are faults.
func (r *Refresh) Parse(ctx context.Context, t tenant.Tenant, raw string) (Presented, error) {
	if len(raw) != RefreshLength || raw[:len(refreshPrefix)] != refreshPrefix {
		return Presented{}, tenant.ErrNotFound
	}
	b, ok := decode(raw[len(refreshPrefix):])
	if !ok || len(b) != refreshBytes {
		return Presented{}, tenant.ErrNotFound
	}
	s, err := r.secrets(ctx, t)
	if err != nil {
		return Presented{}, err
	}
	p := Presented{
		KeyVersion: binary.BigEndian.Uint16(b),
		Generation: binary.BigEndian.Uint32(b[2+locatorSize:]),
	}
	secret, known := s.byVersion[p.KeyVersion]
	if !known || !hmac.Equal(refreshMAC(secret, t.ID, b[:macFrom]), b[macFrom:]) {
		return Presented{}, tenant.ErrNotFound
	}
	copy(p.locator[:], b[2:])
	p.ID = familyID(p.locator)
	return p, nil
}

// Value derives a generation of the family that p is of: the successor of a
// rotation, or the same one again for a retry (SEC-116).
func (r *Refresh) Value(ctx context.Context, t tenant.Tenant, p Presented, generation uint32, keyVersion uint16) (string, error) {
	if familyID(p.locator) != p.ID {
		return "", fmt.Errorf("derive refresh token: not of a presented value")
	}
	s, err := r.secrets(ctx, t)
	if err != nil {
		return "", err
	}
	secret, known := s.byVersion[keyVersion]
	if !known {
		return "", fmt.Errorf("derive refresh token: no secret of version %d", keyVersion)
	}
	return refreshValue(secret, t.ID, p.locator, generation, keyVersion), nil
}

// Current is the key version of values made now.
func (r *Refresh) Current(ctx context.Context, t tenant.Tenant) (uint16, error) {
	s, err := r.secrets(ctx, t)
	if err != nil {
		return 0, err
	}
	return s.current, nil
}

func (r *Refresh) secrets(ctx context.Context, t tenant.Tenant) (*refreshSecrets, error) {
	return r.cache.get(ctx, t, func(ctx context.Context, _ *refreshSecrets) (*refreshSecrets, error) {
		list, err := r.keys.Secrets(ctx, t.ID, PurposeRefresh)
		if err != nil {
			return nil, fmt.Errorf("load refresh-token secrets: %w", err)
		}
		s := &refreshSecrets{byVersion: make(map[uint16][]byte, len(list))}
		for _, item := range list {
			secret, err := r.vault.Open(ctx, t, PurposeRefresh, secretID(item.Version), item.Sealed)
			if err != nil {
				return nil, fmt.Errorf("load refresh-token secrets: %w", err)
			}
			s.byVersion[item.Version] = secret
			s.current = max(s.current, item.Version)
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("load refresh-token secrets: tenant %s has none", t.ID)
		}
		return s, nil
	})
}

func refreshValue(secret []byte, tenantID string, locator [locatorSize]byte, generation uint32, keyVersion uint16) string {
	b := make([]byte, 0, refreshBytes)
	b = binary.BigEndian.AppendUint16(b, keyVersion)
	b = append(b, locator[:]...)
	b = binary.BigEndian.AppendUint32(b, generation)
	b = append(b, refreshMAC(secret, tenantID, b)...)
	return refreshPrefix + b64.EncodeToString(b)
}

// refreshMAC is over a label and all that goes before it, cut to 128 bits.
func refreshMAC(secret []byte, tenantID string, body []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("bulla refresh token v1\x00" + tenantID + "\x00"))
	mac.Write(body)
	return mac.Sum(nil)[:macSize]
}

// familyID is rt_ and 160 bits of a hash of the locator, 30 characters. The
// locator itself exists only in values (SEC-107).
func familyID(locator [locatorSize]byte) tenant.FamilyID {
	h := sha256.New()
	h.Write([]byte("bulla family v1\x00"))
	h.Write(locator[:])
	return tenant.FamilyID("rt_" + b64.EncodeToString(h.Sum(nil)[:20]))
}

// Format implements fmt.Formatter (SEC-248).
func (p Presented) Format(f fmt.State, _ rune) { formatRedacted(f, "token.Presented") }

// LogValue implements slog.LogValuer.
func (p Presented) LogValue() slog.Value { return logRedacted("token.Presented") }
