package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// redeemCode is RFC 6749 §4.1.3 with PKCE (RFC 7636 §4.6). Each binding of the
// code refuses by itself (SEC-49). Only two presentations change anything: a
// second one of a used code ends what the first was given (SEC-50), and a wrong
// verifier uses the code up (SEC-51).
func (s *Service) redeemCode(ctx context.Context, x *exchange) (proof, error) {
	if x.request.Code == "" {
		return proof{}, oauth.Missing("code")
	}
	c, err := s.store.Code(ctx, x.tenant.ID, token.Hash(x.request.Code))
	if errors.Is(err, tenant.ErrNotFound) {
		return proof{}, invalidCode("unknown_code")
	}
	if err != nil {
		return proof{}, fmt.Errorf("read code: %w", err)
	}
	x.event.UserID, x.event.SessionID, x.event.Connection = c.UserID, c.SessionID, c.Connection
	x.event.Audience, x.event.Scope = c.Audience, c.RequestedScope
	switch {
	case c.ClientID != x.client.ID: // a stranger cannot cancel the login (SEC-51)
		return proof{}, invalidCode("wrong_client")
	case !c.RedeemedAt.IsZero():
		return proof{}, s.codeReused(ctx, x, c)
	case !x.now.Before(c.ExpiresAt):
		return proof{}, invalidCode("code_expired")
	}
	if err := redirectMatches(c, x.request.RedirectURI); err != nil {
		return proof{}, err
	}
	if c.CodeChallenge != "" && x.request.CodeVerifier == "" {
		return proof{}, oauth.Missing("code_verifier")
	}
	if !verifierMatches(c, x.client.Public(), x.request.CodeVerifier) {
		return proof{}, s.spendCode(ctx, x, c)
	}
	u, err := s.activeUser(ctx, x, c.UserID, invalidCode(reasonUserDeleted))
	if err != nil {
		return proof{}, err
	}
	if err := s.sessionLives(ctx, x, c.SessionID); err != nil {
		return proof{}, err
	}
	if err := s.consentStands(ctx, x, c.UserID, c.Audience, c.ConsentID, invalidCode("consent_withdrawn")); err != nil {
		return proof{}, err
	}
	p := proof{
		user: u, requested: c.Scopes, audience: c.Audience, audienceUsed: c.Audience != "",
		protocol: "oidc-basic-profile", authorizedBy: codeAuthorization(c.Hash), grantType: oauth.GrantAuthorizationCode,
		fromBrowser: x.request.FromBrowser,
		sessionID:   c.SessionID, consentID: c.ConsentID, connection: c.Connection, nonce: c.Nonce,
		authTime: c.AuthTime, withAuthTime: c.WithAuthTime, amr: c.AMR, codeHash: c.Hash,
	}
	return p, s.forUser(ctx, x, &p)
}

func invalidCode(reason string) *oauth.Error {
	return oauth.NewError(oauth.InvalidGrant, "Invalid authorization code", nil).WithReason(reason)
}

// codeAuthorization is the authorization in the jti of tokens of a code that
// issued no family.
func codeAuthorization(hash string) string { return tenant.CodeAuthorization + hash }

// redirectMatches is RFC 6749 §4.1.3: what the authorization request named must
// be named again, byte for byte; what it left to the registration may be.
func redirectMatches(c tenant.Code, sent string) error {
	if sent == "" {
		if c.RedirectURISent {
			return oauth.Missing("redirect_uri")
		}
		return nil
	}
	if sent == c.RedirectURI {
		return nil
	}
	return oauth.NewError(oauth.UnauthorizedClient, "The redirect URI is wrong. You sent "+originOf(sent)+
		", and we expected "+originOf(c.RedirectURI), nil).WithReason("wrong_redirect_uri")
}

func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "null"
	}
	return oauth.Quote(u.Scheme + "://" + u.Host)
}

// verifierMatches is SEC-57: a challenge needs its verifier, and a verifier
// without a challenge is a downgrade. The method is the one bound to the code
// (SEC-58); a public client has always one (SEC-54).
func verifierMatches(c tenant.Code, public bool, verifier string) bool {
	if c.CodeChallenge == "" {
		return verifier == "" && !public
	}
	if !wellFormedVerifier(verifier) { // SEC-56: before hashing
		return false
	}
	computed := verifier
	switch c.CodeChallengeMethod {
	case "S256":
		sum := sha256.Sum256([]byte(verifier))
		computed = base64.RawURLEncoding.EncodeToString(sum[:])
	case "plain": // only where the client's opt-in let it into the code (security.md §30)
	default:
		return false
	}
	return subtle.ConstantTimeCompare([]byte(computed), []byte(c.CodeChallenge)) == 1
}

