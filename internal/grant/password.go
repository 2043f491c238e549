package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// passwordDefaults are granted when no scope and no API was asked for
// (tokens.md §6.2).
var passwordDefaults = []string{tenant.OpenID, "profile", "email", "address", "phone"}

// maxPassword is the longest password anybody has, in bytes (SEC-180).
const maxPassword = 1024

// redeemPassword is RFC 6749 §4.3 and the vendor's grant that names the
// connection (authentication-api.md §4.4). An unknown user, a user of another
// connection and a wrong password have one answer, after the same work.
func (s *Service) redeemPassword(ctx context.Context, x *exchange) (proof, error) {
	for _, parameter := range []struct{ name, value string }{
		{"username", x.request.Username}, {"password", x.request.Password},
	} {
		if parameter.value == "" {
			return proof{}, oauth.Missing(parameter.name)
		}
	}
	connection, err := s.passwordConnection(ctx, x)
	if err != nil {
		return proof{}, err
	}
	u, err := s.verifyPassword(ctx, x, connection)
	if err != nil {
		return proof{}, err
	}
	if err := s.notBlocked(x, u); err != nil {
		return proof{}, err
	}
	audience := x.request.Audience
	if audience == "" {
		audience = x.tenant.Settings.DefaultAudience
	}
	requested := oauth.ParseScopes(x.request.Scope)
	if requested.Has(tenant.OfflineAccess) && requested.Has("online_access") {
		return proof{}, oauth.NewError(oauth.InvalidRequest, "Cannot request both online_access and offline_access scopes", nil)
	}
	p := proof{
		user: u, audience: audience, audienceUsed: audience != "",
		protocol: "oauth2-password", authorizedBy: "login " + x.attempt, grantType: x.request.GrantType,
		gty: []string{"password"}, fromBrowser: x.request.FromBrowser,
		connection: connection.Name, authTime: x.now,
	}
	if err := s.forUser(ctx, x, &p); err != nil {
		return proof{}, err
	}
	p.requested = requested
	if len(requested) == 0 {
		p.requested = passwordDefaults
		if p.api != nil {
			p.requested = p.api.ScopeValues()
		}
	}
	return p, nil
}

// passwordConnection is the connection that is asked: the one named, or the
// tenant's default. One that is not for this client is as good as unknown.
func (s *Service) passwordConnection(ctx context.Context, x *exchange) (tenant.Connection, error) {
	name := x.request.Realm
	unknown := oauth.NewError(oauth.InvalidRequest, "Unknown realm "+oauth.Quote(name), nil).WithReason("unknown_realm")
	if x.request.GrantType == oauth.GrantPassword {
		name = x.tenant.Settings.DefaultDirectory
		unknown = oauth.NewError(oauth.ServerError, "Authorization server not configured with default connection.", nil).
			WithStatus(403).WithReason("no_default_connection")
		if name == "" {
			return tenant.Connection{}, unknown
		}
	} else if name == "" {
		return tenant.Connection{}, oauth.Missing("realm")
	}
	x.event.Connection = name
	c, err := s.store.Connection(ctx, x.tenant, name)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return c, fmt.Errorf("read connection: %w", err)
	}
	if err != nil || !c.Database() {
		return c, unknown
	}
	x.event.ConnectionID, x.event.Strategy, x.event.StrategyType = c.ID, c.Strategy, "database"
	if !c.EnabledFor(x.client.ID) {
		return c, unknown.WithReason("connection_not_enabled")
	}
	return c, nil
}

// verifyPassword is the user whose password it is. Judged again after a lost
// write, a password that matched the same hash is not hashed anew.
func (s *Service) verifyPassword(ctx context.Context, x *exchange, c tenant.Connection) (tenant.User, error) {
	wrong := oauth.NewError(oauth.InvalidGrant, "Wrong email or password.", nil)
	x.event.UserName = x.request.Username
	u, encoded, err := s.store.UserForPassword(ctx, x.tenant.ID, c.Name, x.request.Username)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return u, fmt.Errorf("read user: %w", err)
	}
	known := err == nil
	if known {
		x.event.UserID = u.ID
		if encoded != "" && encoded == x.matched {
			return u, nil
		}
	} else {
		encoded = "" // costs as much as any and matches nothing
	}
	secret := x.request.Password
	if len(secret) > maxPassword {
		encoded, secret = "", "" // nobody's
	}
	match, _, err := s.passwords.Verify(ctx, encoded, secret)
	switch {
	case err != nil:
		return u, oauth.Unavailable(fmt.Errorf("verify password: %w", err))
	case !known:
		return u, wrong.WithReason(reasonUnknownUser)
	case !match:
		return u, wrong.WithReason(reasonWrongPassword)
	}
	x.matched = encoded
	return u, nil
}

// commitPassword keeps the new family; without one there is nothing to write,
// and the event joins the next commit (D13).
func (s *Service) commitPassword(ctx context.Context, x *exchange, p proof, _ access, m minted) error {
	if m.issue == nil {
		s.store.Record(x.event)
		return nil
	}
	e := x.event
	e.At, e.FamilyID, e.Reason = m.issue.Family.CreatedAt, m.issue.Family.ID, "issued"
	err := s.store.IssueRefreshToken(ctx, *m.issue, x.guard(p), e)
	if err == nil || errors.Is(err, tenant.ErrConflict) {
		return err
	}
	if s.issued(ctx, m.issue.Family) {
		return nil
	}
	return fmt.Errorf("issue refresh token: %w", err)
}
