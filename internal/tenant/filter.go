package tenant

import "time"

// ClientFilter selects clients; nil and empty members select nothing away.
type ClientFilter struct {
	Global     *bool
	FirstParty *bool
	AppTypes   []string
	// Name is exact; the command line finds its own clients by it.
	Name string
}

// ClientGrantFilter selects client grants.
type ClientGrantFilter struct {
	ClientID    string
	Audience    string
	SubjectType string
}

// ConnectionFilter selects connections.
type ConnectionFilter struct {
	Name       string
	Strategies []string
}

// RefreshTokenFilter selects families. Ended ones are left out unless Ended.
type RefreshTokenFilter struct {
	UserID    string
	ClientID  string
	Audience  string
	SessionID string
	// Rotating limits to rotating or to reusable families; nil means both.
	Rotating *bool
	// IDs limits to these families.
	IDs   []FamilyID
	Ended bool
	// IssuedUntil leaves out families that were issued later; zero leaves out none.
	IssuedUntil time.Time
	// Now is the instant at which expired families count as ended.
	Now time.Time
}

// SessionFilter selects sessions that live at Now.
type SessionFilter struct {
	ID     string
	UserID string
	Now    time.Time
}

// ConsentFilter selects consents.
type ConsentFilter struct {
	ID       string
	UserID   string
	ClientID string
	Audience string
}

// Deletion is the end of something others hang on: what hangs on it ends in the
// same commit, and access tokens that are out become unusable at our endpoints
// (SEC-134, D5).
type Deletion struct {
	TenantID string
	ID       string
	At       time.Time
	Reason   string
	// DeniedUntil is when the last access token that hangs on it has expired.
	DeniedUntil time.Time
	// FamilyHash is the keyed hash of a family in its tokens' jti (D5): the store
	// asks for it for each family it ends, to put it on the denylist.
	FamilyHash func(FamilyID) string
	Event      Event
}

// FieldKind is how the values of a searched field compare.
type FieldKind int

const (
	// FieldText compares exactly.
	FieldText FieldKind = iota + 1
	// FieldFold compares without regard to case.
	FieldFold
	// FieldNumber compares as an integer.
	FieldNumber
	// FieldBool is true or false.
	FieldBool
	// FieldTime compares as an instant: RFC 3339, a day (2026-03-01), or Unix milliseconds.
	FieldTime
)

var userFields = map[string]FieldKind{
	"user_id": FieldText, "username": FieldText, "phone_number": FieldText, "picture": FieldText, "last_ip": FieldText,
	"email": FieldFold, "name": FieldFold, "given_name": FieldFold, "family_name": FieldFold, "nickname": FieldFold,
	"email.domain": FieldFold, "identities.connection": FieldText, "identities.provider": FieldText, "identities.user_id": FieldText,
	"email_verified": FieldBool, "phone_verified": FieldBool, "blocked": FieldBool,
	"logins_count": FieldNumber,
	"created_at":   FieldTime, "updated_at": FieldTime, "last_login": FieldTime, "last_password_reset": FieldTime,
}

var eventFields = map[string]FieldKind{
	"type": FieldText, "description": FieldText, "reason": FieldText, "client_id": FieldText, "client_name": FieldText,
	"connection": FieldText, "connection_id": FieldText, "user_id": FieldText, "user_name": FieldText, "audience": FieldText,
	"scope": FieldText, "strategy": FieldText, "strategy_type": FieldText, "ip": FieldText, "hostname": FieldText,
	"user_agent": FieldText, "log_id": FieldText, "session_id": FieldText,
	"date": FieldTime,
}

// UserField tells whether users can be searched and sorted by name, and how it compares.
func UserField(name string) (FieldKind, bool) { k, ok := userFields[name]; return k, ok }

// EventField tells whether events can be searched by name, and how it compares.
func EventField(name string) (FieldKind, bool) { k, ok := eventFields[name]; return k, ok }
