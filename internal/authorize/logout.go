package authorize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// LogoutRequest is a request to /v2/logout (authentication-api.md §14.1).
type LogoutRequest struct {
	ClientID string
	ReturnTo string
	// FromOrigin is the origin of the page that led here, or empty; OwnSite: it
	// was ours, or none; ByUser: the user clicked there.
	FromOrigin string
	OwnSite    bool
	ByUser     bool
}

// EndSessionRequest is a request to /oidc/logout (RP-Initiated Logout §2).
type EndSessionRequest struct {
	ClientID    string
	IDTokenHint string
	LogoutHint  string
	RedirectURI string
	State       string
	// Confirmation is the value of the confirmation page's form, which proves
	// that the user pressed its button.
	Confirmation string
}

// LogoutOutcome is what follows a logout request: Location when there is an
// address to go to, Confirmation when the user must agree first, else the
// logged-out page.
type LogoutOutcome struct {
	Location     string
	Confirmation string
	// Ended: the session is over and its cookie goes.
	Ended bool
	// ClientID and ClientName are of the client that asks, or empty.
	ClientID   string
	ClientName string
	// FormTargets: see LoginView.
	FormTargets []string
}

// Logout ends the browser's session for the whole tenant. It needs no proof but
// that a person came here: a page of the client or a click led here. Else the
// user is asked (security.md §30).
func (s *Service) Logout(ctx context.Context, t tenant.Tenant, r LogoutRequest, b Browser) (LogoutOutcome, error) {
	now := s.clock.Now()
	c, err := s.logoutClient(ctx, t, r.ClientID)
	if err != nil {
		return LogoutOutcome{}, err
	}
	allowed := t.Settings.AllowedLogoutURLs
	if c != nil {
		allowed = c.AllowedLogoutURLs
	}
	var out LogoutOutcome
	switch {
	case r.ReturnTo != "" && !tenant.MatchReturnURL(allowed, r.ReturnTo):
		return out, oauth.NewError(oauth.InvalidRequest, "The returnTo is not defined as a valid URL in Allowed Logout URLs.", nil).WithReason("return_url")
	case r.ReturnTo != "":
		out.Location = r.ReturnTo
	case c != nil && len(allowed) > 0 && tenant.MatchReturnURL(allowed, allowed[0]):
		out.Location = allowed[0]
	}
	l, err := s.signedIn(ctx, t, b.Session, now)
	if err != nil {
		return LogoutOutcome{}, err
	}
	if l != nil && !r.ByUser && !r.OwnSite && !comesFrom(c, t, r.FromOrigin) {
		return s.askFirst(c, out.Location, b), nil
	}
	return s.end(ctx, t, c, l, out, b, now)
}

// askFirst is the confirmation page; what the user agrees to is judged again.
func (s *Service) askFirst(c *tenant.Client, location string, b Browser) LogoutOutcome {
	out := LogoutOutcome{Confirmation: confirmation(b.Session)}
	if c != nil {
		out.ClientID, out.ClientName = c.ID, c.Name
	}
	if source := policySource(location); source != "" {
		out.FormTargets = []string{source}
	}
	return out
}

// confirmation is bound to the session and unguessable without its cookie
// (SEC-155, SEC-158).
func confirmation(session string) string { return token.Hash("logout:" + session) }

// comesFrom tells whether origin is one of the client's, or without a client one
// of the tenant's.
func comesFrom(c *tenant.Client, t tenant.Tenant, origin string) bool {
	if origin == "" {
		return false
	}
	lists := [][]string{t.Settings.AllowedLogoutURLs}
	if c != nil {
		lists = [][]string{c.AllowedLogoutURLs, c.Callbacks, c.WebOrigins, c.AllowedOrigins}
	}
	for _, list := range lists {
		if slices.ContainsFunc(list, func(entry string) bool { return tenant.WebOrigin(entry) == origin }) {
			return true
		}
	}
	return false
}

func (s *Service) logoutClient(ctx context.Context, t tenant.Tenant, id string) (*tenant.Client, error) {
	if id == "" {
		return nil, nil
	}
	c, err := s.store.Client(ctx, t, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, oauth.NewError(oauth.InvalidRequest, "Unknown client: "+oauth.Quote(id), err).WithReason("unknown_client")
	}
	if err != nil {
		return nil, fmt.Errorf("read client: %w", err)
	}
	return &c, nil
}

