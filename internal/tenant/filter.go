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
	// Now is the instant at which expired families count as ended.
	Now time.Time
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
