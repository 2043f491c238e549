package authorize

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Wrong user codes that one browser and one source may type in an hour (SEC-66).
const (
	browserTries = 10
	sourceTries  = 100
	triesWindow  = time.Hour
)

// maxUserCode is the length of what is looked at as a user code.
const maxUserCode = 64

// judgeDevice finds out what a device's request may have: it was made at the back
// channel, so there is no address that an answer goes to.
func (s *Service) judgeDevice(ctx context.Context, q *request) (*oauth.Error, error) {
	if err := s.findClient(ctx, q); err != nil {
		return nil, err
	}
	if !q.client.AllowsGrant(oauth.GrantDeviceCode) {
		return grantNotAllowed(oauth.GrantDeviceCode), nil
	}
	q.types.code = true // tokens come from the token endpoint, as with a code
	if refusal := q.readScope(); refusal != nil {
		return refusal, nil
	}
	return s.entitle(ctx, q)
}

// Activation is called as the page for the user code is shown: a browser that has
// no name yet gets one, so that its tries can be counted.
func (s *Service) Activation(b Browser) (Cookies, error) {
	if wellFormed(b.Binding) {
		return Cookies{}, nil
	}
	v, err := s.random()
	return Cookies{Binding: v}, err
}

// SubmitUserCode takes the code that the user read off a device, and opens the
// transaction that ends with a yes or a no. A FormError means: show the page
// again. Which device it is, is not shown before the user has logged in.
func (s *Service) SubmitUserCode(ctx context.Context, t tenant.Tenant, typed string, b Browser) (Outcome, error) {
	now := s.clock.Now()
	if typed == "" {
		return Outcome{}, &FormError{Field: FieldUserCode, Reason: Missing}
	}
	if len(typed) > maxUserCode {
		return Outcome{}, &FormError{Field: FieldUserCode, Reason: UnknownCode}
	}
	try := tenant.CodeTry{
		TenantID: t.ID, UserCode: token.UserCodeHash(typed), BrowserLimit: browserTries, SourceLimit: sourceTries, Window: triesWindow, At: now,
	}
	if wellFormed(b.Binding) {
		try.Browser = token.Hash("browser " + b.Binding)
	}
	if source := sourceOf(b.Origin.IP); source != "" {
		try.Source = token.Hash("source " + source)
	}
	d, err := s.store.FindUserCode(ctx, try)
	switch {
	case errors.Is(err, tenant.ErrNotFound):
		return Outcome{}, s.activationFailed(t, b, "unknown_user_code", UnknownCode, now)
	case errors.Is(err, tenant.ErrLimited):
		return Outcome{}, s.activationFailed(t, b, "too_many_user_codes", TooManyTries, now)
	case err != nil:
		return Outcome{}, fmt.Errorf("find user code: %w", err)
	}
	return s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		q, refusal, err := s.judge(ctx, t, oauth.AuthorizationRequest{
			ClientID: d.ClientID, Scope: d.RequestedScope, Audience: d.Audience, Device: d.Hash,
		})
		if err != nil {
			return Outcome{}, err
		}
		if refusal != nil { // the client was changed meanwhile
			return Outcome{}, refusal
		}
		l, err := s.signedIn(ctx, t, b.Session, now)
		if err != nil {
			return Outcome{}, err
		}
		next := stepLogin
		if l.fits(q) {
			if l.user.Blocked {
				return Outcome{}, userBlocked()
			}
			next = stepDevice
		}
		return s.open(ctx, q, l, next, b, now)
	})
}

func (s *Service) activationFailed(t tenant.Tenant, b Browser, reason string, said FormReason, now time.Time) error {
	e := s.event(t, audit.DeviceActivationFailed, tenant.Client{}, b, now)
	e.Reason = reason
	s.store.Record(e)
	return &FormError{Field: FieldUserCode, Reason: said}
}

// sourceOf is what counts as one source: an address, or the network that one
// IPv6 customer has at least.
func sourceOf(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return ""
	}
	return network.String()
}

// DeviceView is what the page shows that asks for the yes (SEC-66): which client
// asks, from where, and for what.
type DeviceView struct {
	ConsentView
	Device tenant.Device
	// Asked is how long ago the device asked.
	Asked time.Duration
}

// Device is the view of that page. When the browser's session is no longer the
// transaction's, the outcome says where to go instead (SEC-42).
func (s *Service) Device(ctx context.Context, t tenant.Tenant, state string, b Browser) (DeviceView, Outcome, error) {
	now := s.clock.Now()
	o, d, err := s.resumeDevice(ctx, t, state, b, now)
	if err != nil {
		return DeviceView{}, Outcome{}, err
	}
	v, out, err := s.Consent(ctx, t, state, b)
	if err != nil || out.Page != NoPage {
		return DeviceView{}, out, err
	}
	v.FormTargets = o.formTargets()
	return DeviceView{ConsentView: v, Device: d.Device, Asked: max(now.Sub(d.CreatedAt), 0)}, Outcome{}, nil
}

