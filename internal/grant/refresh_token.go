package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// redeemRefreshToken is RFC 6749 §6, in the order of refresh-tokens.md §8: a
// genuine value, of this client, judged; then the user, the consent and the
// audience as they are now (SEC-125).
func (s *Service) redeemRefreshToken(ctx context.Context, x *exchange) (proof, error) {
	if x.request.RefreshToken == "" {
		return proof{}, oauth.Missing("refresh_token")
	}
	p, err := s.refresh.Parse(ctx, x.tenant, x.request.RefreshToken)
	if errors.Is(err, tenant.ErrNotFound) {
		return proof{}, invalidRefresh("unknown")
	}
	if err != nil {
		return proof{}, fmt.Errorf("read refresh token value: %w", err)
	}
	x.event.FamilyID, x.event.Generation = p.ID, p.Generation
	f, err := s.store.RefreshToken(ctx, x.tenant.ID, p.ID)
	if errors.Is(err, tenant.ErrNotFound) {
		return proof{}, invalidRefresh("unknown")
	}
	if err != nil {
		return proof{}, fmt.Errorf("read refresh token: %w", err)
	}
	x.event.UserID, x.event.SessionID = f.UserID, f.SessionID
	x.event.Details = familyDetails(f, p.Generation)
	if f.ClientID != x.client.ID { // evidence of a leak; nothing changes for the owner (SEC-108)
		return proof{}, invalidRefresh("wrong_client")
	}
	v, reason := judge(f, p, x.repeatable(), x.client.Refresh, x.now)
	switch v {
	case breach:
		return proof{}, s.breach(ctx, x, f)
	case busy:
		return proof{}, oauth.NewError(oauth.TooManyRequests, "The refresh token was repeated too often.", nil).WithReason(reason)
	case refuse:
		switch reason {
		case reasonUserDeleted:
			return proof{}, userGone()
		case reasonAttemptReused:
			return proof{}, oauth.NewError(oauth.InvalidRequest,
				"The "+oauth.AttemptHeader+" header names an earlier rotation. Send a fresh value for each.", nil).WithReason(reason)
		}
		return proof{}, invalidRefresh(reason)
	}
	u, err := s.activeUser(ctx, x, f.UserID, userGone())
	if err != nil {
		return proof{}, err
	}
	if err := s.consentStands(ctx, x, f.UserID, f.Audience, f.ConsentID, invalidRefresh("consent_withdrawn")); err != nil {
		return proof{}, err
	}
	out := proof{
		user: u, family: &f, presented: p, verdict: v,
		protocol: "oauth2-refresh-token", grantType: f.GrantType, gty: refreshGTY(f.GrantType),
		authorizedBy: string(f.ID),
		sessionID:    f.SessionID, consentID: f.ConsentID, connection: f.Connection,
		authTime: f.AuthTime, withAuthTime: f.WithAuthTime, amr: f.AMR,
	}
	return out, s.narrow(ctx, x, &out)
}

// Reasons that are more than a word in the log.
const (
	reasonUserDeleted   = "user_deleted"
	reasonAttemptReused = "attempt_reused"
	reasonWrongPassword = "wrong_password"
	reasonUnknownUser   = "unknown_user"
)

// invalidRefresh is the one answer to every value that gives nothing (SEC-64);
// the official clients match its text.
func invalidRefresh(reason string) *oauth.Error {
	return oauth.NewError(oauth.InvalidGrant, "Unknown or invalid refresh token.", nil).WithReason(reason)
}

// userGone is said only after the full value has been presented by its own
// client (security.md §30).
func userGone() *oauth.Error {
	return oauth.NewError(oauth.InvalidGrant,
		"The refresh_token was generated for a user who doesn't exist anymore.", nil).WithReason(reasonUserDeleted)
}

// refreshGTY is gty of the tokens of a refresh (tokens.md §3.2).
func refreshGTY(grantType string) []string {
	if grantType == oauth.GrantPassword || grantType == oauth.GrantPasswordRealm {
		return []string{"refresh_token", "password"}
	}
	return []string{"refresh_token"}
}

