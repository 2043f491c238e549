package tenant

import (
	"encoding/json"
	"strings"
	"time"
)

// User is a person. Its JSON form is the profile of the Management API, less
// what the answer's scopes hide.
type User struct {
	TenantID string `json:"-"`
	// ID is provider|id; it is the subject (sub) and is never given to another
	// principal (SEC-84).
	ID string `json:"user_id"`
	// Email is lower case for database users.
	Email         string          `json:"email,omitempty"`
	EmailVerified bool            `json:"email_verified"`
	Username      string          `json:"username,omitempty"`
	PhoneNumber   string          `json:"phone_number,omitempty"`
	PhoneVerified bool            `json:"phone_verified,omitempty"`
	Name          string          `json:"name,omitempty"`
	Nickname      string          `json:"nickname,omitempty"`
	GivenName     string          `json:"given_name,omitempty"`
	FamilyName    string          `json:"family_name,omitempty"`
	Picture       string          `json:"picture,omitempty"`
	Blocked       bool            `json:"blocked,omitempty"`
	UserMetadata  json.RawMessage `json:"user_metadata,omitempty"`
	AppMetadata   json.RawMessage `json:"app_metadata,omitempty"`
	Identities    []Identity      `json:"identities"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
	// LastLoginAt is zero before the first login.
	LastLoginAt         time.Time `json:"-"`
	LastIP              string    `json:"-"`
	LoginsCount         int64     `json:"-"`
	LastPasswordResetAt time.Time `json:"-"`
	// Attributes are further standard claims of the profile: middle_name,
	// preferred_username, profile, website, gender, birthdate, zoneinfo, locale,
	// address (tokens.md §7.1).
	Attributes map[string]json.RawMessage `json:"attributes,omitempty"`

	// Administrator may use the dashboard with every scope.
	Administrator bool `json:"administrator,omitempty"`
	// Version rises with every change that may end the user's rights (Guard).
	Version int64 `json:"-"`
}

// Identity is one account of a user at a connection.
type Identity struct {
	Connection string `json:"connection"`
	// UserID is the id without the provider.
	UserID   string `json:"user_id"`
	Provider string `json:"provider"`
	Social   bool   `json:"isSocial"`
}

// Connection is the connection of the user's first identity.
func (u User) Connection() string {
	if len(u.Identities) == 0 {
		return ""
	}
	return u.Identities[0].Connection
}

// CanonicalEmail is the one spelling under which an address is kept, compared
// and counted (SEC-164).
func CanonicalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// UserQuery selects users; empty members select nothing away.
type UserQuery struct {
	// Where is the parsed search, or nil.
	Where *Condition
	// Sort is a column of UserColumns, ascending unless Descending.
	Sort       string
	Descending bool
}

// Condition is a node of a parsed search (management-api.md §10): either a
// leaf on a field, or AND, OR, NOT over others.
type Condition struct {
	// Op is and, or, not, eq, prefix, contains, suffix, gt, gte, lt, lte, exists.
	Op string
	// Field is a name of the allow-list of the searched noun; only leaves have it.
	Field string
	Value string
	Nodes []Condition
}