// wellFormedVerifier is RFC 7636 §4.1: 43 to 128 unreserved characters.
func wellFormedVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for i := range len(v) {
		b := v[i]
		if (b|0x20 < 'a' || b|0x20 > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' && b != '_' && b != '~' {
			return false
		}
	}
	return true
}

// spendCode uses the code up and then refuses (SEC-51).
func (s *Service) spendCode(ctx context.Context, x *exchange, c tenant.Code) error {
	refused := oauth.NewError(oauth.InvalidGrant, "Failed to verify code verifier", nil).WithReason("wrong_verifier")
	e := x.event
	e.Type, e.Reason, e.Description, e.At = audit.CodeRefused, refused.Reason, refused.Description, s.clock.Now()
	if err := s.store.SpendCode(ctx, x.tenant.ID, c.Hash, e.At, e); err != nil {
		return fmt.Errorf("spend code: %w", err)
	}
	x.reported = true
	return refused
}

// codeReused ends everything that the first presentation was given, and then
// refuses (SEC-50, RFC 6749 §4.1.2).
func (s *Service) codeReused(ctx context.Context, x *exchange, c tenant.Code) error {
	refused := invalidCode("code_reused")
	e := x.event
	e.Type, e.Reason = audit.CodeRefused, refused.Reason
	e.Description = "Authorization code presented again: what it issued is revoked"
	e.FamilyID = c.FamilyID
	if c.FamilyID != "" {
		if err := s.revokeFamily(ctx, x.tenant, tenant.RefreshToken{ID: c.FamilyID}, refused.Reason, false, e); err != nil {
			return err
		}
		x.event.FamilyID = c.FamilyID
		return refused // recorded once more: ending an ended family records nothing
	}
	hash, err := s.ring.AuthorizationHash(ctx, x.tenant, codeAuthorization(c.Hash))
	if err != nil {
		return fmt.Errorf("name the authorization of a code: %w", err)
	}
	e.At = s.clock.Now()
	if err := s.store.DenyAuthorization(ctx, x.tenant.ID, hash, e.At.Add(token.MaxLifetime), e); err != nil {
		return fmt.Errorf("deny authorization: %w", err)
	}
	x.reported = true
	return refused
}

// sessionLives: the login that a code comes from must not have been ended in
// between (SEC-1, SEC-52).
func (s *Service) sessionLives(ctx context.Context, x *exchange, id string) error {
	if id == "" {
		return nil
	}
	session, err := s.store.Session(ctx, x.tenant.ID, id)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return fmt.Errorf("read session: %w", err)
	}
	if err != nil || session.Expired(x.now) {
		return invalidCode("session_ended")
	}
	return nil
}

// commitCode uses the code up and keeps the new family, in one write. An unknown
// outcome is settled by the family, whose id nobody else could have drawn.
func (s *Service) commitCode(ctx context.Context, x *exchange, p proof, _ access, m minted) error {
	r := tenant.Redemption{
		TenantID: x.tenant.ID, CodeHash: p.codeHash, At: s.clock.Now(),
		Guard: x.guard(p), Issue: m.issue, Event: x.event,
	}
	r.Guard.SessionID = p.sessionID
	r.Event.At = r.At
	if m.issue != nil {
		r.Event.FamilyID, r.Event.Reason = m.issue.Family.ID, "issued"
	}
	err := s.store.RedeemCode(ctx, r)
	if err == nil || errors.Is(err, tenant.ErrConflict) {
		return err
	}
	if m.issue != nil && s.issued(ctx, m.issue.Family) {
		return nil
	}
	return fmt.Errorf("redeem code: %w", err)
}

// issued tells whether a write of unknown outcome kept the family.
func (s *Service) issued(ctx context.Context, f tenant.RefreshToken) bool {
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	found, err := s.store.RefreshToken(settle, f.TenantID, f.ID)
	return err == nil && found.Attempt == f.Attempt
}
