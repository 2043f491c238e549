package authorize

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// LoginView is what the login and the sign-up page show.
type LoginView struct {
	ClientName string
	// LoginHint prefills the identifier; it is text from the request.
	LoginHint string
	// ScreenHint is signup, login, reset-password or anything else.
	ScreenHint string
	// SignupAllowed: the connection takes new users.
	SignupAllowed bool
	// WithUsername: the connection asks new users for a user name.
	WithUsername bool
	// PasswordRules are what a new password must keep.
	PasswordRules []PasswordRule
	// FormTargets are where a form's answer may lead the browser, as sources of a
	// content policy.
	FormTargets []string
}

// LoginForm is what the login page sends.
type LoginForm struct {
	// Identifier is an e-mail address or a user name.
	Identifier string
	Password   string
}

// Login is the view of the login and the sign-up page of a transaction.
func (s *Service) Login(ctx context.Context, t tenant.Tenant, state string, b Browser) (LoginView, error) {
	o, err := s.resume(ctx, t, state, b, s.clock.Now())
	if err != nil {
		return LoginView{}, err
	}
	return LoginView{
		ClientName: o.client.Name, LoginHint: o.LoginHint, ScreenHint: o.ScreenHint,
		SignupAllowed: !o.connections[0].Options.DisableSignup, WithUsername: o.connections[0].Options.RequiresUsername,
		PasswordRules: rulesOf(o.connections[0]), FormTargets: o.formTargets(),
	}, nil
}

// formTargets: Chromium holds form-action against each redirect that follows a
// form, so the registered addresses of the client are named, first the one that
// the answer goes to. Another hop of the client's own must be registered too.
func (q *request) formTargets() []string {
	var out []string
	for _, list := range [][]string{{q.redirectURI}, q.client.Callbacks, q.client.WebOrigins, q.client.AllowedOrigins, q.client.AllowedLogoutURLs} {
		for _, raw := range list {
			if source := policySource(raw); source != "" && !slices.Contains(out, source) && len(out) < 20 {
				out = append(out, source)
			}
		}
	}
	return out
}

// policySource is the origin of a URL, or the scheme of a custom one.
func policySource(raw string) string {
	if origin := tenant.WebOrigin(raw); origin != "" {
		return origin
	}
	if tenant.CheckRedirectURI(raw) != nil {
		return ""
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] == ':' {
			if scheme := raw[:i+1]; scheme != "http:" && scheme != "https:" {
				return scheme
			}
			return ""
		}
	}
	return ""
}

// SubmitLogin takes the login form. A FormError means: show the page again.
// Unknown user, wrong password and blocked user cost the same and look the same
// until the password was right (SEC-162).
func (s *Service) SubmitLogin(ctx context.Context, t tenant.Tenant, state string, form LoginForm, b Browser) (Outcome, error) {
	now := s.clock.Now()
	out, err := s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		o, err := s.resume(ctx, t, state, b, now)
		if err != nil {
			return Outcome{}, err
		}
		switch {
		case form.Identifier == "":
			return Outcome{}, &FormError{Field: FieldIdentifier, Reason: Missing}
		case form.Password == "":
			return Outcome{}, &FormError{Field: FieldPassword, Reason: Missing}
		}
		u, connection, rehash, err := s.authenticate(ctx, o, form, b, now)
		if err != nil {
			return Outcome{}, err
		}
		if u.Blocked {
			return s.finish(ctx, o, userBlocked(), &login{user: u}, b, now)
		}
		newHash := ""
		if rehash { // SEC-179; a busy hasher only puts it off
			newHash, _ = s.passwords.Hash(ctx, form.Password)
		}
		return s.complete(ctx, o, u, connection, newHash, b, now)
	})
	if err != nil || out.Response != nil {
		return out, err
	}
	return s.afterLogin(ctx, t, state, out.Cookies, b, now)
}

// afterLogin goes on in the session just made.
func (s *Service) afterLogin(ctx context.Context, t tenant.Tenant, state string, c Cookies, b Browser, now time.Time) (Outcome, error) {
	b.Session = c.Session
	out, err := s.carryOn(ctx, t, state, b, false, now)
	out.Cookies = c
	return out, err
}

// authenticate finds the user the form names and checks the password. Several
// databases are tried only while the identifier is not found in one.
func (s *Service) authenticate(ctx context.Context, o *ongoing, form LoginForm, b Browser, now time.Time) (tenant.User, tenant.Connection, bool, error) {
	var u tenant.User
	var hash string
	connection := o.connections[0]
	found := false
	for _, c := range o.connections {
		var err error
		u, hash, err = s.store.UserForPassword(ctx, o.tenant.ID, c.Name, tenant.CanonicalEmail(form.Identifier))
		if err == nil {
			connection, found = c, true
			break
		}
		if !errors.Is(err, tenant.ErrNotFound) {
			return u, connection, false, fmt.Errorf("find user: %w", err)
		}
	}
	if !found {
		hash = "" // Verify then computes a dummy hash
	}
	match, rehash, err := s.passwords.Verify(ctx, hash, form.Password)
	switch {
	case errors.Is(err, password.ErrBusy):
		return u, connection, false, &FormError{Reason: Busy}
	case err != nil && !errors.Is(err, password.ErrTooLong): // too long is nobody's password (SEC-180)
		return u, connection, false, fmt.Errorf("verify password: %w", err)
	case found && match:
		return u, connection, rehash, nil
	}
	e := s.event(o.tenant, audit.LoginUnknownUser, o.client, b, now)
	if found {
		e = aboutUser(s.event(o.tenant, audit.LoginWrongPassword, o.client, b, now), u)
	}
	s.store.Record(atConnection(e, connection.Name))
	return u, connection, false, &FormError{Reason: WrongCredentials}
}

