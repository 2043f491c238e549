package authorize

import (
	"context"
	"encoding/json"
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

// Begin judges an authorization request (RFC 6749 §4.1.1, OIDC Core §3.1.2) and
// answers it, or opens a transaction and sends the browser to a page. An error
// is for our own error page: nothing may go to the address the request names.
func (s *Service) Begin(ctx context.Context, t tenant.Tenant, sent oauth.AuthorizationRequest, b Browser) (Outcome, error) {
	now := s.clock.Now()
	if b.Embedded && !slices.Contains(strings.Fields(sent.Prompt), "none") {
		b.Session = "" // security.md §30: from a frame the session serves only prompt=none
	}
	var located *request
	out, err := s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		q, refusal, err := s.judge(ctx, t, sent)
		located = q
		switch {
		case err != nil:
			return Outcome{}, err
		case refusal != nil:
			return s.refuse(q, refusal, nil, b, now), nil
		}
		return s.proceed(ctx, q, b, now)
	})
	if err == nil {
		return out, nil
	}
	if located == nil {
		s.recordRefusal(t, sent, err, b, now)
		return Outcome{}, err
	}
	// A client in a frame would wait for a page for a minute: a fault is told to
	// it as RFC 6749 §4.1.2.1 has it.
	return Outcome{Response: located.respondError(oauth.Unavailable(err)), Failure: err}, nil
}

// recordRefusal notes a request that got an error page.
func (s *Service) recordRefusal(t tenant.Tenant, sent oauth.AuthorizationRequest, err error, b Browser, now time.Time) {
	var e *oauth.Error
	if !errors.As(err, &e) || e.Status >= 500 {
		return
	}
	ev := s.event(t, audit.LoginFailed, tenant.Client{ID: sent.ClientID}, b, now)
	ev.Description, ev.Reason = e.Description, reason(e)
	s.store.Record(ev)
}

func reason(e *oauth.Error) string {
	if e.Reason != "" {
		return e.Reason
	}
	return e.Code
}

// refuse answers the client with e and notes it.
func (s *Service) refuse(q *request, e *oauth.Error, l *login, b Browser, now time.Time) Outcome {
	s.store.Record(s.refusal(q, e, l, b, now))
	return Outcome{Response: q.respondError(e)}
}

func (s *Service) refusal(q *request, e *oauth.Error, l *login, b Browser, now time.Time) tenant.Event {
	kind := audit.LoginFailed
	if q.prompts.none {
		kind = audit.SilentAuthFailed
	}
	ev := s.event(q.tenant, kind, q.client, b, now)
	ev.Description, ev.Reason, ev.Audience, ev.Scope = e.Description, reason(e), q.audience, q.Scope
	if l != nil {
		ev = aboutUser(ev, l.user)
		ev.SessionID = l.session.ID
	}
	return ev
}

// login is who is signed in at the browser.
type login struct {
	session tenant.Session
	user    tenant.User
}

// signedIn reads who is signed in; nil when nobody is. What is wrong with a
// cookie is never told: it is as no cookie (SEC-152).
func (s *Service) signedIn(ctx context.Context, t tenant.Tenant, cookie string, now time.Time) (*login, error) {
	if !wellFormed(cookie) {
		return nil, nil
	}
	session, err := s.store.SessionByHash(ctx, t.ID, token.Hash(cookie))
	if errors.Is(err, tenant.ErrNotFound) || err == nil && !alive(session, t.Settings, now) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	user, err := s.store.User(ctx, t.ID, session.UserID)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	return &login{session, user}, nil
}

// wellFormed tells whether v can be a random value of ours, so that nothing else
// costs a read.
func wellFormed(v string) bool { return len(v) == 43 && onlyFrom(v, "-_") }

