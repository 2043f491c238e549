package grant

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// userinfoTokenLifetime is the life of an access token without an API
// (tokens.md §5).
const userinfoTokenLifetime = 86400 * time.Second

// proof is what a grant proves: whom the tokens are for, how far they may go,
// and what has been read to decide that.
type proof struct {
	// machine: the client asks for itself, there is no user.
	machine bool
	user    tenant.User
	// requested are the scopes asked for, cut to what the grant covers;
	// machine: empty means all that the client grant has.
	requested oauth.Scopes
	// asked: the request named scopes.
	asked bool
	// audience is what the tokens are for; empty means userinfo only.
	audience string
	api      *tenant.ResourceServer
	// clientGrant is the grant of the client itself (machine), or for its users.
	clientGrant *tenant.ClientGrant

	protocol     string // of the rules' context
	authorizedBy string // the authorization in the tokens' jti when no family is issued (D5)
	grantType    string // of the authorization, kept with the family
	gty          []string
	audienceUsed bool // an audience was named, or the tenant's default applied
	fromBrowser  bool

	sessionID    string
	consentID    string
	connection   string
	nonce        string
	authTime     time.Time
	withAuthTime bool
	amr          []string

	// codeHash names the code that is spent.
	codeHash string
	// family is the refresh token that was presented; nil with other grants.
	family    *tenant.RefreshToken
	presented token.Presented
	verdict   verdict
	// added are scopes that a policy added for audience, to remember (refresh-tokens.md §11).
	added []string
}

// access is what the client may have.
type access struct {
	scopes      oauth.Scopes
	permissions []string
	lifetime    time.Duration
	// issueFamily: a refresh token is due.
	issueFamily bool
}

// decide says what the client may have for the proof. It reads neither clock nor
// store, so each of its conditions is a row in a table.
func decide(c tenant.Client, p proof) (access, error) {
	if p.machine {
		return decideMachine(p)
	}
	a := access{lifetime: userinfoTokenLifetime}
	if p.api != nil {
		a.lifetime = p.api.TokenLifetime()
		if p.api.UserPolicy() == "deny_all" {
			return access{}, notAuthorized(p.audience)
		}
	}
	// Roles and permissions of users are not part of this server yet: where an
	// API enforces policies, nobody holds any.
	a.scopes = tenant.UserScopes(p.requested, p.api, p.clientGrant, nil)
	if p.api != nil && p.api.WithPermissions() {
		a.permissions = []string{}
	}
	if p.family != nil {
		return a, nil
	}
	a.issueFamily = offlineAllowed(c, p, a.scopes)
	if !a.issueFamily {
		a.scopes = a.scopes.Without(tenant.OfflineAccess) // refresh-tokens.md §2.4
	}
	return a, nil
}

// offlineAllowed is refresh-tokens.md §2: all of it must hold (SEC-109).
func offlineAllowed(c tenant.Client, p proof, granted oauth.Scopes) bool {
	switch {
	case !granted.Has(tenant.OfflineAccess):
		return false
	case !c.AllowsGrant(oauth.GrantRefreshToken):
		return false
	case p.api != nil && !p.api.AllowOfflineAccess:
		return false
	case !c.OIDCConformant && !p.audienceUsed:
		return false
	case c.Public() && (p.fromBrowser || c.AppType == "spa") && !c.Refresh.Rotating():
		return false // a browser keeps only what rotation protects (§2.6)
	}
	return true
}

// decideMachine is authentication-api.md §4.3: scopes come from the client grant
// alone (SEC-65).
func decideMachine(p proof) (access, error) {
	a := access{lifetime: p.api.TokenLifetime()}
	var granted []string
	switch {
	case p.api.ClientPolicy() == "deny_all":
		return access{}, notAuthorized(p.audience)
	case p.api.ClientPolicy() == "allow_all", p.clientGrant != nil && p.clientGrant.AllowAllScopes:
		granted = p.api.ScopeValues()
	case p.clientGrant != nil:
		// A scope that the API no longer defines is granted by nobody.
		granted = oauth.Scopes(p.clientGrant.Scope).Intersect(p.api.ScopeValues())
	default:
		return access{}, notAuthorized(p.audience)
	}
	a.scopes = slices.Clone(granted)
	if p.asked {
		if excess := p.requested.Without(granted...); len(excess) > 0 {
			return access{}, oauth.NewError(oauth.AccessDenied,
				"Client has not been granted scopes: "+oauth.Quote(strings.Join(excess, ", ")), nil).WithReason("scope_not_granted")
		}
		a.scopes = p.requested
	}
	if p.api.WithPermissions() {
		a.permissions = a.scopes
	}
	return a, nil
}

// machineAuthorization is the authorization in the jti of a client's own token:
// the client grant and its epoch, which revoking raises, so that later tokens
// live (D5). Where the API lets every client in there is no grant.
func machineAuthorization(clientID, audience string, g *tenant.ClientGrant) string {
	if g == nil {
		return "client " + clientID + " " + audience
	}
	return "grant " + g.ID + " " + strconv.FormatInt(g.Epoch, 10)
}

// notAuthorized is the vendor's text, quotes included, which its tools show
// (authentication-api.md §4.3); RFC 6749 §5.2 would have none.
func notAuthorized(audience string) *oauth.Error {
	return oauth.NewError(oauth.AccessDenied, `Client is not authorized to access "`+oauth.Quote(audience)+
		`". You need to create a "client-grant" associated to this API.`, nil).WithReason("no_client_grant")
}

func unknownAudience(audience string) *oauth.Error {
	return oauth.NewError(oauth.AccessDenied, "Service not enabled within domain: "+oauth.Quote(audience), nil).WithReason("unknown_audience")
}
