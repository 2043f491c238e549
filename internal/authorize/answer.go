package authorize

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// answer is a request that has all it needs.
type answer struct {
	*request
	login   *login
	consent *tenant.Consent
	// tx is the transaction it ends, or nil.
	tx *tenant.Transaction
	// sso: no login of this request has been noted yet.
	sso bool
}

// frontChannelLifetime is that of opaque tokens given at /authorize (tokens.md §5).
const frontChannelLifetime = 7200 * time.Second

// answer mints what the response type names, commits once, and only then lets
// the response go.
func (s *Service) answer(ctx context.Context, a answer, b Browser, now time.Time) (Outcome, error) {
	g, code, err := s.grant(a, b, now)
	if err != nil {
		return Outcome{}, err
	}
	params, err := s.mint(ctx, a, code, now)
	if err != nil {
		return Outcome{}, err
	}
	g.At = s.clock.Now()
	g.IdleExpiresAt = g.At.Add(a.tenant.Settings.IdleSessionLifetime())
	if g.IdleExpiresAt.After(a.login.session.ExpiresAt) {
		g.IdleExpiresAt = a.login.session.ExpiresAt
	}
	if g.Code != nil {
		g.Code.CreatedAt, g.Code.ExpiresAt = g.At, g.At.Add(codeLifetime)
	}
	if err := s.store.Answer(ctx, g); err != nil {
		return Outcome{}, fmt.Errorf("write answer: %w", err)
	}
	return Outcome{Response: a.respond(params...)}, nil
}

// grant is the one write of an answer, and the value of its code.
func (s *Service) grant(a answer, b Browser, now time.Time) (tenant.Grant, string, error) {
	g := tenant.Grant{
		TenantID: a.tenant.ID,
		Guard: tenant.Guard{
			ConfigVersion: a.tenant.ConfigVersion, UserID: a.login.user.ID, UserVersion: a.login.user.Version, SessionID: a.login.session.ID,
		},
		SessionID: a.login.session.ID, ClientID: a.client.ID,
	}
	if a.tx != nil {
		g.TransactionID, g.TransactionRevision = a.tx.ID, a.tx.Revision
	}
	consentID, err := s.consentFor(a, &g.Guard, &g.Consent, now)
	if err != nil {
		return g, "", err
	}
	if a.sso {
		g.Event = s.success(a, b, now)
	}
	if !a.types.code {
		return g, "", nil
	}
	code, err := s.random()
	if err != nil {
		return g, "", err
	}
	g.Code = &tenant.Code{ // SEC-49
		TenantID: a.tenant.ID, Hash: token.Hash(code), ClientID: a.client.ID,
		RedirectURI: a.redirectURI, RedirectURISent: a.RedirectURI != "",
		CodeChallenge: a.CodeChallenge, CodeChallengeMethod: a.CodeChallengeMethod,
		Audience: a.audience, Scopes: a.scopes, RequestedScope: a.Scope, Nonce: a.Nonce,
		UserID: a.login.user.ID, SessionID: a.login.session.ID, ConsentID: consentID, Connection: a.login.session.Connection,
		AuthTime: a.login.session.AuthenticatedAt, WithAuthTime: a.withAuthTime(), AMR: a.login.session.AMR,
	}
	return g, code, nil
}

// withAuthTime: tokens.md §4.3.
func (q *request) withAuthTime() bool { return q.maxAge >= 0 || q.prompts.login }

// consentFor keeps the record of what the user allows the client: each login
// makes or widens it. A record that covers the request is not written again, but
// must still be there at the commit.
func (s *Service) consentFor(a answer, guard *tenant.Guard, written **tenant.Consent, now time.Time) (id string, err error) {
	if a.consent != nil && len(a.scopes.Without(a.consent.Scopes...)) == 0 {
		guard.ConsentID = a.consent.ID
		return a.consent.ID, nil
	}
	c := tenant.Consent{
		TenantID: a.tenant.ID, UserID: a.login.user.ID, ClientID: a.client.ID, Audience: a.audience,
		Scopes: a.scopes, CreatedAt: now, UpdatedAt: now,
	}
	if a.consent != nil {
		c.ID, c.CreatedAt = a.consent.ID, a.consent.CreatedAt
		c.Scopes = oauth.Scopes(a.consent.Scopes).Union(a.scopes)
		guard.ConsentID = a.consent.ID
	} else if c.ID, err = s.objectID(); err != nil {
		return "", err
	}
	*written = &c
	return c.ID, nil
}

func (s *Service) success(a answer, b Browser, now time.Time) tenant.Event {
	kind := audit.LoginSucceeded
	if a.prompts.none {
		kind = audit.SilentAuthSucceeded
	}
	e := aboutUser(s.event(a.tenant, kind, a.client, b, now), a.login.user)
	e.SessionID, e.Audience, e.Scope = a.login.session.ID, a.audience, a.scopes.String()
	return e
}

// mint makes the members of the response, in the order of OAuth 2.0 Multiple
// Response Types §5. A refresh token never travels here (refresh-tokens.md §2.2).
func (s *Service) mint(ctx context.Context, a answer, code string, now time.Time) ([]Param, error) {
	scopes := a.scopes.Without(tenant.OfflineAccess)
	var params []Param
	var access string
	var err error
	lifetime := frontChannelLifetime
	if a.api != nil {
		lifetime = a.api.WebTokenLifetime()
	}
	if a.types.token {
		authorization := a.login.session.ID // D5: the code, or the login
		if code != "" {
			authorization = tenant.CodeAuthorization + token.Hash(code)
		}
		access, err = s.minter.AccessToken(ctx, a.tenant, token.AccessToken{
			Client: a.client, ResourceServer: a.api, Subject: a.login.user.ID, Scopes: scopes, Authorization: authorization,
			Userinfo: scopes.Has(tenant.OpenID), IssuedAt: now, ExpiresAt: now.Add(lifetime),
		})
		if err != nil {
			return nil, fmt.Errorf("mint access token: %w", err)
		}
		params = append(params, Param{"access_token", access})
	}
	if a.types.idToken {
		id := token.IDToken{
			Client: a.client, User: a.login.user, Scopes: scopes, Nonce: a.Nonce, SessionID: a.login.session.ID,
			AMR: a.login.session.AMR, AccessToken: access, Code: code,
			IssuedAt: now, ExpiresAt: now.Add(a.client.IDTokenLifetime()),
		}
		if a.withAuthTime() {
			id.AuthTime = a.login.session.AuthenticatedAt
		}
		raw, err := s.minter.IDToken(ctx, a.tenant, id)
		if err != nil {
			return nil, fmt.Errorf("mint ID token: %w", err)
		}
		params = append(params, Param{"id_token", raw})
	}
	if code != "" {
		params = append(params, Param{"code", code})
	}
	if a.types.token {
		params = append(params, Param{"scope", scopes.String()},
			Param{"expires_in", strconv.FormatInt(int64(lifetime/time.Second), 10)}, Param{"token_type", "Bearer"})
	}
	return params, nil
}
