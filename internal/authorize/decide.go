package authorize

import (
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// step is what a request still needs.
type step int

const (
	stepLogin step = iota
	stepConsent
	stepAnswer
	// stepDevice asks whether a device is let in; decide never says so.
	stepDevice
)

// facts are what is known of the user at one instant.
type facts struct {
	// session: the browser has a session that may serve this request.
	session bool
	// authenticatedAt is when its user last gave a password.
	authenticatedAt time.Time
	// interactive: that was in this very transaction.
	interactive bool
	// recorded are the scopes the user has allowed this client for this API
	// before; nil means there is no record.
	recorded oauth.Scopes
	// allowed: the user has just pressed the button.
	allowed bool
}

// decide is the flow of authentication-api.md §1.5. It reads neither clock nor
// store.
func decide(q *request, f facts, now time.Time) step {
	switch {
	case !f.session:
		return stepLogin
	case !f.interactive && (q.prompts.login || q.prompts.account || q.tooOld(f.authenticatedAt, now)):
		return stepLogin
	case f.allowed:
		return stepAnswer
	case q.prompts.consent || q.needsConsent(f):
		return stepConsent
	}
	return stepAnswer
}

// tooOld: max_age=0 always is (OIDC Core §3.1.2.1).
func (q *request) tooOld(authenticatedAt, now time.Time) bool {
	return q.maxAge >= 0 && now.Sub(authenticatedAt) >= q.maxAge
}

// needsConsent is SEC-41 with the compatibility of refresh-tokens.md §2.7.
func (q *request) needsConsent(f facts) bool {
	covered := f.recorded != nil && len(q.scopes.Without(f.recorded...)) == 0
	if !q.client.FirstParty {
		return !covered
	}
	local := q.unverifiable()
	// A program that took the port or the scheme over gets nothing silently: the
	// user must have acted in this very transaction (RFC 8252 §8.6).
	if local && !f.interactive && q.impersonable() {
		return true
	}
	return q.api != nil && (local || !q.api.SkipConsent) && !covered
}

// unverifiable: who receives the answer is not known to be the client. A
// confidential client proves itself when it redeems the code, unless a token
// travels in the answer itself. The operator may vouch for the machine.
func (q *request) unverifiable() bool {
	if q.client.SkipLocalConsent != nil && *q.client.SkipLocalConsent {
		return false
	}
	return !tenant.VerifiableRedirect(q.redirectURI) && (q.client.Public() || q.types.front())
}

// impersonable: a custom scheme, or the loopback address of an installed
// program. A page under development at http://localhost is a web client, whose
// user has the address before his eyes.
func (q *request) impersonable() bool {
	return q.client.AppType == "native" || !tenant.LoopbackRedirect(q.redirectURI)
}

// alive tells whether a session serves at now. Settings that were lowered since
// it began hold at once (authentication-api.md §2).
func alive(s tenant.Session, settings tenant.Settings, now time.Time) bool {
	return !s.Expired(now) && now.Before(s.CreatedAt.Add(settings.SessionLifetime()))
}
