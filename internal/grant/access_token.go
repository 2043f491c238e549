package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Authenticate is the claims of one of our own access tokens that is good now:
// genuine, unexpired, not denied, not from before a mark, and of a user, client
// and client grant that still stand (D5, SEC-129). Nothing of the decision comes
// from a copy that could be stale, and nothing is written.
//
// Errors that wrap one of tenant.ErrToken… are about the token; any other is a
// fault (503).
func (s *Service) Authenticate(ctx context.Context, t tenant.Tenant, raw string) (tenant.Claims, error) {
	c, _, err := s.authenticateToken(ctx, t, raw)
	return c, err
}

// authenticateToken answers the user too; a machine's token has none.
func (s *Service) authenticateToken(ctx context.Context, t tenant.Tenant, raw string) (tenant.Claims, tenant.User, error) {
	now := s.clock.Now()
	c, err := s.ring.Authenticate(ctx, t, raw, now)
	if err != nil {
		return c, tenant.User{}, err
	}
	denied, err := s.store.Denied(ctx, t.ID, c.Authorization, now)
	if err != nil {
		return c, tenant.User{}, fmt.Errorf("read denylist: %w", err)
	}
	mark, err := s.store.Mark(ctx, t.ID, markSubjects(t, c))
	if err != nil {
		return c, tenant.User{}, fmt.Errorf("read marks: %w", err)
	}
	if denied || c.IssuedAt.Before(mark) {
		return c, tenant.User{}, inactive("revoked")
	}
	if _, err := s.store.Client(ctx, t, c.ClientID); err != nil {
		return c, tenant.User{}, inactiveIfGone("client", err)
	}
	if c.Machine() {
		return c, tenant.User{}, s.machineStands(ctx, t, c)
	}
	u, err := s.store.User(ctx, t.ID, c.Subject)
	if err != nil {
		return c, u, inactiveIfGone("user", err)
	}
	if u.Blocked {
		return c, u, inactive("user is blocked")
	}
	return c, u, nil
}

// machineStands: the client grant that a machine's token comes from is still
// there, at the epoch the token was made under (D5).
func (s *Service) machineStands(ctx context.Context, t tenant.Tenant, c tenant.Claims) error {
	if c.Subject != token.MachineSubject(c.ClientID) || len(c.Audience) != 1 {
		return inactive("not a token of this client")
	}
	api, err := s.store.ResourceServer(ctx, t, c.Audience[0])
	if err != nil {
		return inactiveIfGone("resource server", err)
	}
	g, err := s.clientGrant(ctx, t, c.ClientID, c.Audience[0], "client")
	if err != nil {
		return err
	}
	if api.ClientPolicy() == "deny_all" || g == nil && api.ClientPolicy() != "allow_all" {
		return inactive("client grant is gone")
	}
	hash, err := s.ring.AuthorizationHash(ctx, t, machineAuthorization(c.ClientID, c.Audience[0], g))
	if err != nil {
		return fmt.Errorf("name the authorization of a client grant: %w", err)
	}
	if hash != c.Authorization {
		return inactive("client grant was revoked")
	}
	return nil
}

// markSubjects is everything a mark that ends the token could be on (SEC-133).
func markSubjects(t tenant.Tenant, c tenant.Claims) []tenant.MarkSubject {
	subjects := []tenant.MarkSubject{{Kind: "tenant", ID: t.ID}, {Kind: "client", ID: c.ClientID}}
	if !c.Machine() {
		subjects = append(subjects, tenant.MarkSubject{Kind: "user", ID: c.Subject},
			tenant.MarkSubject{Kind: tenant.ConsentMark, ID: tenant.ConsentMarkID(c.Subject, c.ClientID, consentAudience(t, c.Audience))})
	}
	for _, a := range c.Audience {
		subjects = append(subjects, tenant.MarkSubject{Kind: "audience", ID: a})
	}
	return subjects
}

// consentAudience is the audience of the consent that a user's token came of: its
// API, or none where it is for userinfo alone.
func consentAudience(t tenant.Tenant, audiences []string) string {
	for _, a := range audiences {
		if a != t.UserinfoAudience() {
			return a
		}
	}
	return ""
}

func inactive(why string) error { return fmt.Errorf("%s: %w", why, tenant.ErrTokenInactive) }

func inactiveIfGone(what string, err error) error {
	if errors.Is(err, tenant.ErrNotFound) {
		return inactive(what + " is gone")
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// Userinfo is an answer of the userinfo endpoint.
type Userinfo struct {
	// ClientID is the client the token was issued to.
	ClientID string
	Claims   token.Profile
}

// Userinfo is the claims about the user of an access token, by its scopes and
// with the values of now (OIDC Core §5.3, tokens.md §7.3).
func (s *Service) Userinfo(ctx context.Context, t tenant.Tenant, raw string) (Userinfo, error) {
	c, u, err := s.authenticateToken(ctx, t, raw)
	if err != nil {
		return Userinfo{}, userinfoError(err)
	}
	if c.Machine() || !slices.Contains(c.Audience, t.UserinfoAudience()) {
		return Userinfo{}, userinfoError(tenant.ErrTokenInvalid)
	}
	if !slices.Contains(c.Scopes, tenant.OpenID) {
		return Userinfo{}, oauth.NewError(oauth.InsufficientScope, "The access token lacks the scope openid.", nil)
	}
	return Userinfo{ClientID: c.ClientID, Claims: token.UserinfoClaims(u, c.Scopes)}, nil
}

// userinfoError is one answer to every token that is not good, so that it tells
// nobody whether it was (RFC 6750 §3.1).
func userinfoError(err error) error {
	if bad := badToken(err); bad != nil {
		return oauth.NewError(oauth.InvalidToken, "Unauthorized", err).WithReason(strings.ReplaceAll(bad.Error(), " ", "_"))
	}
	return err
}

// badToken is what err says about the token; nil when it is a fault of ours.
func badToken(err error) error {
	for _, bad := range []error{
		tenant.ErrTokenMalformed, tenant.ErrTokenSignature, tenant.ErrTokenExpired,
		tenant.ErrTokenInactive, tenant.ErrTokenInvalid,
	} {
		if errors.Is(err, bad) {
			return bad
		}
	}
	return nil
}
