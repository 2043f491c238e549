package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulla-auth/bulla/internal/assertion"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// clientByAssertion is private_key_jwt (RFC 7523 §2.2). The keys are those
// registered for the client the assertion names; nothing it says counts before
// its signature does (SEC-6). Its id is used up at once (SEC-11), and once only
// when the request is judged again.
func (s *Service) clientByAssertion(ctx context.Context, t tenant.Tenant, a oauth.ClientAuthentication, x *exchange) (tenant.Client, error) {
	if a.AssertionType != oauth.AssertionTypeJWTBearer {
		return tenant.Client{}, badAssertion("assertion_type", nil)
	}
	id, err := assertion.UnverifiedClientID(a.Assertion)
	if err != nil || a.ClientID != "" && a.ClientID != id {
		return tenant.Client{}, badAssertion("assertion_refused", err)
	}
	c, err := s.store.Client(ctx, t, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Client{}, badAssertion("unknown_client", nil)
	}
	if err != nil {
		return tenant.Client{}, fmt.Errorf("read client: %w", err)
	}
	if !c.ByKey() {
		return tenant.Client{}, badAssertion("wrong_auth_method", nil)
	}
	proof, err := assertion.VerifyClient(a.Assertion, assertion.Expected{
		ClientID: c.ID, Issuer: t.Issuer(), Credentials: credentials(c), Now: x.now,
	})
	if err != nil {
		return tenant.Client{}, badAssertion("assertion_refused", err)
	}
	if x.assertion == proof.Hash {
		return c, nil
	}
	err = s.store.UseAssertion(ctx, t.ID, c.ID, proof.Hash, proof.ExpiresAt)
	if errors.Is(err, tenant.ErrExists) {
		return tenant.Client{}, badAssertion("assertion_reused", nil)
	}
	if err != nil {
		return tenant.Client{}, fmt.Errorf("use assertion up: %w", err)
	}
	x.assertion = proof.Hash
	return c, nil
}

// credentials are the client's keys that its authentication names.
func credentials(c tenant.Client) []assertion.Credential {
	var out []assertion.Credential
	for _, named := range c.AuthByKey.PrivateKeyJWT.Credentials {
		for _, k := range c.Keys {
			if k.ID == named.ID {
				out = append(out, assertion.Credential{Kid: k.Kid, Alg: k.Alg, PEM: k.PEM, ExpiresAt: k.ExpiresAt})
			}
		}
	}
	return out
}
