package tenant

import "time"

// Event is one line of the tenant's log: what happened, for the operator (D13).
// No member ever holds a token, code, secret or password (SEC-230).
type Event struct {
	TenantID string
	// ID is 56 decimal digits whose order is time order; the store gives it.
	ID string
	At time.Time
	// Type is the vendor's code: seccft, fertft, … (management-endpoints.md §14).
	Type        string
	Description string
	// Reason is our stable word for why (D14), or empty.
	Reason       string
	ClientID     string
	ClientName   string
	Connection   string
	ConnectionID string
	UserID       string
	UserName     string
	Audience     string
	Scope        string
	Strategy     string
	StrategyType string
	SessionID    string
	// FamilyID and Generation name the refresh token and the value presented.
	FamilyID   FamilyID
	Generation uint32
	Origin     Origin
	// Details become the details member; values are JSON values.
	Details map[string]any
	// Count is how many like events this one stands for; zero means one.
	Count int
}

// EventQuery selects events.
type EventQuery struct {
	Where *Condition
	// UserID limits to one user's events, FamilyID to one family's.
	UserID   string
	FamilyID FamilyID
	// Ascending lists the oldest first; the default is the newest first.
	Ascending bool
}
