package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Revoke is RFC 7009 as refresh-tokens.md §9.1 rules it. nil means done, and
// durably so (SEC-127); what is unknown, ended already or another client's is
// nil too and changes nothing (SEC-126). Any genuine value of a family ends it,
// an older one as well (D4, SEC-128). The type hint is only a hint; tokens other
// than refresh tokens are left alone.
func (s *Service) Revoke(ctx context.Context, t tenant.Tenant, req oauth.RevocationRequest, origin tenant.Origin) error {
	x := &exchange{tenant: t, origin: origin, now: s.clock.Now()}
	x.event = s.tokenEvent(t, oauth.TokenRequest{Client: req.Client}, origin, x.now)
	x.request = oauth.TokenRequest{GrantType: oauth.GrantRefreshToken, Client: req.Client}
	err := s.revoke(ctx, x, req)
	if err != nil {
		s.refused(x, err)
	}
	return err
}

func (s *Service) revoke(ctx context.Context, x *exchange, req oauth.RevocationRequest) error {
	if err := s.authenticate(ctx, x); err != nil {
		return asInvalidClient(err)
	}
	if req.Token == "" {
		return oauth.Missing("token")
	}
	p, err := s.refresh.Parse(ctx, x.tenant, req.Token)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read refresh token value: %w", err)
	}
	f, err := s.store.RefreshToken(ctx, x.tenant.ID, p.ID)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read refresh token: %w", err)
	}
	e := x.event
	e.FamilyID, e.Generation, e.UserID, e.SessionID, e.Audience = f.ID, p.Generation, f.UserID, f.SessionID, f.Audience
	e.Details = familyDetails(f, p.Generation)
	if f.ClientID != x.client.ID {
		e.Type, e.Reason = audit.RefreshRefused, "wrong_client"
		e.Description = "A client tried to revoke the refresh token of another client"
		s.store.Record(e)
		return nil
	}
	if !f.RevokedAt.IsZero() {
		return nil
	}
	e.Type, e.Reason = audit.RefreshRevoked, "revoked_by_client"
	return s.revokeFamily(ctx, x.tenant, f, e.Reason, x.tenant.Settings.Flags.RevokeRefreshTokenGrant, e)
}

// asInvalidClient is how the revocation endpoint says that the client did not
// prove who it is (RFC 7009 §2.2.1).
func asInvalidClient(err error) error {
	var e *oauth.Error
	if errors.As(err, &e) && e.Status == 401 {
		return oauth.NewError(oauth.InvalidClient, "Client authentication failed.", e.Err).WithReason(e.Reason)
	}
	return err
}
