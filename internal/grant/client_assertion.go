package grant

import (
	"context"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func (s *Service) clientByAssertion(ctx context.Context, t tenant.Tenant, a oauth.ClientAuthentication, x *exchange) (tenant.Client, error) {
	return tenant.Client{}, badAssertion("not_supported", nil)
}