// fits tells whether the session may serve the request: signed in at a database
// the client may use, as the user the client hinted at.
func (l *login) fits(q *request) bool {
	return l != nil && (q.hintSubject == "" || q.hintSubject == l.user.ID) &&
		slices.ContainsFunc(q.connections, func(c tenant.Connection) bool { return c.Name == l.session.Connection })
}

// facts gathers what decide needs. The consent is nil when there is no record.
func (s *Service) facts(ctx context.Context, q *request, l *login, interactive, allowed bool) (facts, *tenant.Consent, error) {
	f := facts{session: l.fits(q), interactive: interactive, allowed: allowed}
	if !f.session {
		return f, nil, nil
	}
	f.authenticatedAt = l.session.AuthenticatedAt
	consent, err := s.store.Consent(ctx, q.tenant.ID, l.user.ID, q.client.ID, q.audience)
	if errors.Is(err, tenant.ErrNotFound) {
		return f, nil, nil
	}
	if err != nil {
		return f, nil, fmt.Errorf("read consent: %w", err)
	}
	f.recorded = append(oauth.Scopes{}, consent.Scopes...)
	return f, &consent, nil
}

// proceed answers a fresh request from the browser's session, or opens a
// transaction.
func (s *Service) proceed(ctx context.Context, q *request, b Browser, now time.Time) (Outcome, error) {
	l, err := s.signedIn(ctx, q.tenant, b.Session, now)
	if err != nil {
		return Outcome{}, err
	}
	f, consent, err := s.facts(ctx, q, l, false, false)
	if err != nil {
		return Outcome{}, err
	}
	step := decide(q, f, now)
	if step != stepLogin && l.user.Blocked {
		return s.refuse(q, userBlocked(), l, b, now), nil
	}
	switch {
	case step == stepAnswer:
		return s.answer(ctx, answer{request: q, login: l, consent: consent, sso: true}, b, now)
	case !q.prompts.none:
		return s.open(ctx, q, l, step, b, now)
	case step == stepLogin:
		return s.refuse(q, oauth.NewError(oauth.LoginRequired, "Login required", nil), nil, b, now), nil
	}
	return s.refuse(q, oauth.NewError(oauth.ConsentRequired, "Consent required", nil), l, b, now), nil
}

func userBlocked() *oauth.Error {
	return oauth.NewError(oauth.Unauthorized, "user is blocked", nil).WithReason("user_blocked")
}

// open begins a transaction (SEC-32, SEC-33). A browser has one binding for all
// its transactions, so that two tabs do not end each other's.
func (s *Service) open(ctx context.Context, q *request, l *login, next step, b Browser, now time.Time) (Outcome, error) {
	state, err := s.random()
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	if !wellFormed(b.Binding) {
		if b.Binding, err = s.random(); err != nil {
			return Outcome{}, err
		}
		out.Cookies.Binding = b.Binding
	}
	accepted, err := json.Marshal(q.AuthorizationRequest)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode authorization request: %w", err)
	}
	tx := tenant.Transaction{
		TenantID: q.tenant.ID, ID: token.Hash(state), Binding: token.Hash(b.Binding), Request: accepted,
		CreatedAt: now, ExpiresAt: now.Add(transactionLifetime),
	}
	out.State, out.Page = state, LoginPage
	switch {
	case next == stepDevice:
		tx.SessionID, tx.UserID, out.Page = l.session.ID, l.user.ID, DevicePage
	case next == stepConsent:
		tx.SessionID, tx.UserID, out.Page = l.session.ID, l.user.ID, ConsentPage
	case q.ScreenHint == "signup" && !q.connections[0].Options.DisableSignup:
		out.Page = SignupPage
	}
	if err := s.store.CreateTransaction(ctx, tx); err != nil {
		return Outcome{}, fmt.Errorf("write transaction: %w", err)
	}
	return out, nil
}

// ongoing is a transaction and the request it is about, judged as of now.
type ongoing struct {
	*request
	tx tenant.Transaction
}