// complete writes a successful login: a new session in place of the browser's
// older one (SEC-151, SEC-161), and the transaction's progress, in one commit.
func (s *Service) complete(ctx context.Context, o *ongoing, u tenant.User, c tenant.Connection, newHash string, b Browser, now time.Time) (Outcome, error) {
	value, err := s.random()
	if err != nil {
		return Outcome{}, err
	}
	var id [24]byte
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return Outcome{}, fmt.Errorf("draw a session id: %w", err)
	}
	settings := o.tenant.Settings
	at := s.clock.Now()
	session := tenant.Session{
		TenantID: o.tenant.ID, ID: base64.RawURLEncoding.EncodeToString(id[:]), Hash: token.Hash(value), UserID: u.ID,
		Connection: c.Name, AuthenticatedAt: at, CreatedAt: at, LastUsedAt: at,
		IdleExpiresAt: at.Add(min(settings.IdleSessionLifetime(), settings.SessionLifetime())), ExpiresAt: at.Add(settings.SessionLifetime()),
		Device: tenant.Device{
			InitialIP: b.Origin.IP, InitialUserAgent: b.Origin.UserAgent, LastIP: b.Origin.IP, LastUserAgent: b.Origin.UserAgent,
		},
	}
	replaces := ""
	if wellFormed(b.Session) {
		old, err := s.store.SessionByHash(ctx, o.tenant.ID, token.Hash(b.Session))
		if err == nil {
			replaces = old.ID
		} else if !errors.Is(err, tenant.ErrNotFound) {
			return Outcome{}, fmt.Errorf("read the older session: %w", err)
		}
	}
	o.tx.SessionID, o.tx.UserID = session.ID, u.ID
	e := atConnection(aboutUser(s.event(o.tenant, audit.LoginSucceeded, o.client, b, now), u), c.Name)
	e.SessionID, e.Audience, e.Scope = session.ID, o.audience, o.scopes.String()
	err = s.store.CompleteLogin(ctx, tenant.Login{
		Session: session, Replaces: replaces, Transaction: o.tx, UserVersion: u.Version, IP: b.Origin.IP, NewPasswordHash: newHash, Event: e,
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("write login: %w", err)
	}
	out := Outcome{Cookies: Cookies{Session: value, SessionLifetime: settings.SessionLifetime()}}
	if settings.SessionCookie != nil && settings.SessionCookie.Mode == "non-persistent" {
		out.Cookies.SessionLifetime = 0
	}
	return out, nil
}

// ConsentView is what the consent page shows (SEC-41).
type ConsentView struct {
	ClientName string
	// UserName is who is about to consent.
	UserName string
	// APIName is empty when no API is asked for.
	APIName string
	Scopes  []ConsentScope
	// Lifetime is that of an access token; Offline: access goes on without the user.
	Lifetime    time.Duration
	Offline     bool
	FormTargets []string
}

// ConsentScope is one thing the client asks for. Description is the API's own,
// and empty for standard scopes, which the page describes.
type ConsentScope struct{ Value, Description string }

// Consent is the view of the consent page. When the browser's session is no
// longer the transaction's the outcome says where to go instead (SEC-42).
func (s *Service) Consent(ctx context.Context, t tenant.Tenant, state string, b Browser) (ConsentView, Outcome, error) {
	now := s.clock.Now()
	o, err := s.resume(ctx, t, state, b, now)
	if err != nil {
		return ConsentView{}, Outcome{}, err
	}
	l, err := s.signedIn(ctx, t, b.Session, now)
	if err != nil {
		return ConsentView{}, Outcome{}, err
	}
	if !o.belongsTo(l) {
		return ConsentView{}, Outcome{Page: LoginPage, State: state}, nil
	}
	v := ConsentView{
		ClientName: o.client.Name, UserName: l.user.Name, Lifetime: codeTokenLifetime, Offline: o.scopes.Has(tenant.OfflineAccess),
		FormTargets: o.formTargets(),
	}
	if l.user.Email != "" {
		v.UserName = l.user.Email
	}
	descriptions := map[string]string{}
	if o.api != nil {
		if v.APIName, v.Lifetime = o.api.Name, o.api.TokenLifetime(); v.APIName == "" {
			v.APIName = o.api.Identifier
		}
		for _, sc := range o.api.Scopes {
			descriptions[sc.Value] = sc.Description
			if sc.Description == "" {
				descriptions[sc.Value] = sc.Value
			}
		}
	}
	for _, sc := range o.scopes {
		v.Scopes = append(v.Scopes, ConsentScope{sc, descriptions[sc]})
	}
	return v, Outcome{}, nil
}

// codeTokenLifetime is that of an opaque token from the token endpoint (tokens.md §5).
const codeTokenLifetime = 86400 * time.Second

// SubmitConsent takes the user's decision.
func (s *Service) SubmitConsent(ctx context.Context, t tenant.Tenant, state string, allow bool, b Browser) (Outcome, error) {
	now := s.clock.Now()
	if allow {
		return s.carryOn(ctx, t, state, b, true, now)
	}
	o, err := s.resume(ctx, t, state, b, now)
	if err != nil {
		return Outcome{}, err
	}
	l, err := s.signedIn(ctx, t, b.Session, now)
	if err != nil {
		return Outcome{}, err
	}
	return s.finish(ctx, o, oauth.NewError(oauth.AccessDenied, "User did not authorize the request", nil).WithReason("user_denied"), l, b, now)
}
