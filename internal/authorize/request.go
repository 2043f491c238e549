package authorize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Response modes (OAuth 2.0 Multiple Response Types §2.1, Form Post Response
// Mode, and the vendor's web_message).
const (
	modeQuery      = "query"
	modeFragment   = "fragment"
	modeFormPost   = "form_post"
	modeWebMessage = "web_message"
)

// Limits held before any work is done (SEC-36, SEC-38).
const (
	maxEcho        = 2048
	maxScopes      = 200
	maxScopeLength = 280
)

// responseTypes are the members of response_type; they are a set (OAuth 2.0
// Multiple Response Types §3).
type responseTypes struct{ code, token, idToken bool }

// front tells whether a token travels through the browser.
func (r responseTypes) front() bool { return r.token || r.idToken }

// prompts are the values of prompt (OIDC Core §3.1.2.1).
type prompts struct{ none, login, consent, account bool }

// request is an authorization request that was found good.
type request struct {
	oauth.AuthorizationRequest
	tenant tenant.Tenant
	client tenant.Client
	// redirectURI is where the answer goes: as sent, or the only registered one.
	redirectURI string
	mode        string
	types       responseTypes
	prompts     prompts
	// maxAge is the age a login may have; negative means any.
	maxAge time.Duration
	// api is nil for tokens without an API; audience is then empty.
	api      *tenant.ResourceServer
	audience string
	scopes   oauth.Scopes
	// connections are the databases the user may sign in at.
	connections []tenant.Connection
	// hintSubject is the user of a genuine id_token_hint, or empty (SEC-37).
	hintSubject string
}

// judge finds out what a request asks for and whether it may. An error is for
// our own page: the client or the address it names is not known to be good. A
// refusal is for the client, and comes with the request as far as it was read,
// which is enough to deliver it.
func (s *Service) judge(ctx context.Context, t tenant.Tenant, sent oauth.AuthorizationRequest) (q *request, refusal *oauth.Error, err error) {
	q = &request{AuthorizationRequest: sent, tenant: t, maxAge: -1}
	if sent.Device != "" {
		refusal, err := s.judgeDevice(ctx, q)
		return q, refusal, err
	}
	if err := s.locate(ctx, q); err != nil {
		return nil, nil, err
	}
	if refusal := q.read(); refusal != nil {
		return q, refusal, nil
	}
	if refusal, err := s.entitle(ctx, q); refusal != nil || err != nil {
		return q, refusal, err
	}
	if sent.IDTokenHint != "" {
		claims, err := s.ring.VerifyIDTokenHint(ctx, t, sent.IDTokenHint)
		switch {
		case err == nil:
			q.hintSubject = claims.Subject
		case isTokenFault(err):
			return q, oauth.NewError(oauth.InvalidRequest, "The id_token_hint is not an ID token of this issuer.", err), nil
		default:
			return q, nil, fmt.Errorf("verify id_token_hint: %w", err)
		}
	}
	return q, nil, nil
}

// isTokenFault tells whether err is about the token and not about us.
func isTokenFault(err error) bool {
	for _, fault := range []error{
		tenant.ErrTokenMalformed, tenant.ErrTokenSignature, tenant.ErrTokenExpired, tenant.ErrTokenInactive, tenant.ErrTokenInvalid,
	} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// locate finds the client and the address of the answer. Until it has, nothing
// may be sent anywhere (SEC-25).
func (s *Service) locate(ctx context.Context, q *request) error {
	if err := s.findClient(ctx, q); err != nil {
		return err
	}
	c := q.client
	q.redirectURI = q.RedirectURI
	if q.redirectURI == "" { // SEC-26
		if len(c.Callbacks) != 1 || oauth.ParseScopes(firstBytes(q.Scope)).Has(tenant.OpenID) {
			return oauth.NewError(oauth.InvalidRequest, "Missing required parameter: redirect_uri", nil)
		}
		q.redirectURI = c.Callbacks[0]
	}
	match := c.MatchRedirect(q.redirectURI)
	if match == tenant.RedirectRefused {
		return mismatch()
	}
	q.types, _ = parseResponseType(q.ResponseType)
	if q.mode = q.ResponseMode; !q.modeUsable() {
		q.mode = q.defaultMode()
	}
	if q.mode != modeWebMessage {
		return nil
	}
	// SEC-29, SEC-21: a message is for a registered origin; else there is none.
	if origin := tenant.WebOrigin(q.redirectURI); match != tenant.RedirectExact || !originAllowed(c, origin) {
		e := mismatch()
		e.Description = "The origin of redirect_uri is not in the list of allowed web origins."
		return e
	}
	return nil
}

func (s *Service) findClient(ctx context.Context, q *request) error {
	if q.ClientID == "" {
		return oauth.NewError(oauth.InvalidRequest, "Missing required parameter: client_id", nil)
	}
	c, err := s.store.Client(ctx, q.tenant, q.ClientID)
	if errors.Is(err, tenant.ErrNotFound) {
		return oauth.NewError(oauth.InvalidRequest, "Unknown client: "+oauth.Quote(q.ClientID), err).WithReason("unknown_client")
	}
	if err != nil {
		return fmt.Errorf("read client: %w", err)
	}
	q.client = c
	return nil
}

// firstBytes keeps the search for openid in an unread scope parameter short.
func firstBytes(s string) string { return s[:min(len(s), 4096)] }

func mismatch() *oauth.Error {
	return oauth.NewError(oauth.UnauthorizedClient,
		"Callback URL mismatch. The provided redirect_uri is not in the list of allowed callback URLs.", nil).WithReason("redirect_uri")
}

// originAllowed: web_origins and the origins of callbacks (authentication-api.md §1.2).
func originAllowed(c tenant.Client, origin string) bool {
	if origin == "" {
		return false
	}
	same := func(entry string) bool { return tenant.WebOrigin(entry) == origin }
	return slices.ContainsFunc(c.WebOrigins, same) || slices.ContainsFunc(c.Callbacks, same)
}

func parseResponseType(s string) (responseTypes, bool) {
	var r responseTypes
	for _, v := range strings.Fields(s) {
		switch v {
		case "code":
			r.code = true
		case "token":
			r.token = true
		case "id_token":
			r.idToken = true
		default:
			return r, false
		}
	}
	return r, r != responseTypes{}
}

func (q *request) defaultMode() string {
	if q.types.front() {
		return modeFragment
	}
	return modeQuery
}

// modeUsable: tokens never travel in a query, which is logged and sent on in
// referrers (OAuth 2.0 Multiple Response Types §3).
func (q *request) modeUsable() bool {
	switch q.ResponseMode {
	case modeFragment, modeFormPost, modeWebMessage:
		return true
	case modeQuery:
		return !q.types.front()
	}
	return false
}

// read judges what the parameters say by themselves.
func (q *request) read() *oauth.Error {
	if len(q.State) > maxEcho { // SEC-36: refused, not cut
		q.State = ""
		return invalid("The state is longer than 2048 bytes.")
	}
	if q.ResponseType == "" {
		return invalid("Missing required parameter: response_type")
	}
	if _, ok := parseResponseType(q.ResponseType); !ok {
		return oauth.NewError(oauth.UnsupportedResponse, "Unsupported response type: "+oauth.Quote(q.ResponseType), nil)
	}
	if q.ResponseMode != "" && !q.modeUsable() {
		return invalid("The response_mode is not supported for this response_type.")
	}
	if q.types.code && !q.client.AllowsGrant(oauth.GrantAuthorizationCode) {
		return grantNotAllowed(oauth.GrantAuthorizationCode)
	}
	if q.types.front() && !q.client.AllowsGrant(oauth.GrantImplicit) { // SEC-31
		return grantNotAllowed(oauth.GrantImplicit)
	}
	switch {
	case len(q.Nonce) > maxEcho:
		return invalid("The nonce is longer than 2048 bytes.")
	case q.types.idToken && q.Nonce == "": // OIDC Core §3.2.2.1, §3.3.2.11
		return invalid("Missing required parameter: nonce")
	}
	if e := q.readChallenge(); e != nil {
		return e
	}
	if e := q.readScope(); e != nil {
		return e
	}
	return q.readPrompt()
}

func invalid(description string) *oauth.Error {
	return oauth.NewError(oauth.InvalidRequest, description, nil)
}

func grantNotAllowed(grantType string) *oauth.Error {
	return oauth.NewError(oauth.UnauthorizedClient, "Grant type '"+grantType+"' not allowed for the client.", nil)
}

// readChallenge holds the ruling of security.md §30: S256 alone, public clients
// always (SEC-54, SEC-55, SEC-56); plain only for a client that opted in.
func (q *request) readChallenge() *oauth.Error {
	if !q.types.code {
		q.CodeChallenge, q.CodeChallengeMethod = "", ""
		return nil
	}
	if q.CodeChallenge == "" {
		switch {
		case q.CodeChallengeMethod != "":
			return invalid("Missing required parameter: code_challenge")
		case q.client.Public() || q.client.RequirePKCE:
			return invalid("PKCE is required: send code_challenge with code_challenge_method=S256.")
		}
		return nil
	}
	switch {
	case q.CodeChallengeMethod == "S256":
		if len(q.CodeChallenge) != 43 || !onlyFrom(q.CodeChallenge, "-_") {
			return invalid("The code_challenge is malformed.")
		}
	case q.client.AllowPlainPKCE && (q.CodeChallengeMethod == "plain" || q.CodeChallengeMethod == ""): // RFC 7636 §4.3
		if len(q.CodeChallenge) < 43 || len(q.CodeChallenge) > 128 || !onlyFrom(q.CodeChallenge, "-._~") {
			return invalid("The code_challenge is malformed.")
		}
		q.CodeChallengeMethod = "plain"
	default:
		return invalid("The code_challenge_method must be S256.")
	}
	return nil
}

func onlyFrom(s, marks string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte(marks, c) >= 0) {
			return false
		}
	}
	return true
}