// resumeDevice finds the transaction and the device it is about, which must still
// wait. What is over is one answer with what never was.
func (s *Service) resumeDevice(ctx context.Context, t tenant.Tenant, state string, b Browser, now time.Time) (*ongoing, tenant.DeviceCode, error) {
	o, err := s.resume(ctx, t, state, b, now)
	if err != nil {
		return nil, tenant.DeviceCode{}, err
	}
	gone := oauth.NewError(oauth.InvalidRequest, "This code has expired or was used.", nil).WithReason("device_code")
	if o.Device == "" {
		return nil, tenant.DeviceCode{}, gone
	}
	d, err := s.store.DeviceCode(ctx, t.ID, o.Device)
	if errors.Is(err, tenant.ErrNotFound) || err == nil && (d.Decision != "" || !now.Before(d.ExpiresAt)) {
		return nil, tenant.DeviceCode{}, gone
	}
	if err != nil {
		return nil, tenant.DeviceCode{}, fmt.Errorf("read device code: %w", err)
	}
	return o, d, nil
}

// SubmitDevice takes the user's yes or no.
func (s *Service) SubmitDevice(ctx context.Context, t tenant.Tenant, state string, allow bool, b Browser) (Outcome, error) {
	now := s.clock.Now()
	return s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		o, d, err := s.resumeDevice(ctx, t, state, b, now)
		if err != nil {
			return Outcome{}, err
		}
		l, err := s.signedIn(ctx, t, b.Session, now)
		if err != nil {
			return Outcome{}, err
		}
		if !o.belongsTo(l) {
			return s.startOver(ctx, o, state)
		}
		if l.user.Blocked {
			return s.finish(ctx, o, userBlocked(), l, b, now)
		}
		decision, err := s.decideDevice(ctx, o, d, l, allow, b, now)
		if err != nil {
			return Outcome{}, err
		}
		if err := s.store.DecideDevice(ctx, decision); err != nil {
			return Outcome{}, fmt.Errorf("write decision about a device: %w", err)
		}
		if allow {
			return Outcome{Page: DeviceAllowedPage}, nil
		}
		return Outcome{Page: DeviceDeniedPage}, nil
	})
}

// decideDevice is the one write of a decision. A yes is a consent too: the page
// has said what the client will be able to do.
func (s *Service) decideDevice(ctx context.Context, o *ongoing, d tenant.DeviceCode, l *login, allow bool, b Browser, now time.Time) (tenant.DeviceDecision, error) {
	at := s.clock.Now()
	w := tenant.DeviceDecision{
		TenantID: o.tenant.ID, At: at, TransactionID: o.tx.ID, TransactionRevision: o.tx.Revision,
		Guard: tenant.Guard{
			ConfigVersion: o.tenant.ConfigVersion, UserID: l.user.ID, UserVersion: l.user.Version, SessionID: l.session.ID,
		},
		SessionID: l.session.ID, IdleExpiresAt: at.Add(o.tenant.Settings.IdleSessionLifetime()),
	}
	if w.IdleExpiresAt.After(l.session.ExpiresAt) {
		w.IdleExpiresAt = l.session.ExpiresAt
	}
	d.UserID, d.DecidedAt, d.Decision = l.user.ID, at, tenant.DeviceDenied
	w.Event = aboutUser(s.event(o.tenant, audit.DeviceDenied, o.client, b, at), l.user)
	if allow {
		_, consent, err := s.facts(ctx, o.request, l, true, true)
		if err != nil {
			return w, err
		}
		d.ConsentID, err = s.consentFor(answer{request: o.request, login: l, consent: consent}, &w.Guard, &w.Consent, now)
		if err != nil {
			return w, err
		}
		d.Decision, d.Audience, d.Scopes, d.Connection = tenant.DeviceAllowed, o.audience, o.scopes, l.session.Connection
		d.AuthTime, d.AMR = l.session.AuthenticatedAt, l.session.AMR
		w.Event = aboutUser(s.event(o.tenant, audit.LoginSucceeded, o.client, b, at), l.user)
		w.Event.Description = "Device allowed"
	}
	w.Device = d
	w.Event.Reason, w.Event.SessionID, w.Event.Audience, w.Event.Scope = "device_"+d.Decision, l.session.ID, o.audience, o.scopes.String()
	return w, nil
}
