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

// keepKeys looks after the key rings of the tenants that p serves, until ctx is
// done, and then writes down what they have signed.
func (a *App) keepKeys(ctx context.Context, p *parts, clk clock.Clock, serves func(tenant.Tenant) bool) {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.roundOfKeys(ctx, p, clk, serves)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if err := p.ring.Flush(last); err != nil {
				a.log.Error("the last counts of signatures are lost", "error", err)
			}
			return
		}
	}
}

func (a *App) roundOfKeys(ctx context.Context, p *parts, clk clock.Clock, serves func(tenant.Tenant) bool) {
	if err := a.maintainKeys(ctx, p, clk, serves); err != nil && ctx.Err() == nil {
		a.log.Error("signing keys could not be looked after; the next round tries again", "error", err)
	}
}

// maintainKeys is one round. A tenant whose keys cannot be looked after does not
// keep others from it.
func (a *App) maintainKeys(ctx context.Context, p *parts, clk clock.Clock, serves func(tenant.Tenant) bool) error {
	errs := []error{p.ring.Flush(ctx)}
	tenants, err := a.data.store.Tenants(ctx)
	errs = append(errs, err)
	for _, t := range tenants {
		if !serves(t) {
			continue
		}
		if err := a.data.keyring(clk).Maintain(ctx, t, keyEvent(clk)); err != nil {
			errs = append(errs, fmt.Errorf("tenant %s: %w", t.Domain, err))
		}
	}
	return errors.Join(errs...)
}