// readScope bounds the scopes before anything looks at them (SEC-38).
func (q *request) readScope() *oauth.Error {
	if strings.Count(q.Scope, " ") >= maxScopes {
		return oauth.NewError(oauth.InvalidScope, "There are too many scopes.", nil)
	}
	q.scopes = oauth.ParseScopes(q.Scope)
	for _, v := range q.scopes {
		if len(v) > maxScopeLength {
			return oauth.NewError(oauth.InvalidScope, "A scope is too long.", nil)
		}
	}
	if len(q.scopes) == 0 { // tokens.md §6.2
		q.scopes = oauth.Scopes{tenant.OpenID}
	}
	if q.scopes.Has(tenant.OfflineAccess) && q.scopes.Has("online_access") {
		return invalid("Cannot request both online_access and offline_access scopes")
	}
	return nil
}

func (q *request) readPrompt() *oauth.Error {
	for _, v := range strings.Fields(q.Prompt) {
		switch v {
		case "none":
			q.prompts.none = true
		case "login":
			q.prompts.login = true
		case "consent":
			q.prompts.consent = true
		case "select_account":
			q.prompts.account = true
		default:
			return invalid("The prompt is not supported.")
		}
	}
	if p := q.prompts; p.none && (p.login || p.consent || p.account) { // OIDC Core §3.1.2.1
		return invalid("The prompt none cannot be combined with another.")
	}
	if q.MaxAge != "" {
		n, err := strconv.ParseUint(q.MaxAge, 10, 31)
		if err != nil {
			return invalid("The max_age must be a number of seconds.")
		}
		q.maxAge = time.Duration(n) * time.Second
	}
	return nil
}

