package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// EarlyError refuses a rotation: verifiers that keep a key set could not know
// the key that would sign (SEC-141).
type EarlyError struct {
	Kid       string
	Algorithm string
	// Ready is when the key may sign.
	Ready time.Time
}

func (e *EarlyError) Error() string {
	return fmt.Sprintf("the next %s key %s has not been published long enough: it may sign from %s on, before that verifiers that keep a key set would refuse valid tokens",
		e.Algorithm, e.Kid, e.Ready.UTC().Format(time.RFC3339))
}

// NeededError refuses to remove a key: tokens that have not expired were signed
// with it (SEC-142).
type NeededError struct {
	Kid string
	Dependents
}

func (e *NeededError) Error() string {
	return fmt.Sprintf("the key %s is needed until %s: removing it would end at most %d tokens",
		e.Kid, e.Until.UTC().Format(time.RFC3339), e.Tokens)
}

// Dependents is what hangs on a key.
type Dependents struct {
	// Tokens is how many tokens may be alive that the key has signed, as far as
	// nodes have told: each does it once a minute.
	Tokens int64
	// Until is when the last of them has expired; zero when there is none, or
	// the key still signs.
	Until time.Time
}

// States a key cannot be removed or restored in; each is a tenant.ErrConflict.
var (
	// ErrSigns is that the key still signs, is about to, or has been revoked.
	ErrSigns = fmt.Errorf("only a previous key can be revoked; rotate first, so that it is one: %w", tenant.ErrConflict)
	// ErrNotRevoked is that there is nothing to restore.
	ErrNotRevoked = fmt.Errorf("only a revoked key can be restored: %w", tenant.ErrConflict)
)

// rotateTries bounds how often a rotation that lost against another is judged anew.
const rotateTries = 3

// Rotate replaces the current keys of all algorithms by their next ones, in one
// commit, and tells the RSA key that is next now. A next key that verifiers may
// not know yet is an *EarlyError; with force it is used all the same, and a
// second event warns of it. A rotation that another node makes in the same
// moment counts as this one.
func (r *Keyring) Rotate(ctx context.Context, t tenant.Tenant, force bool, e tenant.Event) (tenant.SigningKey, error) {
	before, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return tenant.SigningKey{}, fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	signed := find(before, familyRSA, tenant.KeyCurrent)
	keys := before
	for range rotateTries {
		if force { // just after the start the next key may still be in the making
			made, err := r.fillNext(ctx, t, keys, e)
			if err == nil && made {
				keys, err = r.store.SigningKeys(ctx, t.ID)
			}
			if err != nil {
				return tenant.SigningKey{}, fmt.Errorf("make the next signing key of tenant %s: %w", t.ID, err)
			}
		}
		now := r.clock.Now()
		plan, err := r.plan(ctx, t, keys, now, force, func(tenant.SigningKey) bool { return true })
		if err != nil {
			return tenant.SigningKey{}, err
		}
		if plan.rotation.Moves == nil {
			return tenant.SigningKey{}, ErrNoKey
		}
		plan.report(e)
		err = r.store.RotateSigningKeys(ctx, plan.rotation)
		if err == nil {
			return plan.next, nil
		}
		if !errors.Is(err, tenant.ErrConflict) && !errors.Is(err, tenant.ErrExists) {
			return tenant.SigningKey{}, fmt.Errorf("rotate signing keys of tenant %s: %w", t.ID, err)
		}
		if keys, err = r.store.SigningKeys(ctx, t.ID); err != nil {
			return tenant.SigningKey{}, fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
		}
		if c := find(keys, familyRSA, tenant.KeyCurrent); c != nil && signed != nil && c.Kid != signed.Kid {
			if next := find(keys, familyRSA, tenant.KeyNext); next != nil {
				return *next, nil
			}
		}
	}
	return tenant.SigningKey{}, fmt.Errorf("rotate signing keys of tenant %s: %w", t.ID, tenant.ErrConflict)
}

// plan is a rotation that is ready to be written.
type plan struct {
	rotation tenant.KeyRotation
	// next is the RSA key that will be next.
	next tenant.SigningKey
	// early are the keys that verifiers may not know.
	early []string
}

