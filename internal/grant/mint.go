package grant

import (
	"context"
	"fmt"
	"slices"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// minted is what has been made for the answer, in memory only: not a byte of it
// leaves before the commit (SEC-86).
type minted struct {
	response oauth.TokenResponse
	// issue is the new family, or nil.
	issue *tenant.Issue
	// keyVersion is that of a successor's MAC.
	keyVersion uint16
}

// mint makes the tokens. It comes before the write because it can fail.
func (s *Service) mint(ctx context.Context, x *exchange, p proof, a access) (minted, error) {
	m := minted{response: oauth.TokenResponse{
		Scope: a.scopes.String(), ExpiresIn: int64(a.lifetime.Seconds()), TokenType: "Bearer",
	}}
	authorization := p.authorizedBy
	var err error
	if a.issueFamily {
		if m.response.RefreshToken, m.issue, err = s.newFamily(ctx, x, p, a); err != nil {
			return minted{}, err
		}
		authorization = string(m.issue.Family.ID)
	}
	if p.family != nil {
		if m.response.RefreshToken, m.keyVersion, err = s.successor(ctx, x, p); err != nil {
			return minted{}, err
		}
	}
	issuedAt := x.now
	m.response.AccessToken, err = s.minter.AccessToken(ctx, x.tenant, token.AccessToken{
		Client: x.client, ResourceServer: p.api, Subject: subject(x.client, p), Scopes: a.scopes,
		Authorization: authorization, GrantType: p.gty, Permissions: a.permissions,
		Userinfo: !p.machine && a.scopes.Has(tenant.OpenID),
		IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(a.lifetime),
	})
	if err != nil {
		return minted{}, fmt.Errorf("mint access token: %w", err)
	}
	if p.machine || !a.scopes.Has(tenant.OpenID) {
		return m, nil
	}
	id := token.IDToken{
		Client: x.client, User: p.user, Scopes: a.scopes, Nonce: p.nonce, SessionID: p.sessionID, AMR: p.amr,
		IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(x.client.IDTokenLifetime()),
	}
	if p.withAuthTime {
		id.AuthTime = p.authTime // of the login; a refresh proves none (SEC-125)
	}
	if m.response.IDToken, err = s.minter.IDToken(ctx, x.tenant, id); err != nil {
		return minted{}, fmt.Errorf("mint ID token: %w", err)
	}
	return m, nil
}

func subject(c tenant.Client, p proof) string {
	if p.machine {
		return token.MachineSubject(c.ID) // which no user's can equal (SEC-17)
	}
	return p.user.ID
}

// successor is the value in the answer to a refresh, or empty when the client
// keeps the one it has. It is derived from the one presented: the same value
// each time it is derived (SEC-116).
func (s *Service) successor(ctx context.Context, x *exchange, p proof) (value string, keyVersion uint16, err error) {
	generation := p.family.Generation
	switch p.verdict {
	case keep:
		return "", p.family.KeyVersion, nil
	case replay:
		keyVersion = p.family.KeyVersion
	default:
		generation++
		if keyVersion, err = s.refresh.Current(ctx, x.tenant); err != nil {
			return "", 0, fmt.Errorf("find refresh token key: %w", err)
		}
	}
	value, err = s.refresh.Value(ctx, x.tenant, p.presented, generation, keyVersion)
	if err != nil {
		return "", 0, fmt.Errorf("derive refresh token: %w", err)
	}
	return value, keyVersion, nil
}

// newFamily is a family of the authorization, and its first value.
func (s *Service) newFamily(ctx context.Context, x *exchange, p proof, a access) (string, *tenant.Issue, error) {
	value, id, keyVersion, err := s.refresh.New(ctx, x.tenant, s.rand)
	if err != nil {
		return "", nil, fmt.Errorf("make refresh token: %w", err)
	}
	hash, err := s.familyHash(ctx, x.tenant)
	if err != nil {
		return "", nil, err
	}
	at, policy := s.clock.Now(), x.client.Refresh
	f := tenant.RefreshToken{
		TenantID: x.tenant.ID, ID: id, ClientID: x.client.ID, UserID: p.user.ID,
		SessionID: p.sessionID, ConsentID: p.consentID, Audience: p.audience, Scopes: slices.Clone(a.scopes),
		Rotating: policy.Rotating(), KeyVersion: keyVersion, Attempt: x.attempt,
		CreatedAt: at, AuthTime: p.authTime, WithAuthTime: p.withAuthTime, AMR: p.amr,
		Connection: p.connection, GrantType: p.grantType,
		Device: tenant.Device{
			Name: x.request.Device, InitialIP: x.origin.IP, InitialUserAgent: x.origin.UserAgent,
			LastIP: x.origin.IP, LastUserAgent: x.origin.UserAgent,
		},
	}
	f.IdleExpiresAt, f.ExpiresAt = deadlines(f, policy, at)
	evicted := x.event
	evicted.Type, evicted.Reason = audit.ResourceCleanup, "evicted"
	evicted.Description = "Refresh tokens removed because the limit of one user and client was exceeded"
	evicted.At = at
	return value, &tenant.Issue{
		Family: f, Limit: x.tenant.Settings.FamilyLimit(),
		Evicted: evicted, FamilyHash: hash, DeniedUntil: at.Add(token.MaxLifetime),
	}, nil
}

// familyHash is the keyed hash of families in the jti of their tokens (D5).
// The first call shows that the key can be had; a fault after that would leave
// tokens of an evicted family alive until they expire, and is logged.
func (s *Service) familyHash(ctx context.Context, t tenant.Tenant) (func(tenant.FamilyID) string, error) {
	if _, err := s.ring.AuthorizationHash(ctx, t, "probe"); err != nil {
		return nil, fmt.Errorf("find authorization key: %w", err)
	}
	return func(id tenant.FamilyID) string {
		hash, err := s.ring.AuthorizationHash(context.WithoutCancel(ctx), t, string(id))
		if err != nil {
			s.log.Error("name the authorization of a family", "family", string(id), "error", err)
		}
		return hash
	}, nil
}