// entitle judges what the client may have: the API, its scopes, the databases.
func (s *Service) entitle(ctx context.Context, q *request) (*oauth.Error, error) {
	audience := q.Audience
	if audience == "" {
		audience = q.tenant.Settings.DefaultAudience
	}
	var grant *tenant.ClientGrant
	if !opaque(q.tenant, audience) {
		api, err := s.store.ResourceServer(ctx, q.tenant, audience)
		if errors.Is(err, tenant.ErrNotFound) {
			return oauth.NewError(oauth.AccessDenied, "Service not enabled within domain: "+oauth.Quote(audience), err), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read resource server: %w", err)
		}
		q.api, q.audience = &api, api.Identifier
		switch api.UserPolicy() {
		case "deny_all":
			return notEntitled(), nil
		case "require_client_grant":
			g, err := s.store.ClientGrant(ctx, q.tenant, q.client.ID, api.Identifier, "user")
			if errors.Is(err, tenant.ErrNotFound) {
				return notEntitled(), nil
			}
			if err != nil {
				return nil, fmt.Errorf("read client grant: %w", err)
			}
			grant = &g
		}
	}
	q.scopes = tenant.UserScopes(q.scopes, q.api, grant, nil)
	if !q.offline() {
		q.scopes = q.scopes.Without(tenant.OfflineAccess)
	}
	return s.findConnections(ctx, q)
}

func notEntitled() *oauth.Error {
	return oauth.NewError(oauth.AccessDenied, "The client is not authorized to access the resource server.", nil).WithReason("no_user_grant")
}

// opaque tells whether tokens for the audience are for userinfo alone (tokens.md §2).
func opaque(t tenant.Tenant, audience string) bool {
	return audience == "" || audience == t.UserinfoAudience() || audience == t.Issuer() || audience == t.Domain
}

// offline tells whether a refresh token may come of the request, so that nobody
// is asked to allow what will not be given (refresh-tokens.md §2). What only the
// exchange can know is judged there.
func (q *request) offline() bool {
	return q.types.code && q.client.AllowsGrant(oauth.GrantRefreshToken) && (q.api == nil || q.api.AllowOfflineAccess)
}

// findConnections lists the databases the user may sign in at.
func (s *Service) findConnections(ctx context.Context, q *request) (*oauth.Error, error) {
	all, err := s.store.ConnectionsFor(ctx, q.tenant, q.client.ID)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	for _, c := range all {
		if c.Database() && (q.Connection == "" || q.Connection == c.Name) {
			q.connections = append(q.connections, c)
		}
	}
	if len(q.connections) == 0 {
		return oauth.NewError(oauth.AccessDenied, "No connection is enabled for the client.", nil).WithReason("no_connection"), nil
	}
	// The tenant's default directory comes first, else the oldest.
	if i := slices.IndexFunc(q.connections, func(c tenant.Connection) bool { return c.Name == q.tenant.Settings.DefaultDirectory }); i > 0 {
		q.connections[0], q.connections[i] = q.connections[i], q.connections[0]
	}
	return nil, nil
}
