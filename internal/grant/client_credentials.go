package grant

import (
	"context"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// redeemClientCredentials is RFC 6749 §4.4: the client's authentication is all
// there is to prove, and the client is the subject, whatever the request says
// (SEC-65).
func (s *Service) redeemClientCredentials(ctx context.Context, x *exchange) (proof, error) {
	audience := x.request.Audience
	if audience == "" {
		audience = x.tenant.Settings.DefaultAudience
	}
	if audience == "" {
		return proof{}, oauth.NewError(oauth.AccessDenied,
			"No audience parameter was provided, and no default audience has been configured", nil).WithReason("no_audience")
	}
	x.event.Audience = audience
	api, err := s.resourceServer(ctx, x.tenant, audience)
	if err != nil {
		return proof{}, err
	}
	g, err := s.clientGrant(ctx, x.tenant, x.client.ID, audience, "client")
	if err != nil {
		return proof{}, err
	}
	requested := oauth.ParseScopes(x.request.Scope)
	return proof{
		machine: true, requested: requested, asked: len(requested) > 0,
		audience: audience, api: &api, clientGrant: g,
		authorizedBy: machineAuthorization(x.client.ID, audience, g),
		grantType:    oauth.GrantClientCredentials,
		gty:          []string{"client-credentials"},
	}, nil
}

// commitClientCredentials writes nothing: no row is kept of a machine's token,
// and its event joins the next commit (D5, D13).
func (s *Service) commitClientCredentials(_ context.Context, x *exchange, _ proof, _ access, _ minted) error {
	s.store.Record(x.event)
	return nil
}

// guard is what a write for a user depends on beyond its own row.
func (x *exchange) guard(p proof) tenant.Guard {
	return tenant.Guard{
		ConfigVersion: x.tenant.ConfigVersion,
		UserID:        p.user.ID,
		UserVersion:   p.user.Version,
		ConsentID:     p.consentID,
	}
}
