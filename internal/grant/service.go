package grant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Minter makes signed and sealed tokens; *token.Minter is one.
type Minter interface {
	AccessToken(ctx context.Context, t tenant.Tenant, a token.AccessToken) (string, error)
	IDToken(ctx context.Context, t tenant.Tenant, i token.IDToken) (string, error)
}

// Ring checks our own access tokens and names authorizations; *token.Ring is one.
type Ring interface {
	// Authenticate answers an error that wraps one of tenant.ErrToken… for a
	// token that is not good, and any other for a fault.
	Authenticate(ctx context.Context, t tenant.Tenant, raw string, now time.Time) (tenant.Claims, error)
	// AuthorizationHash is the keyed hash of an authorization in the jti of its
	// tokens (D5).
	AuthorizationHash(ctx context.Context, t tenant.Tenant, authorization string) (string, error)
}

// Refresh makes and reads refresh-token values (D4); *token.Refresh is one.
type Refresh interface {
	New(ctx context.Context, t tenant.Tenant, rand io.Reader) (value string, id tenant.FamilyID, keyVersion uint16, err error)
	// Parse answers tenant.ErrNotFound for anything that is not genuine.
	Parse(ctx context.Context, t tenant.Tenant, raw string) (token.Presented, error)
	// Value derives a generation of the family of a presented value.
	Value(ctx context.Context, t tenant.Tenant, p token.Presented, generation uint32, keyVersion uint16) (string, error)
	// Current is the key version of values made now.
	Current(ctx context.Context, t tenant.Tenant) (uint16, error)
}

// Secrets compares client secrets as keyed hashes in constant time (SEC-7).
type Secrets interface {
	// MatchClientSecret tells whether secret is one of the client's at now.
	MatchClientSecret(ctx context.Context, t tenant.Tenant, c tenant.Client, secret string, now time.Time) (bool, error)
}

// Passwords verifies passwords of users. An encoded hash of "" costs as much as
// any and matches nothing.
type Passwords interface {
	Verify(ctx context.Context, encoded, password string) (match, rehash bool, err error)
}

// Rules runs what the tenant adds to a login (rules-and-actions.md). It is asked
// once a request, before anything is minted, and may take seconds.
type Rules interface {
	Run(ctx context.Context, c tenant.RuleContext) (tenant.RuleResult, error)
}

// Options are the parts a Service is made of. All are required but Rules.
type Options struct {
	Store     Store
	Minter    Minter
	Ring      Ring
	Refresh   Refresh
	Secrets   Secrets
	Passwords Passwords
	// Rules is nil where the tenants have none.
	Rules  Rules
	Clock  clock.Clock
	Rand   io.Reader
	Logger *slog.Logger
}

// Service answers the back channel. It is safe for concurrent use and keeps no
// state of its own.
type Service struct {
	store     Store
	minter    Minter
	ring      Ring
	refresh   Refresh
	secrets   Secrets
	passwords Passwords
	rules     Rules
	clock     clock.Clock
	rand      io.Reader
	log       *slog.Logger
}

// New is a Service of these parts.
func New(o Options) *Service {
	return &Service{
		store: o.Store, minter: o.Minter, ring: o.Ring, refresh: o.Refresh, secrets: o.Secrets,
		passwords: o.Passwords, rules: o.Rules, clock: o.Clock, rand: o.Rand, log: o.Logger,
	}
}

// exchange is one request to the token endpoint on its way.
type exchange struct {
	tenant  tenant.Tenant
	request oauth.TokenRequest
	origin  tenant.Origin
	client  tenant.Client
	// now is when the request arrived: the instant at which everything in it is
	// judged, and the iat of its tokens, so that whatever ends a right later is
	// later than the token too (D5, D10).
	now time.Time
	// attempt is the hash of this request's nonce: it names our write, should
	// its outcome become unknown (D4). The nonce is the client's where it sent one
	// with a refresh token, and else one of ours.
	attempt string
	// event is what is known for the event so far.
	event tenant.Event
	// reported is set when the refusal has its event already.
	reported bool

	// What holds when a lost write makes the request be judged again: the
	// assertion that this request used up, the password hash that it matched,
	// and the answer of the rules.
	assertion string
	matched   string
	ruled     *tenant.RuleResult
}

// maxRejudgings is how often a request that lost its write is judged again
// before it gives up for now (style.md, "The path of a request").
const maxRejudgings = 3

// Exchange answers a request to the token endpoint (RFC 6749 §3.2): who asks,
// what the grant proves, what may be had for it, what the rules say, the tokens,
// and the one write. Errors are *oauth.Error, or faults (503).
func (s *Service) Exchange(ctx context.Context, t tenant.Tenant, req oauth.TokenRequest, origin tenant.Origin) (oauth.TokenResponse, error) {
	x := &exchange{tenant: t, request: req, origin: origin, now: s.clock.Now()}
	x.event = s.tokenEvent(x.tenant, x.request, x.origin, x.now)
	resp, err := s.exchange(ctx, x)
	if err != nil {
		s.refused(x, err)
		return oauth.TokenResponse{}, err
	}
	return resp, nil
}

