package authorize

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// Fields of our forms.
const (
	FieldIdentifier = "identifier"
	FieldEmail      = "email"
	FieldUsername   = "username"
	FieldPassword   = "password"
	FieldUserCode   = "user_code"
)

// FormReason is why a form was not taken.
type FormReason int

// The reasons; the page has a sentence for each.
const (
	// Missing: the field is empty.
	Missing FormReason = iota + 1
	// WrongCredentials: no such user, or another password. Which is not said.
	WrongCredentials
	// Busy: too many hashes wait; the same form works a moment later.
	Busy
	// Malformed: the field is no address or user name.
	Malformed
	// WeakPassword: FormError.Rules says what is missing.
	WeakPassword
	// CommonPassword: it is on the list of common ones.
	CommonPassword
	// OwnPassword: it is made of the user's own words.
	OwnPassword
	// LongPassword: more than 1,024 bytes.
	LongPassword
	// SignupRefused: the account was not made. Whether it exists is not said
	// (SEC-163).
	SignupRefused
	// UserExists says it, where the tenant chose so.
	UserExists
	// UnknownCode: no device waits under this code.
	UnknownCode
	// TooManyTries: too many codes were wrong in the last hour (SEC-66).
	TooManyTries
)

// FormError is why a form was not taken, and at which field; Field is empty when
// it is about the whole form.
type FormError struct {
	Field  string
	Reason FormReason
	// Rules are the password rules and whether each is kept.
	Rules []PasswordRule
}

// PasswordRule is a rule of the connection's password policy.
type PasswordRule struct {
	Text  string
	Kept  bool
	Items []PasswordRule
}

func (e *FormError) Error() string {
	return fmt.Sprintf("form not taken: field %q, reason %d", e.Field, e.Reason)
}

// SignupForm is what the sign-up page sends.
type SignupForm struct{ Email, Username, Password string }

// SubmitSignup makes a user and signs him in.
func (s *Service) SubmitSignup(ctx context.Context, t tenant.Tenant, state string, form SignupForm, b Browser) (Outcome, error) {
	now := s.clock.Now()
	o, err := s.resume(ctx, t, state, b, now)
	if err != nil {
		return Outcome{}, err
	}
	connection := o.connections[0]
	if connection.Options.DisableSignup { // SEC-176
		return Outcome{}, oauth.NewError(oauth.AccessDenied, "Public signup is disabled.", nil).WithReason("signup_disabled")
	}
	u, hash, err := s.newUser(ctx, t, connection, form, now)
	if err != nil {
		return Outcome{}, err
	}
	e := atConnection(aboutUser(s.event(t, audit.SignupSucceeded, o.client, b, now), u), connection.Name)
	err = s.store.CreateUser(ctx, u, hash, e)
	if errors.Is(err, tenant.ErrExists) {
		e = atConnection(s.event(t, audit.SignupFailed, o.client, b, now), connection.Name)
		e.UserName, e.Reason = u.Email, "user_exists"
		s.store.Record(e)
		if t.Settings.Flags.EnablePublicSignupUserExistsError {
			return Outcome{}, &FormError{Field: FieldEmail, Reason: UserExists}
		}
		return Outcome{}, &FormError{Reason: SignupRefused}
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("create user: %w", err)
	}
	out, err := s.judging(ctx, t, func(t tenant.Tenant) (Outcome, error) {
		o, err := s.resume(ctx, t, state, b, now)
		if err != nil {
			return Outcome{}, err
		}
		u, err := s.store.User(ctx, t.ID, u.ID)
		if err != nil {
			return Outcome{}, fmt.Errorf("read new user: %w", err)
		}
		return s.complete(ctx, o, u, connection, "", b, now)
	})
	if err != nil {
		return out, err
	}
	return s.afterLogin(ctx, t, state, out.Cookies, b, now)
}

// newUser judges the form and makes the user with the defaults of
// management-endpoints.md §4. The hash is computed whether or not the address is
// taken, so that time does not tell (SEC-163).
func (s *Service) newUser(ctx context.Context, t tenant.Tenant, c tenant.Connection, form SignupForm, now time.Time) (tenant.User, string, error) {
	email := tenant.CanonicalEmail(form.Email)
	username := strings.ToLower(strings.TrimSpace(form.Username))
	switch {
	case email == "":
		return tenant.User{}, "", &FormError{Field: FieldEmail, Reason: Missing}
	case !isEmail(email):
		return tenant.User{}, "", &FormError{Field: FieldEmail, Reason: Malformed}
	case c.Options.RequiresUsername && username == "":
		return tenant.User{}, "", &FormError{Field: FieldUsername, Reason: Missing}
	case c.Options.RequiresUsername && (len(username) > 128 || !onlyFrom(username, "_+-.!#$'^`~")):
		return tenant.User{}, "", &FormError{Field: FieldUsername, Reason: Malformed}
	case form.Password == "":
		return tenant.User{}, "", &FormError{Field: FieldPassword, Reason: Missing}
	}
	if err := judgePassword(policyOf(c), form.Password, email, username, t.Settings.FriendlyName); err != nil {
		return tenant.User{}, "", err
	}
	hash, err := s.passwords.Hash(ctx, form.Password)
	if errors.Is(err, password.ErrBusy) {
		return tenant.User{}, "", &FormError{Reason: Busy}
	}
	if err != nil {
		return tenant.User{}, "", fmt.Errorf("hash password: %w", err)
	}
	id, err := s.objectID()
	if err != nil {
		return tenant.User{}, "", err
	}
	nickname, _, _ := strings.Cut(email, "@")
	u := tenant.User{
		TenantID: t.ID, ID: tenant.DatabaseStrategy + "|" + id, Email: email, Name: email, Nickname: nickname, CreatedAt: now, UpdatedAt: now,
		Identities: []tenant.Identity{{Connection: c.Name, UserID: id, Provider: tenant.DatabaseStrategy}},
	}
	if c.Options.RequiresUsername {
		u.Username = username
	}
	return u, hash, nil
}