// familyDetails are the vendor's members for what was presented and what lives.
func familyDetails(f tenant.RefreshToken, presented uint32) map[string]any {
	return map[string]any{
		"familyId":      string(f.ID),
		"tokenCounter":  presented,
		"latestCounter": f.Generation,
		"successorUsed": f.Used || f.Generation > presented+1, // SEC-118: theft, or a lost response
	}
}

// breach ends the family of a value that was used before, and then refuses: the
// end is committed when the caller hears of it (SEC-120). Where it cannot be
// committed the answer is a fault and the next presentation tries again (SEC-122).
func (s *Service) breach(ctx context.Context, x *exchange, f tenant.RefreshToken) error {
	e := x.event
	e.Type, e.Reason, e.Description = audit.RefreshReused, "reused", "Reused rotating refresh token detected"
	if err := s.revokeFamily(ctx, x.tenant, f, "reused", false, e); err != nil {
		return err
	}
	x.reported = true
	return invalidRefresh("reused")
}

// revokeFamily ends a family and what was issued under it, in one commit.
func (s *Service) revokeFamily(ctx context.Context, t tenant.Tenant, f tenant.RefreshToken, reason string, withConsent bool, e tenant.Event) error {
	hash, err := s.ring.AuthorizationHash(ctx, t, string(f.ID))
	if err != nil {
		return fmt.Errorf("name the authorization of a family: %w", err)
	}
	others, err := s.familyHash(ctx, t)
	if err != nil {
		return err
	}
	at := s.clock.Now()
	e.At = at
	err = s.store.RevokeFamily(ctx, tenant.Revocation{
		TenantID: t.ID, ID: f.ID, At: at, Reason: reason,
		DeniedUntil: at.Add(token.MaxLifetime), DeniedHash: hash,
		DeleteConsent: withConsent, FamilyHash: others, Event: e,
	})
	if err != nil {
		return fmt.Errorf("revoke family: %w", err)
	}
	return nil
}

// narrow settles audience and scopes of a refresh: those of the authorization,
// those that the client's policies add (refresh-tokens.md §11), and of these no
// more than the request names (SEC-113). More than there is, is no error.
func (s *Service) narrow(ctx context.Context, x *exchange, p *proof) error {
	f := p.family
	p.audience = f.Audience
	allowed := oauth.Scopes(f.Scopes)
	policy := policyFor(x.client, p.audience)
	if a := x.request.Audience; a != "" && a != f.Audience && !(noAPI(x.tenant, a) && noAPI(x.tenant, f.Audience)) {
		p.audience = a
		if policy = policyFor(x.client, a); policy == nil {
			if _, err := s.resourceServer(ctx, x.tenant, a); err != nil {
				return err
			}
			return notAuthorized(a)
		}
		allowed = standardOnly(allowed)
		p.added = policy.Scope
	}
	if policy != nil {
		allowed = allowed.Union(policy.Scope)
	}
	p.requested = allowed
	if asked := oauth.ParseScopes(x.request.Scope); len(asked) > 0 {
		p.requested = asked.Intersect(allowed)
	}
	return s.forUser(ctx, x, p)
}

// policyFor is the client's policy for an audience, or nil. Third-party clients
// have none (refresh-tokens.md §4.1).
func policyFor(c tenant.Client, audience string) *tenant.ResourcePolicy {
	for i, p := range c.Refresh.Policies {
		if p.Audience == audience && audience != "" && c.FirstParty {
			return &c.Refresh.Policies[i]
		}
	}
	return nil
}

func standardOnly(scopes oauth.Scopes) oauth.Scopes {
	out := make(oauth.Scopes, 0, len(scopes))
	for _, v := range scopes {
		if tenant.StandardScope(v) {
			out = append(out, v)
		}
	}
	return out
}

