package grant

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Times of the device flow (tokens.md §5).
const (
	deviceCodeLifetime = 900 * time.Second
	pollInterval       = 5 * time.Second
)

// AuthorizeDevice begins a device's login (RFC 8628 §3.1): two codes, of which
// the store keeps the hashes (SEC-66).
func (s *Service) AuthorizeDevice(ctx context.Context, t tenant.Tenant, req oauth.DeviceRequest, origin tenant.Origin) (oauth.DeviceResponse, error) {
	x := &exchange{tenant: t, origin: origin, now: s.clock.Now()}
	x.request = oauth.TokenRequest{GrantType: oauth.GrantDeviceCode, Client: req.Client, Scope: req.Scope, Audience: req.Audience}
	x.event = s.tokenEvent(t, x.request, origin, x.now)
	resp, err := s.authorizeDevice(ctx, x)
	if err != nil {
		s.deviceRefused(x.event, err)
		return oauth.DeviceResponse{}, err
	}
	return resp, nil
}

// RecordDeviceRefusal records that a first step was refused before it got here.
func (s *Service) RecordDeviceRefusal(t tenant.Tenant, req oauth.DeviceRequest, origin tenant.Origin, err error) {
	s.deviceRefused(s.tokenEvent(t, oauth.TokenRequest{Client: req.Client, Scope: req.Scope, Audience: req.Audience}, origin, s.clock.Now()), err)
}

func (s *Service) deviceRefused(event tenant.Event, err error) {
	event.Type = audit.DeviceRefused
	if e := oauth.AsError(err); e.Status < 500 {
		s.record(event, e)
	}
}

func (s *Service) authorizeDevice(ctx context.Context, x *exchange) (oauth.DeviceResponse, error) {
	if err := s.authenticate(ctx, x); err != nil {
		return oauth.DeviceResponse{}, err
	}
	if err := mayUse(x.client, oauth.GrantDeviceCode); err != nil {
		return oauth.DeviceResponse{}, err
	}
	requested := oauth.ParseScopes(x.request.Scope)
	if requested.Has(tenant.OfflineAccess) && requested.Has("online_access") {
		return oauth.DeviceResponse{}, oauth.NewError(oauth.InvalidRequest, "Cannot request both online_access and offline_access scopes", nil)
	}
	p := proof{audience: x.request.Audience}
	if p.audience == "" {
		p.audience = x.tenant.Settings.DefaultAudience
	}
	if err := s.forUser(ctx, x, &p); err != nil {
		return oauth.DeviceResponse{}, err
	}
	if p.api != nil && (p.api.UserPolicy() == "deny_all" || p.api.UserPolicy() == "require_client_grant" && p.clientGrant == nil) {
		return oauth.DeviceResponse{}, notAuthorized(p.audience)
	}
	d := tenant.DeviceCode{
		TenantID: x.tenant.ID, ClientID: x.client.ID, Audience: p.audience, RequestedScope: x.request.Scope,
		Device:    tenant.Device{InitialIP: x.origin.IP, InitialUserAgent: x.origin.UserAgent},
		CreatedAt: x.now, ExpiresAt: x.now.Add(deviceCodeLifetime),
	}
	return s.newDeviceCode(ctx, x.tenant, d)
}

// maxDraws is how often a user code is drawn that is in use already: even with
// millions of them it is another one at the second draw.
const maxDraws = 8

func (s *Service) newDeviceCode(ctx context.Context, t tenant.Tenant, d tenant.DeviceCode) (oauth.DeviceResponse, error) {
	code, err := token.Random(s.rand)
	if err != nil {
		return oauth.DeviceResponse{}, fmt.Errorf("draw device code: %w", err)
	}
	d.Hash = token.Hash(code)
	for range maxDraws {
		shown, err := token.NewUserCode(s.rand, t.Settings.DeviceFlow)
		if err != nil {
			return oauth.DeviceResponse{}, fmt.Errorf("draw user code: %w", err)
		}
		d.UserCode = token.UserCodeHash(shown)
		err = s.store.CreateDeviceCode(ctx, d)
		if errors.Is(err, tenant.ErrExists) {
			continue
		}
		if err != nil {
			return oauth.DeviceResponse{}, fmt.Errorf("write device code: %w", err)
		}
		return oauth.DeviceResponse{
			DeviceCode: code, UserCode: shown, VerificationURI: t.Issuer() + "activate",
			VerificationURIComplete: t.Issuer() + "activate?user_code=" + url.QueryEscape(shown),
			ExpiresIn:               int64(deviceCodeLifetime / time.Second), Interval: int64(pollInterval / time.Second),
		}, nil
	}
	return oauth.DeviceResponse{}, errors.New("every user code drawn is in use")
}

