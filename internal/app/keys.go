package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

const (
	// keysEvery is how often the key rings are looked after. What is due is
	// judged by the server's clock, so this is only how late it can be.
	keysEvery = time.Minute
	// lastFlush bounds what a stop waits for the last counts.
	lastFlush = 5 * time.Second
)

func (d *data) keyring(clk clock.Clock) *token.Keyring {
	return token.NewKeyring(d.store, d.vault, clk)
}

// keyEvent is the frame of what the server itself does to keys.
func keyEvent(clk clock.Clock) tenant.Event {
	return tenant.Event{At: clk.Now(), Type: audit.KeyStateChanged, Description: audit.Description(audit.KeyStateChanged)}
}

// keepKeys looks after the key rings of all tenants until ctx is done. Its first
// round makes the keys that are published before they sign (D7): it comes after
// the start, because making an RSA key takes longer than everything else in it.
func (a *App) keepKeys(ctx context.Context) {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		if err := a.maintainKeys(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("signing keys could not be looked after; the next round tries again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if err := a.parts.ring.Flush(last); err != nil {
				a.log.Error("the last counts of signatures are lost", "error", err)
			}
			return
		}
	}
}

// maintainKeys is one round. A tenant whose keys cannot be looked after does not
// keep others from it.
func (a *App) maintainKeys(ctx context.Context) error {
	errs := []error{a.parts.ring.Flush(ctx)}
	tenants, err := a.data.store.Tenants(ctx)
	errs = append(errs, err)
	for _, t := range tenants {
		if err := a.data.keyring(a.opts.Clock).Maintain(ctx, t, keyEvent(a.opts.Clock)); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.Domain, err))
		}
	}
	return errors.Join(errs...)
}
