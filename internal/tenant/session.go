package tenant

import (
	"encoding/json"
	"time"
)

// Session is a browser's login at the tenant (single sign-on).
type Session struct {
	TenantID string
	// ID is the sid of ID tokens, public; 32 characters.
	ID string
	// Hash is the hash of the cookie's value; the value is not kept (SEC-151).
	Hash       string
	UserID     string
	Connection string
	// AuthenticatedAt is when the user last proved who they are (auth_time).
	AuthenticatedAt time.Time
	AMR             []string
	CreatedAt       time.Time
	LastUsedAt      time.Time
	// IdleExpiresAt and ExpiresAt are deadlines: dead at the instant itself.
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	// Clients are the ids of clients that got tokens or codes in this session.
	Clients []string
	Device  Device
	// Metadata are an administrator's notes.
	Metadata map[string]string
}

// Expired tells whether the session is dead at now.
func (s Session) Expired(now time.Time) bool {
	return !now.Before(s.IdleExpiresAt) || !now.Before(s.ExpiresAt)
}

// SessionEnd ends at most Limit live sessions that match, in one commit: oldest
// first, with the families bound to them where WithFamilies (SEC-124).
type SessionEnd struct {
	// Deletion says when, why and for how long access tokens are denied; its ID
	// is not looked at. Its Event is written even where nothing matches.
	Deletion
	Filter       SessionFilter
	WithFamilies bool
	// FamilyEvent is written for each family; the store fills in whose it is.
	FamilyEvent Event
	Limit       int
}

// Device is what a session or a refresh token knows of where it lives.
type Device struct {
	Name             string `json:"name,omitempty"`
	InitialIP        string `json:"initial_ip,omitempty"`
	InitialASN       string `json:"initial_asn,omitempty"`
	InitialUserAgent string `json:"initial_user_agent,omitempty"`
	LastIP           string `json:"last_ip,omitempty"`
	LastASN          string `json:"last_asn,omitempty"`
	LastUserAgent    string `json:"last_user_agent,omitempty"`
}

// Transaction is a login in progress: the authorization request as it was
// accepted, and how far the user has come (SEC-32, SEC-33).
type Transaction struct {
	TenantID string
	// ID is the hash of the value in the page's address.
	ID string
	// Binding is the hash of the browser's transaction cookie.
	Binding string
	// Request is the oauth.AuthorizationRequest, as JSON.
	Request json.RawMessage
	// SessionID is set once the user has authenticated in this transaction.
	SessionID string
	UserID    string
	CreatedAt time.Time
	// ExpiresAt is at most 15 minutes after CreatedAt.
	ExpiresAt time.Time
	// Revision is raised by each write; a write happens only at the revision judged.
	Revision int64
}

// Code is an authorization code (RFC 6749 §4.1.2), bound to all that SEC-49 lists.
type Code struct {
	TenantID string `json:"-"`
	// Hash is the hash of the value; the value is not kept (SEC-47).
	Hash        string `json:"-"`
	ClientID    string `json:"client_id"`
	RedirectURI string `json:"redirect_uri"`
	// RedirectURISent: the request named it, so the exchange must (RFC 6749 §4.1.3).
	RedirectURISent     bool     `json:"redirect_uri_sent"`
	CodeChallenge       string   `json:"code_challenge,omitempty"`
	CodeChallengeMethod string   `json:"code_challenge_method,omitempty"`
	Audience            string   `json:"audience,omitempty"`
	Scopes              []string `json:"scopes"`
	// RequestedScope is the scope parameter as it was sent.
	RequestedScope string    `json:"requested_scope,omitempty"`
	Nonce          string    `json:"nonce,omitempty"`
	UserID         string    `json:"user_id"`
	SessionID      string    `json:"session_id,omitempty"`
	ConsentID      string    `json:"consent_id,omitempty"`
	Connection     string    `json:"connection,omitempty"`
	AuthTime       time.Time `json:"auth_time"`
	// WithAuthTime: max_age or prompt=login was sent, so the ID token has auth_time.
	WithAuthTime bool     `json:"with_auth_time,omitempty"`
	AMR          []string `json:"amr,omitempty"`

	CreatedAt time.Time `json:"-"`
	ExpiresAt time.Time `json:"-"`
	// RedeemedAt is zero until the code is used up.
	RedeemedAt time.Time `json:"-"`
	// FamilyID is the family its redemption issued, or empty.
	FamilyID FamilyID `json:"-"`
}

// The authorization in the jti of access tokens of a code that issued no family
// is one of these and the code's hash (D5).
const (
	CodeAuthorization   = "code "
	DeviceAuthorization = "device "
)

// Consent is what a user allowed a client; the product says grants.
type Consent struct {
	TenantID string
	// ID is 24 lower-case hex digits.
	ID       string
	UserID   string
	ClientID string
	// Audience is empty for tokens without an API.
	Audience  string
	Scopes    []string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Ticket is a one-time link: making the first administrator.
type Ticket struct {
	TenantID string
	// Hash is the hash of the value in the link.
	Hash string
	// Purpose is administrator.
	Purpose   string
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time
}

// Redemption is the one write of a code exchange.
type Redemption struct {
	TenantID string
	CodeHash string
	At       time.Time
	Guard    Guard
	// Issue is the family to insert, or nil when no refresh token is due.
	Issue *Issue
	Event Event
}

// MarkSubject names what a "not before" mark is on (D5, SEC-133): Kind is user,
// client, audience or tenant; or client_grant, whose ID is the client's id, a
// space and the audience: the machine tokens of a grant that lost scopes.
type MarkSubject struct{ Kind, ID string }

// Login is what a successful authentication in a browser writes, in one commit:
// the user's login statistics, the new session, the end of the session it
// replaces, the transaction's progress and the event.
type Login struct {
	Session Session
	// Replaces is the id of the browser's older session, ended here (SEC-161).
	Replaces string
	// Transaction is written at Transaction.Revision, or has an empty ID.
	Transaction Transaction
	UserVersion int64
	IP          string
	// NewPasswordHash replaces the stored hash when its parameters are old.
	NewPasswordHash string
	Event           Event
}

// Grant is what the answer to an authorization request writes, in one commit:
// the code, the consent it rests on, the session's use, the end of the
// transaction and the event.
type Grant struct {
	TenantID string
	At       time.Time
	Guard    Guard
	// Code is nil when the response type has no code.
	Code *Code
	// Consent is inserted or widened; nil leaves it alone.
	Consent *Consent
	// SessionID is used: LastUsedAt, IdleExpiresAt and ClientID are written.
	SessionID     string
	ClientID      string
	IdleExpiresAt time.Time
	// TransactionID is deleted, or empty.
	TransactionID       string
	TransactionRevision int64
	Event               Event
}