// redeemDeviceCode is RFC 8628 §3.4, in the vendor's words (authentication-api.md
// §4.8). What the client hears while it waits changes nothing but when it asked.
func (s *Service) redeemDeviceCode(ctx context.Context, x *exchange) (proof, error) {
	if x.request.DeviceCode == "" {
		return proof{}, oauth.Missing("device_code")
	}
	d, err := s.store.DeviceCode(ctx, x.tenant.ID, token.Hash(x.request.DeviceCode))
	if errors.Is(err, tenant.ErrNotFound) {
		return proof{}, invalidDevice("unknown_device_code")
	}
	if err != nil {
		return proof{}, fmt.Errorf("read device code: %w", err)
	}
	x.event.UserID, x.event.Connection, x.event.Audience, x.event.Scope = d.UserID, d.Connection, d.Audience, d.RequestedScope
	switch {
	case d.ClientID != x.client.ID: // a stranger cannot use it up, or slow it down
		return proof{}, invalidDevice("wrong_client")
	case !d.RedeemedAt.IsZero():
		return proof{}, invalidDevice("device_code_reused")
	case !x.now.Before(d.ExpiresAt):
		return proof{}, s.deviceExpired(ctx, x, d)
	case d.Decision == tenant.DeviceDenied:
		return proof{}, oauth.NewError(oauth.AccessDenied, "User cancelled the confirmation prompt.", nil).WithReason("user_denied")
	case !d.PolledAt.IsZero() && x.now.Before(d.PolledAt.Add(pollInterval)):
		return proof{}, slowDown(x)
	case d.Decision == "":
		return proof{}, s.pending(ctx, x, d)
	}
	return s.allowedDevice(ctx, x, d)
}

func invalidDevice(reason string) *oauth.Error {
	return oauth.NewError(oauth.InvalidGrant, "Invalid or expired device code.", nil).WithReason(reason)
}

// slowDown has no event, and neither has pending: a device that waits is nothing
// that an operator wants to read about every five seconds.
func slowDown(x *exchange) error {
	x.reported = true
	return oauth.NewError(oauth.SlowDown, "You are polling faster than the specified interval of 5 seconds.", nil)
}

func (s *Service) pending(ctx context.Context, x *exchange, d tenant.DeviceCode) error {
	err := s.store.PollDeviceCode(ctx, x.tenant.ID, d.Hash, x.now, x.now.Add(-pollInterval))
	if errors.Is(err, tenant.ErrConflict) {
		return slowDown(x)
	}
	if err != nil {
		return fmt.Errorf("write poll: %w", err)
	}
	x.reported = true
	return oauth.NewError(oauth.AuthorizationPending, "User has yet to authorize device code.", nil)
}

// deviceExpired says once that the code came too late; from then on it is as any
// that never was.
func (s *Service) deviceExpired(ctx context.Context, x *exchange, d tenant.DeviceCode) error {
	if d.ExpiryTold {
		return invalidDevice("device_code_expired")
	}
	refused := oauth.NewError(oauth.ExpiredToken, "The device code has expired.", nil).WithReason("device_code_expired")
	e := x.event
	e.Type, e.Reason, e.Description, e.At = audit.DeviceExchangeRefused, refused.Reason, refused.Description, s.clock.Now()
	err := s.store.TellDeviceExpired(ctx, x.tenant.ID, d.Hash, e)
	if errors.Is(err, tenant.ErrConflict) {
		return invalidDevice("device_code_expired")
	}
	if err != nil {
		return fmt.Errorf("write that the device code has expired: %w", err)
	}
	x.reported = true
	return refused
}

// allowedDevice is what the user's yes proves, if it still stands (SEC-1,
// SEC-52): whatever would have ended a family since, ends it too. The login
// session is not asked for: who lets a device in at somebody's computer logs out
// there at once.
func (s *Service) allowedDevice(ctx context.Context, x *exchange, d tenant.DeviceCode) (proof, error) {
	u, err := s.activeUser(ctx, x, d.UserID, invalidDevice(reasonUserDeleted))
	if err != nil {
		return proof{}, err
	}
	mark, err := s.store.Mark(ctx, x.tenant.ID, markSubjects(x.tenant, tenant.Claims{ClientID: d.ClientID, Subject: d.UserID, Audience: []string{d.Audience}}))
	if err != nil {
		return proof{}, fmt.Errorf("read marks: %w", err)
	}
	if d.DecidedAt.Before(mark) {
		return proof{}, invalidDevice("revoked")
	}
	if d.DecidedAt.Before(u.LastPasswordResetAt) {
		return proof{}, invalidDevice("password_changed")
	}
	if err := s.consentStands(ctx, x, d.UserID, d.Audience, d.ConsentID, invalidDevice("consent_withdrawn")); err != nil {
		return proof{}, err
	}
	p := proof{
		user: u, requested: d.Scopes, audience: d.Audience, audienceUsed: d.Audience != "",
		protocol: "oauth2-device-code", authorizedBy: tenant.DeviceAuthorization + d.Hash, grantType: oauth.GrantDeviceCode,
		fromBrowser: x.request.FromBrowser, consentID: d.ConsentID, connection: d.Connection,
		authTime: d.AuthTime, amr: d.AMR, codeHash: d.Hash,
	}
	return p, s.forUser(ctx, x, &p)
}

// commitDeviceCode uses the code up and keeps the new family, in one write.
func (s *Service) commitDeviceCode(ctx context.Context, x *exchange, p proof, _ access, m minted) error {
	r := tenant.Redemption{
		TenantID: x.tenant.ID, CodeHash: p.codeHash, At: s.clock.Now(),
		Guard: x.guard(p), Issue: m.issue, Event: x.event,
	}
	r.Event.At = r.At
	if m.issue != nil {
		r.Event.FamilyID, r.Event.Reason = m.issue.Family.ID, "issued"
	}
	err := s.store.RedeemDeviceCode(ctx, r)
	if err == nil || errors.Is(err, tenant.ErrConflict) {
		return err
	}
	if m.issue != nil && s.issued(ctx, m.issue.Family) {
		return nil
	}
	return fmt.Errorf("redeem device code: %w", err)
}
