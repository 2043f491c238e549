package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// noAPI tells whether an audience names none of the tenant's APIs but the tenant
// itself: such a token is opaque and good for userinfo alone (tokens.md §2).
func noAPI(t tenant.Tenant, audience string) bool {
	return audience == "" || audience == t.UserinfoAudience() || audience == t.Issuer() || audience+"/" == t.Issuer()
}

// forUser reads the API that a user's token is for, and the grant that says
// which of its scopes users of the client may have.
func (s *Service) forUser(ctx context.Context, x *exchange, p *proof) error {
	x.event.Audience = p.audience
	if noAPI(x.tenant, p.audience) {
		return nil
	}
	api, err := s.resourceServer(ctx, x.tenant, p.audience)
	if err != nil {
		return err
	}
	p.api = &api
	if api.UserPolicy() != "require_client_grant" {
		return nil
	}
	p.clientGrant, err = s.clientGrant(ctx, x.tenant, x.client.ID, p.audience, "user")
	return err
}

func (s *Service) resourceServer(ctx context.Context, t tenant.Tenant, audience string) (tenant.ResourceServer, error) {
	api, err := s.store.ResourceServer(ctx, t, audience)
	if errors.Is(err, tenant.ErrNotFound) {
		return api, unknownAudience(audience)
	}
	if err != nil {
		return api, fmt.Errorf("read resource server: %w", err)
	}
	return api, nil
}

// clientGrant is nil when there is none.
func (s *Service) clientGrant(ctx context.Context, t tenant.Tenant, clientID, audience, subjectType string) (*tenant.ClientGrant, error) {
	g, err := s.store.ClientGrant(ctx, t, clientID, audience, subjectType)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read client grant: %w", err)
	}
	return &g, nil
}

// activeUser reads a user who must exist and not be blocked (SEC-1, SEC-52).
func (s *Service) activeUser(ctx context.Context, x *exchange, id string, gone *oauth.Error) (tenant.User, error) {
	x.event.UserID = id
	u, err := s.store.User(ctx, x.tenant.ID, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return u, gone
	}
	if err != nil {
		return u, fmt.Errorf("read user: %w", err)
	}
	return u, s.notBlocked(x, u)
}

func (s *Service) notBlocked(x *exchange, u tenant.User) error {
	x.event.UserID, x.event.UserName = u.ID, userName(u)
	if u.Blocked {
		return oauth.NewError(oauth.Unauthorized, "user is blocked", nil).WithReason("user_blocked")
	}
	return nil
}

// userName is what the log calls a user.
func userName(u tenant.User) string {
	for _, name := range []string{u.Email, u.Username, u.Name} {
		if name != "" {
			return name
		}
	}
	return ""
}

// consentStands refuses when the consent that a grant was issued under is gone:
// withdrawn, or withdrawn and given anew (SEC-1).
func (s *Service) consentStands(ctx context.Context, x *exchange, userID, audience, consentID string, gone *oauth.Error) error {
	if consentID == "" {
		return nil
	}
	c, err := s.store.Consent(ctx, x.tenant.ID, userID, x.client.ID, audience)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return fmt.Errorf("read consent: %w", err)
	}
	if err != nil || c.ID != consentID {
		return gone
	}
	return nil
}
