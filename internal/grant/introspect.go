package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Introspect says what a token is worth now (RFC 7662), to a client that proves
// who it is. Only the client that a token was issued to and, of an access token,
// a client that is linked to an API of its audience hear more than that it is not
// active (SEC-131). Nothing is written, and a value that was rotated is not active
// and ends no family here.
//
// Errors are *oauth.Error for a caller who did not prove who it is, or faults:
// what cannot be decided is never answered with "inactive" (SEC-2).
func (s *Service) Introspect(ctx context.Context, t tenant.Tenant, req oauth.IntrospectionRequest, origin tenant.Origin) (oauth.Introspection, error) {
	x := &exchange{tenant: t, origin: origin, now: s.clock.Now()}
	x.request = oauth.TokenRequest{Client: req.Client}
	x.event = s.tokenEvent(t, x.request, origin, x.now)
	if err := s.confidential(ctx, x); err != nil {
		return oauth.Introspection{}, err
	}
	if req.Token == "" {
		return oauth.Introspection{}, oauth.Missing("token")
	}
	p, err := s.refresh.Parse(ctx, t, req.Token)
	switch {
	case err == nil:
		return s.introspectRefresh(ctx, x, p)
	case !errors.Is(err, tenant.ErrNotFound):
		return oauth.Introspection{}, fmt.Errorf("read refresh token value: %w", err)
	}
	return s.introspectAccess(ctx, x, req.Token)
}

// confidential authenticates a caller that must have a credential of its own:
// the endpoints for resource servers are for nobody else (SEC-131).
func (s *Service) confidential(ctx context.Context, x *exchange) error {
	err := s.authenticate(ctx, x)
	if err == nil && x.client.Public() {
		err = unauthorized("public_client")
	}
	if err == nil {
		return nil
	}
	err = asInvalidClient(err)
	if e := oauth.AsError(err); e.Status < 500 {
		event := x.event
		event.Type = audit.LoginFailed
		s.record(event, e)
	}
	return err
}

func (s *Service) introspectAccess(ctx context.Context, x *exchange, raw string) (oauth.Introspection, error) {
	c, _, err := s.authenticateToken(ctx, x.tenant, raw)
	if err != nil {
		if badToken(err) != nil {
			return oauth.Introspection{}, nil
		}
		return oauth.Introspection{}, err
	}
	if c.ClientID != x.client.ID && !slices.Contains(c.Audience, LinkedAudience(x.client)) {
		return oauth.Introspection{}, nil
	}
	out := oauth.Introspection{
		Active: true, Issuer: c.Issuer, Subject: c.Subject, ClientID: c.ClientID, Scope: oauth.Scopes(c.Scopes).String(),
		ExpiresAt: c.ExpiresAt.Unix(), IssuedAt: c.IssuedAt.Unix(), ID: c.ID, TokenType: "Bearer", Permissions: c.Permissions,
	}
	out.Audience = c.Audience
	if len(c.Audience) == 1 { // as in the token itself (RFC 7519 §4.1.3)
		out.Audience = c.Audience[0]
	}
	return out, nil
}

// introspectRefresh answers what an exchange of the value would meet before it
// asks the rules. It is for the client that holds it alone.
func (s *Service) introspectRefresh(ctx context.Context, x *exchange, p token.Presented) (oauth.Introspection, error) {
	none := oauth.Introspection{}
	f, err := s.store.RefreshToken(ctx, x.tenant.ID, p.ID)
	if errors.Is(err, tenant.ErrNotFound) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read refresh token: %w", err)
	}
	if f.ClientID != x.client.ID || !x.client.AllowsGrant(oauth.GrantRefreshToken) {
		return none, nil
	}
	switch v, _ := judge(f, p, "", x.client.Refresh, x.now); v {
	case rotate, migrate, stay, keep:
	default:
		return none, nil
	}
	if err := s.stillHolds(ctx, x, f); err != nil {
		var refused *oauth.Error
		if errors.As(err, &refused) && refused.Status < 500 {
			return none, nil
		}
		return none, err
	}
	out := oauth.Introspection{
		Active: true, Issuer: x.tenant.Issuer(), Subject: f.UserID, ClientID: f.ClientID,
		Scope: oauth.Scopes(f.Scopes).String(), IssuedAt: f.CreatedAt.Unix(),
	}
	if f.Audience != "" {
		out.Audience = f.Audience
	}
	if end := earliest(f.ExpiresAt, f.IdleExpiresAt); !end.IsZero() {
		out.ExpiresAt = end.Unix()
	}
	return out, nil
}

// stillHolds refuses where user, consent or API of a family are gone.
func (s *Service) stillHolds(ctx context.Context, x *exchange, f tenant.RefreshToken) error {
	if _, err := s.activeUser(ctx, x, f.UserID, userGone()); err != nil {
		return err
	}
	if err := s.consentStands(ctx, x, f.UserID, f.Audience, f.ConsentID, invalidRefresh("consent_withdrawn")); err != nil {
		return err
	}
	p := proof{audience: f.Audience}
	if err := s.forUser(ctx, x, &p); err != nil {
		return err
	}
	if p.api != nil && p.api.UserPolicy() == "deny_all" {
		return notAuthorized(f.Audience)
	}
	return nil
}

// earliest is the first of the instants that are set, zero for none.
func earliest(instants ...time.Time) time.Time {
	var first time.Time
	for _, at := range instants {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// LinkedAudience is the API that a client stands for, or empty. The link is the
// registration's alone: app_type resource_server with resource_server_identifier.
// A client grant makes a caller of an API, not the API.
func LinkedAudience(c tenant.Client) string {
	if c.AppType != "resource_server" {
		return ""
	}
	return c.ResourceServerIdentifier
}
