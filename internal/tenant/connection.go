package tenant

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// DefaultConnection is the database connection made at first start.
const DefaultConnection = "Username-Password-Authentication"

// DatabaseStrategy is the strategy of database connections, and the provider
// part of their users' ids.
const DatabaseStrategy = "auth0"

// Connection is a source of users.
type Connection struct {
	TenantID       string            `json:"-"`
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	DisplayName    string            `json:"display_name,omitempty"`
	Strategy       string            `json:"strategy"`
	Options        ConnectionOptions `json:"options"`
	EnabledClients []string          `json:"enabled_clients"`
	Realms         []string          `json:"realms,omitempty"`

	CreatedAt time.Time       `json:"-"`
	Document  json.RawMessage `json:"-"`
}

// ConnectionOptions are the options of a database connection the server acts on.
type ConnectionOptions struct {
	// PasswordPolicy is none, low, fair, good or excellent; empty means good.
	PasswordPolicy    string             `json:"passwordPolicy,omitempty"`
	Complexity        PasswordComplexity `json:"password_complexity_options"`
	DisableSignup     bool               `json:"disable_signup,omitempty"`
	RequiresUsername  bool               `json:"requires_username,omitempty"`
	ImportMode        bool               `json:"import_mode,omitempty"`
	BruteForceProtect bool               `json:"brute_force_protection,omitempty"`
}

// PasswordComplexity overrides the minimal length of the policy; zero means not.
type PasswordComplexity struct {
	MinLength int `json:"min_length,omitempty"`
}

// EnabledFor tells whether the client's users may sign in here.
func (c Connection) EnabledFor(clientID string) bool {
	return slices.Contains(c.EnabledClients, clientID)
}

// Database tells whether the users are in our own store.
func (c Connection) Database() bool { return c.Strategy == DatabaseStrategy }

// ParseConnection reads the document of a connection.
func ParseConnection(tenantID string, document []byte) (Connection, error) {
	c := Connection{TenantID: tenantID, Document: document}
	if err := json.Unmarshal(document, &c); err != nil {
		return Connection{}, fmt.Errorf("parse connection document: %w", err)
	}
	return c, nil
}