// plan moves the keys of each algorithm whose current key is due.
func (r *Keyring) plan(ctx context.Context, t tenant.Tenant, keys []tenant.SigningKey, now time.Time, force bool, due func(current tenant.SigningKey) bool) (*plan, error) {
	first, err := r.store.FirstKeySet(ctx, t.ID)
	served := true
	if errors.Is(err, tenant.ErrNotFound) {
		served, err = false, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the first key set of tenant %s: %w", t.ID, err)
	}
	p := &plan{rotation: tenant.KeyRotation{TenantID: t.ID, At: now}}
	for _, f := range []string{familyRSA, familyES256, familyEdDSA} {
		current, next := find(keys, f, tenant.KeyCurrent), find(keys, f, tenant.KeyNext)
		if current == nil || !due(*current) {
			continue
		}
		if next == nil { // the loop that makes them has not come to it
			return nil, &EarlyError{Kid: "(none yet)", Algorithm: f, Ready: now.Add(t.Settings.KeyPublicationTime())}
		}
		if ready := next.CreatedAt.Add(t.Settings.KeyPublicationTime()); served && now.Before(ready) && !slices.Contains(first, next.Kid) {
			if !force {
				return nil, &EarlyError{Kid: next.Kid, Algorithm: f, Ready: ready}
			}
			p.early = append(p.early, next.Kid)
		}
		k, err := NewSigningKey(ctx, r.vault, t, f, tenant.KeyNext, now)
		if err != nil {
			return nil, err
		}
		if f == familyRSA {
			p.next = k
		}
		p.rotation.Moves = append(p.rotation.Moves, tenant.KeyMove{From: current.Kid, To: next.Kid, Next: k})
	}
	return p, nil
}

// report makes the events of a rotation from their frame.
func (p *plan) report(e tenant.Event) {
	e.TenantID, e.Reason = p.rotation.TenantID, "rotated"
	moves := make([]map[string]string, len(p.rotation.Moves))
	for i, m := range p.rotation.Moves {
		moves[i] = map[string]string{"previous": m.From, "current": m.To, "next": m.Next.Kid}
	}
	p.rotation.Event = withDetails(e, map[string]any{"keys": moves})
	if p.early != nil {
		e.Reason = "rotated_early"
		e.Description = "A signing key signs before verifiers have had time to learn it: those that keep a key set may refuse valid tokens"
		p.rotation.Warning = withDetails(e, map[string]any{"kids": p.early})
	}
}

// Dependents tells what hangs on each key that has signed, by kid.
func (r *Keyring) Dependents(ctx context.Context, t tenant.Tenant) (map[string]Dependents, error) {
	keys, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	return r.dependents(ctx, t, keys)
}

func (r *Keyring) dependents(ctx context.Context, t tenant.Tenant, keys []tenant.SigningKey) (map[string]Dependents, error) {
	now := r.clock.Now()
	counts, err := r.store.Signatures(ctx, t.ID, now)
	if err != nil {
		return nil, fmt.Errorf("count the tokens of tenant %s: %w", t.ID, err)
	}
	out := make(map[string]Dependents)
	for _, c := range counts {
		d := out[c.Kid]
		d.Tokens += c.Signed
		out[c.Kid] = d
	}
	for _, k := range keys {
		if k.State == tenant.KeyPrevious && now.Before(k.NeededUntil()) {
			d := out[k.Kid]
			d.Until = k.NeededUntil()
			out[k.Kid] = d
		}
	}
	return out, nil
}

// Revoke takes a previous key out of the key set, for good. Tokens that hang on
// it are a *NeededError; with force they end with it: at our endpoints at once,
// elsewhere when verifiers fetch the set again. ErrSigns is for the keys that
// sign or are next, ErrNotFound for no key.
func (r *Keyring) Revoke(ctx context.Context, t tenant.Tenant, kid string, force bool, e tenant.Event) (tenant.SigningKey, error) {
	keys, k, err := r.key(ctx, t, kid)
	if err != nil {
		return k, err
	}
	if k.State != tenant.KeyPrevious {
		return k, ErrSigns
	}
	all, err := r.dependents(ctx, t, keys)
	if err != nil {
		return k, err
	}
	hanging, needed := all[kid]
	if needed && !hanging.Until.IsZero() && !force {
		return k, &NeededError{Kid: kid, Dependents: hanging}
	}
	if force {
		k.LongestLifetime = tenant.AnyLifetime
	}
	return k, r.remove(ctx, t, k, "revoked", hanging, e)
}