// repeatable is the hash of the nonce by which the client can repeat this
// rotation, or empty. Only a refresh token can be rotated.
func (x *exchange) repeatable() string {
	if x.request.GrantType != oauth.GrantRefreshToken || x.request.Attempt == "" {
		return ""
	}
	return token.Hash(x.request.Attempt)
}

func (s *Service) exchange(ctx context.Context, x *exchange) (oauth.TokenResponse, error) {
	kind, err := s.grantKind(x.request.GrantType)
	if err != nil {
		return oauth.TokenResponse{}, err
	}
	if x.attempt = x.repeatable(); x.attempt == "" {
		nonce, err := token.Random(s.rand)
		if err != nil {
			return oauth.TokenResponse{}, fmt.Errorf("draw attempt: %w", err)
		}
		x.attempt = token.Hash(nonce)
	}
	for lost := 0; ; lost++ {
		resp, err := s.try(ctx, x, kind)
		if !errors.Is(err, tenant.ErrConflict) {
			return resp, err
		}
		if lost == maxRejudgings {
			return oauth.TokenResponse{}, fmt.Errorf("judged %d times and lost each write", lost+1)
		}
		if x.tenant, err = s.store.Tenant(ctx, x.tenant.ID); err != nil {
			return oauth.TokenResponse{}, fmt.Errorf("read tenant again: %w", err)
		}
	}
}

// try walks the path once. tenant.ErrConflict means that something it depends on
// changed before its write: what it minted is dropped.
func (s *Service) try(ctx context.Context, x *exchange, kind grantKind) (oauth.TokenResponse, error) {
	if err := s.authenticate(ctx, x); err != nil {
		return oauth.TokenResponse{}, err
	}
	if err := mayUse(x.client, x.request.GrantType); err != nil {
		return oauth.TokenResponse{}, err
	}
	p, err := kind.redeem(ctx, x)
	if err != nil {
		return oauth.TokenResponse{}, err
	}
	a, err := decide(x.client, p)
	if err != nil {
		return oauth.TokenResponse{}, err
	}
	if err := s.runRules(ctx, x, p, a); err != nil {
		return oauth.TokenResponse{}, err
	}
	m, err := s.mint(ctx, x, p, a)
	if err != nil {
		return oauth.TokenResponse{}, err
	}
	x.event.Type, x.event.Scope = kind.granted, a.scopes.String()
	if err := kind.commit(ctx, x, p, a, m); err != nil {
		return oauth.TokenResponse{}, err
	}
	return m.response, nil
}

// grantKind is what differs between the grant types.
type grantKind struct {
	// redeem reads what the grant proves and refuses what proves nothing.
	redeem func(context.Context, *exchange) (proof, error)
	// commit is the one write: it spends the grant and keeps what was issued.
	commit func(context.Context, *exchange, proof, access, minted) error
	// granted is the event's code.
	granted string
}

func (s *Service) grantKind(grantType string) (grantKind, error) {
	switch grantType {
	case oauth.GrantAuthorizationCode:
		return grantKind{s.redeemCode, s.commitCode, audit.CodeExchanged}, nil
	case oauth.GrantClientCredentials:
		return grantKind{s.redeemClientCredentials, s.commitClientCredentials, audit.ClientCredentialsExchanged}, nil
	case oauth.GrantRefreshToken:
		return grantKind{s.redeemRefreshToken, s.commitRefreshToken, audit.RefreshExchanged}, nil
	case oauth.GrantDeviceCode:
		return grantKind{s.redeemDeviceCode, s.commitDeviceCode, audit.DeviceExchanged}, nil
	case oauth.GrantPassword, oauth.GrantPasswordRealm:
		return grantKind{s.redeemPassword, s.commitPassword, audit.PasswordExchanged}, nil
	}
	return grantKind{}, oauth.NewError(oauth.UnsupportedGrantType, "Unsupported grant type: "+oauth.Quote(grantType), nil)
}

// mayUse refuses a grant type the client is not registered for (SEC-63).
func mayUse(c tenant.Client, grantType string) error {
	allowed := c.AllowsGrant(grantType)
	switch grantType {
	case oauth.GrantPassword, oauth.GrantPasswordRealm:
		allowed = allowed && c.FirstParty
	case oauth.GrantClientCredentials:
		allowed = allowed && !c.Public()
	}
	if allowed {
		return nil
	}
	return oauth.NewError(oauth.UnauthorizedClient,
		"Grant type '"+oauth.Quote(grantType)+"' not allowed for the client.", nil).WithReason("grant_not_allowed")
}

// runRules asks the rules once: their answer holds when the request is judged
// again. A client's own token has no login that they could judge.
func (s *Service) runRules(ctx context.Context, x *exchange, p proof, a access) error {
	if s.rules == nil || p.machine {
		return nil
	}
	if x.ruled == nil {
		result, err := s.rules.Run(ctx, tenant.RuleContext{
			TenantID: x.tenant.ID, Protocol: p.protocol, Client: x.client, User: p.user,
			Audience: p.audience, Scopes: a.scopes, SessionID: p.sessionID, Origin: x.origin,
		})
		if err != nil {
			return fmt.Errorf("run rules: %w", err)
		}
		x.ruled = &result
	}
	if x.ruled.Denied {
		return oauth.NewError(oauth.Unauthorized, oauth.Quote(x.ruled.Message), nil).WithReason("rule_denied")
	}
	return nil
}