// end ends the session, if there is one, and notes it. Refresh tokens live on
// (refresh-tokens.md §9.6).
func (s *Service) end(ctx context.Context, t tenant.Tenant, c *tenant.Client, l *login, out LogoutOutcome, b Browser, now time.Time) (LogoutOutcome, error) {
	out.Ended = true
	if l == nil {
		return out, nil
	}
	var client tenant.Client
	if c != nil {
		client = *c
	}
	e := aboutUser(s.event(t, audit.LogoutSucceeded, client, b, now), l.user)
	e.SessionID = l.session.ID
	if err := s.store.EndSession(ctx, t.ID, l.session.ID, e); err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return LogoutOutcome{}, fmt.Errorf("end session: %w", err)
	}
	return out, nil
}

// EndSession is RP-initiated logout: at once for the holder of an ID token of
// this very session, else after the user's confirmation (SEC-158).
func (s *Service) EndSession(ctx context.Context, t tenant.Tenant, r EndSessionRequest, b Browser) (LogoutOutcome, error) {
	now := s.clock.Now()
	if len(r.State) > maxEcho { // SEC-36
		return LogoutOutcome{}, invalid("The state is longer than 2048 bytes.")
	}
	named := r.ClientID != ""
	sid, err := s.readHints(ctx, t, &r)
	if err != nil {
		return LogoutOutcome{}, err
	}
	c, err := s.logoutClient(ctx, t, r.ClientID)
	if err != nil {
		return LogoutOutcome{}, err
	}
	var out LogoutOutcome
	if out.Location, err = returnAddress(t, c, r, named); err != nil {
		return LogoutOutcome{}, err
	}
	l, err := s.signedIn(ctx, t, b.Session, now)
	if err != nil {
		return LogoutOutcome{}, err
	}
	if l != nil && sid != l.session.ID && r.Confirmation != confirmation(b.Session) {
		return s.askFirst(c, out.Location, b), nil
	}
	return s.end(ctx, t, c, l, out, b, now)
}

// readHints answers the session that the hints name, and fills in the client of
// the ID token. Hints that contradict each other are refused.
func (s *Service) readHints(ctx context.Context, t tenant.Tenant, r *EndSessionRequest) (sid string, err error) {
	if r.IDTokenHint == "" {
		return r.LogoutHint, nil
	}
	claims, err := s.ring.VerifyIDTokenHint(ctx, t, r.IDTokenHint)
	if errors.Is(err, tenant.ErrTokenSignature) {
		// Also what an ID token under HS256 looks like: it proves nothing, since
		// its client can make it, and the user is asked.
		return "", nil
	}
	if isTokenFault(err) {
		return "", oauth.NewError(oauth.InvalidRequest, "The id_token_hint is not an ID token of this issuer.", err)
	}
	if err != nil {
		return "", fmt.Errorf("verify id_token_hint: %w", err)
	}
	switch {
	case r.ClientID != "" && claims.ClientID != r.ClientID:
		return "", invalid("The client_id is not the audience of the id_token_hint.")
	case r.LogoutHint != "" && claims.SessionID != "" && r.LogoutHint != claims.SessionID:
		return "", invalid("The logout_hint is not the session of the id_token_hint.")
	}
	r.ClientID = claims.ClientID
	return claims.SessionID, nil
}

// returnAddress is where the browser goes after the logout (SEC-28); without one
// in the request, a client that was named by client_id gets its first.
func returnAddress(t tenant.Tenant, c *tenant.Client, r EndSessionRequest, named bool) (string, error) {
	allowed := t.Settings.AllowedLogoutURLs
	if c != nil {
		allowed = c.AllowedLogoutURLs
	}
	address := r.RedirectURI
	switch {
	case address == "" && named && len(allowed) > 0:
		address = allowed[0]
	case address == "":
		return "", nil
	}
	if !tenant.MatchReturnURL(allowed, address) {
		return "", oauth.NewError(oauth.InvalidRequest,
			"The post_logout_redirect_uri is not defined as a valid URL in Allowed Logout URLs.", nil).WithReason("return_url")
	}
	if r.State == "" {
		return address, nil
	}
	address, fragment, found := strings.Cut(address, "#")
	address = Response{Mode: modeQuery, RedirectURI: address, Params: []Param{{"state", r.State}}}.Location()
	if found {
		address += "#" + fragment
	}
	return address, nil
}