func (r *Keyring) remove(ctx context.Context, t tenant.Tenant, k tenant.SigningKey, reason string, hanging Dependents, e tenant.Event) error {
	c := tenant.KeyChange{
		TenantID: t.ID, Kid: k.Kid, From: tenant.KeyPrevious, To: tenant.KeyRevoked, At: r.clock.Now(), LongestLifetime: k.LongestLifetime,
	}
	k.State = tenant.KeyRevoked
	c.Event = keyEvent(e, t, k)
	c.Event.Reason = reason
	if reason == "revoked" {
		c.Event.Details["tokens_at_most"] = hanging.Tokens
		if !hanging.Until.IsZero() {
			c.Event.Details["needed_until"] = hanging.Until
		}
	}
	if err := r.store.ChangeSigningKey(ctx, c); err != nil {
		return fmt.Errorf("remove signing key %s of tenant %s: %w", k.Kid, t.ID, err)
	}
	return nil
}

// Restore publishes a key again that was removed by mistake: tokens it signed
// are valid again until they expire (SEC-142). It never signs again.
func (r *Keyring) Restore(ctx context.Context, t tenant.Tenant, kid string, e tenant.Event) error {
	_, k, err := r.key(ctx, t, kid)
	if err != nil {
		return err
	}
	if k.State != tenant.KeyRevoked {
		return ErrNotRevoked
	}
	c := tenant.KeyChange{TenantID: t.ID, Kid: kid, From: tenant.KeyRevoked, To: tenant.KeyPrevious, At: r.clock.Now()}
	k.State = tenant.KeyPrevious
	c.Event = keyEvent(e, t, k)
	c.Event.Reason = "restored"
	if err := r.store.ChangeSigningKey(ctx, c); err != nil {
		return fmt.Errorf("restore signing key %s of tenant %s: %w", kid, t.ID, err)
	}
	return nil
}

// Maintain does what is due: makes next keys where they are missing, rotates by
// the tenant's schedule, and retires previous keys whose last token has expired.
// Any number of nodes may call it at once and as often as they like; what another
// node has done meanwhile is no error.
func (r *Keyring) Maintain(ctx context.Context, t tenant.Tenant, e tenant.Event) error {
	keys, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	if _, err := r.fillNext(ctx, t, keys, e); err != nil {
		return err
	}
	now := r.clock.Now()
	if interval := t.Settings.KeyRotationInterval(); interval > 0 {
		if err := r.rotateDue(ctx, t, keys, now, interval, e); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if k.State != tenant.KeyPrevious || now.Before(k.NeededUntil()) {
			continue
		}
		if err := r.remove(ctx, t, k, "expired", Dependents{}, e); err != nil && !errors.Is(err, tenant.ErrConflict) {
			return err
		}
	}
	return nil
}

// fillNext makes the next keys that are missing beside current ones.
func (r *Keyring) fillNext(ctx context.Context, t tenant.Tenant, keys []tenant.SigningKey, e tenant.Event) (made bool, err error) {
	for _, f := range []string{familyRSA, familyES256, familyEdDSA} {
		if find(keys, f, tenant.KeyCurrent) != nil && find(keys, f, tenant.KeyNext) == nil {
			if err := r.add(ctx, t, f, tenant.KeyNext, e); err != nil {
				return made, err
			}
			made = true
		}
	}
	return made, nil
}

func (r *Keyring) rotateDue(ctx context.Context, t tenant.Tenant, keys []tenant.SigningKey, now time.Time, interval time.Duration, e tenant.Event) error {
	p, err := r.plan(ctx, t, keys, now, false, func(current tenant.SigningKey) bool { return !now.Before(current.CurrentSince.Add(interval)) })
	var early *EarlyError
	if errors.As(err, &early) {
		return nil // a later call finds it published
	}
	if err != nil || p.rotation.Moves == nil {
		return err
	}
	p.report(e)
	p.rotation.Event.Reason = "scheduled"
	err = r.store.RotateSigningKeys(ctx, p.rotation)
	if errors.Is(err, tenant.ErrConflict) || errors.Is(err, tenant.ErrExists) {
		return nil // another node was faster
	}
	return err
}

func (r *Keyring) key(ctx context.Context, t tenant.Tenant, kid string) ([]tenant.SigningKey, tenant.SigningKey, error) {
	keys, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return nil, tenant.SigningKey{}, fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	i := slices.IndexFunc(keys, func(k tenant.SigningKey) bool { return k.Kid == kid })
	if i < 0 {
		return nil, tenant.SigningKey{}, tenant.ErrNotFound
	}
	return keys, keys[i], nil
}

func find(keys []tenant.SigningKey, family string, state tenant.KeyState) *tenant.SigningKey {
	i := slices.IndexFunc(keys, func(k tenant.SigningKey) bool { return k.Algorithm == family && k.State == state })
	if i < 0 {
		return nil
	}
	return &keys[i]
}