func policyOf(c tenant.Connection) password.Policy {
	return password.Policy{Level: c.Options.PasswordPolicy, MinLength: c.Options.Complexity.MinLength}
}

// rulesOf are the rules a new password must keep, to show before one is typed.
func rulesOf(c tenant.Connection) []PasswordRule {
	result, err := policyOf(c).Check("")
	if err != nil {
		return nil // the form itself will say so
	}
	return passwordRules(result.Rules)
}

// judgePassword turns the policy's answer into what the page shows.
func judgePassword(p password.Policy, pw string, words ...string) error {
	result, err := p.Check(pw, words...)
	switch {
	case errors.Is(err, password.ErrTooLong):
		return &FormError{Field: FieldPassword, Reason: LongPassword}
	case err != nil:
		return fmt.Errorf("check password: %w", err)
	case result.Verified:
		return nil
	case result.Name == password.DictionaryError:
		return &FormError{Field: FieldPassword, Reason: CommonPassword}
	case result.Name == password.UserInfoError:
		return &FormError{Field: FieldPassword, Reason: OwnPassword}
	}
	return &FormError{Field: FieldPassword, Reason: WeakPassword, Rules: passwordRules(result.Rules)}
}

func passwordRules(rules []password.Rule) []PasswordRule {
	var out []PasswordRule
	for _, r := range rules {
		text := r.Message
		if len(r.Format) > 0 {
			text = fmt.Sprintf(text, r.Format...)
		}
		out = append(out, PasswordRule{Text: text, Kept: r.Verified, Items: passwordRules(r.Items)})
	}
	return out
}

// isEmail accepts the addresses that mail systems and the vendor's clients do:
// printable, one @ with something before it, a dotted name after it.
func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || len(s) > 254 || strings.ContainsAny(s, " \"(),:;<>[\\]") ||
		strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if r <= 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return false
		}
	}
	dot := strings.LastIndexByte(domain, '.')
	return dot > 0 && dot < len(domain)-1 && !strings.Contains(domain, "@") && !strings.HasPrefix(domain, "-")
}

// Setup is the view of the page behind the first administrator's one-time link,
// while that is good (SEC-177).
func (s *Service) Setup(ctx context.Context, t tenant.Tenant, ticket string) (LoginView, error) {
	c, err := s.setupConnection(ctx, t, ticket)
	return LoginView{WithUsername: c.Options.RequiresUsername, PasswordRules: rulesOf(c)}, err
}

// setupConnection is where the administrator is made, if the link is good.
func (s *Service) setupConnection(ctx context.Context, t tenant.Tenant, ticket string) (tenant.Connection, error) {
	now := s.clock.Now()
	if !wellFormed(ticket) {
		return tenant.Connection{}, ticketGone()
	}
	k, err := s.store.Ticket(ctx, t.ID, token.Hash(ticket), now)
	if errors.Is(err, tenant.ErrNotFound) || err == nil && (k.Purpose != TicketAdministrator || !k.UsedAt.IsZero() || !now.Before(k.ExpiresAt)) {
		return tenant.Connection{}, ticketGone()
	}
	if err != nil {
		return tenant.Connection{}, fmt.Errorf("read ticket: %w", err)
	}
	c, err := s.store.Connection(ctx, t, tenant.DefaultConnection)
	if err != nil {
		return tenant.Connection{}, fmt.Errorf("read the default connection: %w", err)
	}
	return c, nil
}

// TicketAdministrator is the purpose of the first administrator's link, and
// TicketLifetime how long it works.
const (
	TicketAdministrator = "administrator"
	TicketLifetime      = 30 * time.Minute
)

func ticketGone() *oauth.Error {
	return oauth.NewError(oauth.AccessDenied, "This link has expired or was used.", nil).WithReason("ticket")
}

// SubmitSetup makes the first administrator and uses the link up, in one commit.
func (s *Service) SubmitSetup(ctx context.Context, t tenant.Tenant, ticket string, form SignupForm, b Browser) error {
	connection, err := s.setupConnection(ctx, t, ticket)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	u, hash, err := s.newUser(ctx, t, connection, form, now)
	if err != nil {
		return err
	}
	u.Administrator = true
	e := atConnection(aboutUser(s.event(t, audit.SignupSucceeded, tenant.Client{}, b, now), u), connection.Name)
	e.Reason = "first_administrator"
	err = s.store.UseTicket(ctx, t.ID, token.Hash(ticket), now, u, hash, e)
	switch {
	case errors.Is(err, tenant.ErrNotFound), errors.Is(err, tenant.ErrConflict):
		return ticketGone()
	case errors.Is(err, tenant.ErrExists):
		return &FormError{Field: FieldEmail, Reason: UserExists}
	case err != nil:
		return fmt.Errorf("use ticket: %w", err)
	}
	return nil
}
