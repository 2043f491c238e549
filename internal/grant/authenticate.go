package grant

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// authenticate finds out who asks (RFC 6749 §2.3) and sets x.client. In a second
// judging everything is read anew; only an assertion is not used up twice.
func (s *Service) authenticate(ctx context.Context, x *exchange) error {
	c, err := s.client(ctx, x.tenant, x.request.Client, x)
	if err != nil {
		return err
	}
	x.client = c
	x.event.ClientID, x.event.ClientName = c.ID, c.Name
	return nil
}

// client is the client that the credentials prove. Unknown client, wrong method
// and wrong secret have one answer and cost the same work (SEC-14); a method
// that is not the client's own is refused however right the secret (SEC-4).
func (s *Service) client(ctx context.Context, t tenant.Tenant, a oauth.ClientAuthentication, x *exchange) (tenant.Client, error) {
	if a.Method == oauth.AuthPrivateKeyJWT {
		return s.clientByAssertion(ctx, t, a, x)
	}
	if a.ClientID == "" {
		return tenant.Client{}, oauth.Missing("client_id")
	}
	c, err := s.store.Client(ctx, t, a.ClientID)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return tenant.Client{}, fmt.Errorf("read client: %w", err)
	}
	known := err == nil
	if len(c.Secrets) == 0 {
		c.Secrets = []tenant.ClientSecret{{}} // matched by nothing, for the same work (SEC-8)
	}
	match, err := s.secrets.MatchClientSecret(ctx, t, c, a.Secret, x.now)
	if err == nil && !match && a.RawSecret != "" {
		match, err = s.secrets.MatchClientSecret(ctx, t, c, a.RawSecret, x.now)
	}
	if err != nil {
		return tenant.Client{}, fmt.Errorf("compare client secret: %w", err)
	}
	switch {
	case !known:
		return tenant.Client{}, unauthorized("unknown_client")
	case !methodAllowed(c, a.Method):
		return tenant.Client{}, unauthorized("wrong_auth_method")
	case a.Method != oauth.AuthNone && !match:
		return tenant.Client{}, unauthorized("wrong_secret")
	}
	return c, nil
}

// methodAllowed tells whether the client may authenticate so. Only a client
// whose method is unset may send its secret either way (authentication-api.md
// §4.1); by key is never interchangeable with anything (security.md §30).
func methodAllowed(c tenant.Client, method string) bool {
	switch {
	case c.ByKey():
		return method == oauth.AuthPrivateKeyJWT
	case c.AuthMethod == "":
		return method == oauth.AuthSecretPost || method == oauth.AuthSecretBasic
	}
	return method == c.AuthMethod
}

// unauthorized is the vendor's answer to whoever is not the client they name.
func unauthorized(reason string) *oauth.Error {
	return oauth.NewError(oauth.AccessDenied, "Unauthorized", nil).WithStatus(401).WithReason(reason)
}

// badAssertion is the one answer to every assertion that proves nothing.
func badAssertion(reason string, err error) *oauth.Error {
	return oauth.NewError(oauth.InvalidClient, "Failed to verify client assertion.", err).WithReason(reason)
}