// resume finds the transaction that state names. Unknown, late, finished and
// another browser's are one answer (SEC-33).
func (s *Service) resume(ctx context.Context, t tenant.Tenant, state string, b Browser, now time.Time) (*ongoing, error) {
	gone := oauth.NewError(oauth.InvalidRequest, "This login has expired or is finished.", nil).WithReason("transaction")
	if !wellFormed(state) || !wellFormed(b.Binding) {
		return nil, gone
	}
	tx, err := s.store.Transaction(ctx, t.ID, token.Hash(state))
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("read transaction: %w", err)
	}
	if !now.Before(tx.ExpiresAt) || tx.Binding != token.Hash(b.Binding) {
		return nil, gone
	}
	var sent oauth.AuthorizationRequest
	if err := json.Unmarshal(tx.Request, &sent); err != nil {
		return nil, fmt.Errorf("decode transaction: %w", err)
	}
	q, refusal, err := s.judge(ctx, t, sent)
	if err != nil {
		return nil, err
	}
	if refusal != nil { // the client was changed meanwhile
		return nil, refusal
	}
	return &ongoing{q, tx}, nil
}

// carryOn takes a transaction whose user has authenticated to its next step.
// allowed says that the user has just consented.
func (s *Service) carryOn(ctx context.Context, t tenant.Tenant, state string, b Browser, allowed bool, now time.Time) (Outcome, error) {
	return s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		o, err := s.resume(ctx, t, state, b, now)
		if err != nil {
			return Outcome{}, err
		}
		l, err := s.signedIn(ctx, t, b.Session, now)
		if err != nil {
			return Outcome{}, err
		}
		if !o.belongsTo(l) {
			return s.startOver(ctx, o, state)
		}
		if l.user.Blocked {
			return s.finish(ctx, o, userBlocked(), l, b, now)
		}
		if o.Device != "" {
			return Outcome{Page: DevicePage, State: state}, nil // always an explicit yes (SEC-66)
		}
		f, consent, err := s.facts(ctx, o.request, l, true, allowed)
		if err != nil {
			return Outcome{}, err
		}
		switch decide(o.request, f, now) {
		case stepAnswer:
			sso := l.session.CreatedAt.Before(o.tx.CreatedAt)
			return s.answer(ctx, answer{request: o.request, login: l, consent: consent, tx: &o.tx, sso: sso}, b, now)
		case stepConsent:
			return Outcome{Page: ConsentPage, State: state}, nil
		}
		return s.startOver(ctx, o, state)
	})
}

// belongsTo tells whether the browser's session is the one that authenticated in
// this transaction: the user who consents is the user the code is for (SEC-42).
func (o *ongoing) belongsTo(l *login) bool {
	return l != nil && o.tx.SessionID != "" && o.tx.SessionID == l.session.ID && o.tx.UserID == l.user.ID
}

// startOver sends the browser back to the login page of the same transaction.
func (s *Service) startOver(ctx context.Context, o *ongoing, state string) (Outcome, error) {
	if o.tx.SessionID != "" {
		o.tx.SessionID, o.tx.UserID = "", ""
		if err := s.store.SaveTransaction(ctx, o.tx); err != nil {
			return Outcome{}, fmt.Errorf("write transaction: %w", err)
		}
	}
	return Outcome{Page: LoginPage, State: state}, nil
}

// finish ends a transaction with an error for the client.
func (s *Service) finish(ctx context.Context, o *ongoing, e *oauth.Error, l *login, b Browser, now time.Time) (Outcome, error) {
	if err := s.store.DeleteTransaction(ctx, o.tenant.ID, o.tx.ID, s.refusal(o.request, e, l, b, now)); err != nil {
		return Outcome{}, fmt.Errorf("end transaction: %w", err)
	}
	if o.Device != "" {
		return Outcome{}, e // nobody waits for an answer but the person at the page
	}
	return Outcome{Response: o.respondError(e)}, nil
}
