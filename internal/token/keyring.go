package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// KeyStore is where a Keyring reads and writes keys.
type KeyStore interface {
	SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error)
	// AddSigningKey is tenant.ErrExists when the kid, or the one place of a
	// current or a next key of its algorithm, is taken.
	AddSigningKey(ctx context.Context, k tenant.SigningKey, e tenant.Event) error
	// RotateSigningKeys is tenant.ErrConflict when a key is not where r says, or
	// tenant.ErrExists when the new one's place is taken.
	RotateSigningKeys(ctx context.Context, r tenant.KeyRotation) error
	ChangeSigningKey(ctx context.Context, c tenant.KeyChange) error
	// ReplaceSigningKey is tenant.ErrExists when the kid is taken.
	ReplaceSigningKey(ctx context.Context, c tenant.KeyReplacement) error
	// Signatures lists what keys have signed that is alive at now.
	Signatures(ctx context.Context, tenantID string, now time.Time) ([]tenant.SignatureCount, error)
	// FirstKeySet lists the keys of the first key set that was served;
	// tenant.ErrNotFound when none has been.
	FirstKeySet(ctx context.Context, tenantID string) ([]string, error)
}

// Keyring is the writing side of the key rings: it makes keys and moves them
// through their states. It is safe for concurrent use, and any number of nodes
// may do the same at once: the store takes one result.
type Keyring struct {
	store KeyStore
	vault Vault
	clock clock.Clock
}

// NewKeyring is a Keyring whose keys are kept in s, sealed by v.
func NewKeyring(s KeyStore, v Vault, c clock.Clock) *Keyring {
	return &Keyring{store: s, vault: v, clock: c}
}

// Ensure gives the tenant a current and a next key for alg unless it has them.
// HS256 needs none, its secret comes with the client or the API. Each key that
// is made is reported by e, completed with the key's kid and state.
//
// A first key of its algorithm signs at once: there is nothing older that a
// verifier could be missing it beside. An ES256 or EdDSA key is published from
// here on, so this is called when an API chooses the algorithm and never before
// (D7: some official SDKs fail on a key set that has one).
func (r *Keyring) Ensure(ctx context.Context, t tenant.Tenant, alg string, e tenant.Event) error {
	f := family(alg)
	if f == "" {
		if alg == string(jose.HS256) {
			return nil
		}
		return fmt.Errorf("make signing key: no keys for algorithm %q", alg)
	}
	keys, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	for _, state := range []tenant.KeyState{tenant.KeyCurrent, tenant.KeyNext} {
		if find(keys, f, state) != nil {
			continue
		}
		if err := r.add(ctx, t, f, state, e); err != nil {
			return err
		}
	}
	return nil
}

// add makes a key and stores it; one that another node stored first is as good.
func (r *Keyring) add(ctx context.Context, t tenant.Tenant, family string, state tenant.KeyState, e tenant.Event) error {
	k, err := NewSigningKey(ctx, r.vault, t, family, state, r.clock.Now())
	if err != nil {
		return err
	}
	err = r.store.AddSigningKey(ctx, k, keyEvent(e, t, k))
	if err != nil && !errors.Is(err, tenant.ErrExists) {
		return fmt.Errorf("add signing key %s of tenant %s: %w", k.Kid, t.ID, err)
	}
	return nil
}

// keyEvent is e as the report of what became of k.
func keyEvent(e tenant.Event, t tenant.Tenant, k tenant.SigningKey) tenant.Event {
	e.TenantID = t.ID
	return withDetails(e, map[string]any{"kid": k.Kid, "algorithm": k.Algorithm, "state": string(k.State)})
}

// withDetails is e with more details; the frame it came from keeps its own.
func withDetails(e tenant.Event, more map[string]any) tenant.Event {
	details := maps.Clone(e.Details)
	if details == nil {
		details = make(map[string]any, len(more))
	}
	maps.Copy(details, more)
	e.Details = details
	return e
}
