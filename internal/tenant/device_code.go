package tenant

import "time"

// DeviceCode is a device's request to be let in (RFC 8628), from its first step
// to its deadline. One user decides about it in a browser, one client redeems it.
type DeviceCode struct {
	TenantID string `json:"-"`
	// Hash is the hash of the device code, UserCode that of the user code; the
	// values are not kept (SEC-66).
	Hash     string `json:"-"`
	UserCode string `json:"-"`
	ClientID string `json:"-"`
	// Audience and RequestedScope are as asked for.
	Audience       string `json:"audience,omitempty"`
	RequestedScope string `json:"requested_scope,omitempty"`
	// Device is where the request came from, to show to the user.
	Device Device `json:"device"`

	CreatedAt time.Time `json:"-"`
	ExpiresAt time.Time `json:"-"`
	// PolledAt is when the client last asked; zero means not yet.
	PolledAt time.Time `json:"-"`
	// ExpiryTold: the client has been told once that it is too late.
	ExpiryTold bool `json:"-"`

	// Decision is empty, DeviceAllowed or DeviceDenied; what follows it is set
	// with it.
	Decision  string    `json:"-"`
	DecidedAt time.Time `json:"-"`
	UserID    string    `json:"-"`
	// Scopes are those the user has seen and allowed.
	Scopes     []string  `json:"scopes,omitempty"`
	ConsentID  string    `json:"consent_id,omitempty"`
	Connection string    `json:"connection,omitempty"`
	AuthTime   time.Time `json:"auth_time,omitzero"`
	AMR        []string  `json:"amr,omitempty"`

	// RedeemedAt is zero until the code is used up; FamilyID is what that issued.
	RedeemedAt time.Time `json:"-"`
	FamilyID   FamilyID  `json:"-"`
}

// Decisions about a device.
const (
	DeviceAllowed = "allowed"
	DeviceDenied  = "denied"
)

// CodeTry is one try to name a device by its user code. Tries that find nothing
// are counted by browser and by source, and refused beyond the limits (SEC-66).
type CodeTry struct {
	TenantID string
	// UserCode is the hash of what was typed.
	UserCode string
	// Browser and Source name who tries; an empty one is not counted.
	Browser, Source           string
	BrowserLimit, SourceLimit int
	// Window is how long a try counts.
	Window time.Duration
	At     time.Time
}

// DeviceDecision is what the user's yes or no writes, in one commit: the
// decision, the consent it rests on, the session's use, the end of the
// transaction and the event.
type DeviceDecision struct {
	TenantID string
	At       time.Time
	Guard    Guard
	// Device is the request as decided; its Hash names it, and it is written only
	// if it still waits.
	Device DeviceCode
	// Consent is inserted or widened; nil leaves it alone.
	Consent *Consent
	// SessionID is used: LastUsedAt, IdleExpiresAt and ClientID are written.
	SessionID           string
	IdleExpiresAt       time.Time
	TransactionID       string
	TransactionRevision int64
	Event               Event
}

// Counted are those whose wrong tries are counted, with their limits.
func (t CodeTry) Counted() []TryLimit {
	var out []TryLimit
	for _, l := range []TryLimit{{t.Browser, t.BrowserLimit}, {t.Source, t.SourceLimit}} {
		if l.Who != "" {
			out = append(out, l)
		}
	}
	return out
}

// TryLimit is how many wrong tries one browser or source has in a window.
type TryLimit struct {
	Who   string
	Limit int
}