// commitRefreshToken writes the exchange on condition that the family is as
// judged (SEC-114). When the outcome of the write is unknown, it is read: our
// own attempt in the row says that it happened (D4).
func (s *Service) commitRefreshToken(ctx context.Context, x *exchange, p proof, _ access, m minted) error {
	r := rotation(x, p, m, s.clock.Now())
	if r.DropSiblings {
		hash, err := s.familyHash(ctx, x.tenant)
		if err != nil {
			return err
		}
		r.FamilyHash, r.DeniedUntil = hash, r.At.Add(token.MaxLifetime)
		r.Dropped = r.Event
		r.Dropped.Type, r.Dropped.Reason, r.Dropped.Generation, r.Dropped.Details = audit.RefreshRevoked, "rotation_enabled", 0, nil
		r.Dropped.Description = audit.Description(audit.RefreshRevoked)
	}
	err := s.store.RotateRefreshToken(ctx, r)
	if err == nil || errors.Is(err, tenant.ErrConflict) {
		return err
	}
	if r.Kind == tenant.Rotate || r.Kind == tenant.Stay {
		settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		defer cancel()
		f, readErr := s.store.RefreshToken(settle, x.tenant.ID, r.ID)
		if readErr == nil && happened(f, r) {
			return nil
		}
	}
	return fmt.Errorf("write rotation: %w", err)
}

// happened tells whether family f shows that rotation r was made: by this
// request, or by another with the same nonce, which then derived the same
// successor.
func happened(f tenant.RefreshToken, r tenant.Rotation) bool {
	return f.Generation == r.Generation+1 && f.Attempt == r.Attempt && f.KeyVersion == r.NewKeyVersion ||
		f.Generation == r.Generation+2 && f.PreviousAttempt == r.Attempt
}

// settleTime bounds the reading that settles a write of unknown outcome.
const settleTime = 3 * time.Second

// rotation is the write of an exchange at the instant at.
func rotation(x *exchange, p proof, m minted, at time.Time) tenant.Rotation {
	f, policy := p.family, x.client.Refresh
	r := tenant.Rotation{
		TenantID: x.tenant.ID, ID: f.ID, Guard: x.guard(p),
		Generation: f.Generation, WasRotating: f.Rotating, Used: f.Used,
		At: at, NewKeyVersion: m.keyVersion, Attempt: x.attempt,
		NowRotating: policy.Rotating(), DropSiblings: p.verdict == migrate,
		Device: f.Device, Event: x.event,
	}
	r.IdleExpiresAt, r.ExpiresAt = deadlines(*f, policy, at)
	if !r.IdleExpiresAt.IsZero() || !r.ExpiresAt.IsZero() { // refresh-tokens.md §7
		r.Device.LastIP, r.Device.LastUserAgent = x.origin.IP, x.origin.UserAgent
	}
	if p.audience != f.Audience {
		r.AddedAudience, r.AddedScopes = p.audience, p.added
	}
	switch p.verdict {
	case rotate, migrate:
		r.Kind, r.Event.Reason = tenant.Rotate, "rotated"
	case stay:
		r.Kind, r.Event.Reason = tenant.Stay, "rotated"
	case keep:
		r.Kind, r.Event.Reason = tenant.Keep, "kept"
		r.NewKeyVersion = f.KeyVersion
	case replay:
		r.Kind, r.Event.Reason = tenant.Replay, "replayed"
		r.NewKeyVersion, r.NowRotating = f.KeyVersion, f.Rotating
	}
	r.Event.At = at
	watchLockstep(*f, &r, x.origin)
	return r
}

// deadlines are those after a successful exchange at the instant at
// (refresh-tokens.md §6, §7). The absolute one never moves (SEC-110); a family
// that had none takes the client's. The idle one restarts under the client's
// settings of now. A family that could expire never becomes one that cannot.
func deadlines(f tenant.RefreshToken, policy tenant.RefreshPolicy, at time.Time) (idle, absolute time.Time) {
	absolute = f.ExpiresAt
	if absolute.IsZero() && policy.AbsoluteLifetime() > 0 {
		absolute = at.Add(policy.AbsoluteLifetime())
	}
	span := policy.IdleLifetime()
	if span == 0 && absolute.IsZero() && !f.IdleExpiresAt.IsZero() {
		span = f.IdleExpiresAt.Sub(lastUse(f))
	}
	if span > 0 {
		idle = at.Add(span)
		if !absolute.IsZero() && idle.After(absolute) {
			idle = absolute
		}
	}
	return idle, absolute
}

func lastUse(f tenant.RefreshToken) time.Time {
	if f.LastExchangedAt.IsZero() {
		return f.CreatedAt
	}
	return f.LastExchangedAt
}
