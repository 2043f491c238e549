package tenant

import "time"

// FamilyID is the public id of a refresh token: rt_ and the first 160 bits of
// the hash of its locator, 30 characters (D4).
type FamilyID string

// RefreshToken is a family: every value descended from one authorization is
// this one row, updated in place (D4). No value, no hash of a whole value and no
// locator is in it.
type RefreshToken struct {
	TenantID string
	ID       FamilyID
	ClientID string
	UserID   string
	// SessionID is the login it came from, or empty.
	SessionID string
	// ConsentID is the consent it was issued under, or empty.
	ConsentID string
	// Audience is the API of the authorization; empty means userinfo only.
	Audience string
	// Scopes are those granted; a narrowed exchange does not change them (SEC-113).
	Scopes []string
	// ResourceServers are audiences added by exchanges (refresh-tokens.md §11).
	ResourceServers []ResourcePolicy

	// Rotating: the live value is replaced at each use.
	Rotating bool
	// Generation is that of the live value; it counts rotations.
	Generation uint32
	// KeyVersion is the tenant secret the live value's MAC is under.
	KeyVersion uint16
	// Used: the live value has been presented. Its predecessor can then no
	// longer be repeated (SEC-116).
	Used bool
	// Attempt is the hash of the nonce of the rotation that made the live value:
	// the client's, or one of ours. A commit of unknown outcome is settled by it.
	Attempt string
	// PreviousAttempt is that of the rotation before.
	PreviousAttempt string
	// Repeats is how often the predecessor was presented again, at most 100.
	Repeats int

	// Twinned: the live value was given to two devices, and TwinRun is how many
	// values in a row were, up to it.
	Twinned bool
	TwinRun int

	CreatedAt time.Time
	// RotatedAt is when the live value was made by a rotation; zero at generation 0.
	RotatedAt       time.Time
	LastExchangedAt time.Time
	// IdleExpiresAt and ExpiresAt are deadlines; zero means never. Dead at the
	// instant itself.
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	// RevokedAt is zero while the family lives.
	RevokedAt time.Time
	// RevokedReason is reused, revoked_by_client, revoked_by_admin, user_deleted, …
	RevokedReason string

	AuthTime     time.Time
	WithAuthTime bool
	AMR          []string
	Connection   string
	// GrantType is the grant of the authorization, for gty (tokens.md §3.2).
	GrantType string
	Device    Device
	Metadata  map[string]string
	// Confirmation binds the value to a key (cnf), or is empty.
	Confirmation string
	Organization string
}

// Expired tells whether a deadline has come at now.
func (f RefreshToken) Expired(now time.Time) bool {
	return !f.IdleExpiresAt.IsZero() && !now.Before(f.IdleExpiresAt) ||
		!f.ExpiresAt.IsZero() && !now.Before(f.ExpiresAt)
}

// Rotation is one successful exchange of a refresh token, to be written on
// condition that the family is as judged (SEC-114, SEC-124).
type Rotation struct {
	TenantID string
	ID       FamilyID
	Guard    Guard
	// Kind says what is written: see the constants.
	Kind RotationKind
	// Generation, KeyVersion and Used are the family's as judged.
	Generation  uint32
	WasRotating bool
	Used        bool

	// At stamps the write (D10).
	At time.Time
	// IdleExpiresAt and ExpiresAt are the new deadlines, zero for never.
	IdleExpiresAt time.Time
	ExpiresAt     time.Time
	// NewKeyVersion is that of the successor's MAC.
	NewKeyVersion uint16
	// Attempt is the hash of the nonce of this rotation.
	Attempt string
	// NowRotating is the mode after the exchange (refresh-tokens.md §6).
	NowRotating bool
	// DropSiblings deletes the user's other reusable families with this client
	// and audience: the client has moved to rotation (SEC-111).
	DropSiblings bool
	// Dropped is the event written for each of them; the store fills in FamilyID.
	// Their access tokens go on the denylist under FamilyHash until DeniedUntil.
	Dropped     Event
	FamilyHash  func(FamilyID) string
	DeniedUntil time.Time
	Device      Device
	// AddedAudience and AddedScopes are remembered in ResourceServers.
	AddedAudience string
	AddedScopes   []string
	// Twin: this repetition gives the live value to a second device.
	Twin bool
	// Warning is a second event of the commit, or has no type.
	Warning Event
	Event   Event
}

// RotationKind is what a successful exchange does to its row.
type RotationKind int

const (
	// Rotate makes the next generation.
	Rotate RotationKind = iota
	// Keep leaves a reusable value in place and marks it used.
	Keep
	// Replay answers the predecessor again, inside the leeway (SEC-116).
	Replay
	// Stay moves a rotating family to a reusable value: the next generation,
	// which then stays (refresh-tokens.md §6).
	Stay
)

// Revocation ends a family: one statement on the row, the denylist entry of its
// access tokens and the event, in one commit (SEC-120).
type Revocation struct {
	TenantID string
	ID       FamilyID
	At       time.Time
	Reason   string
	// DeniedUntil is when the last access token of the family has expired.
	DeniedUntil time.Time
	// DeniedHash is the keyed hash of the authorization in its tokens' jti.
	DeniedHash string
	// DeleteConsent deletes the consent too, and ends its other families: those
	// of the same user, client and audience (refresh-tokens.md §9.2).
	DeleteConsent bool
	// FamilyHash is the keyed hash of those others, for the denylist; nil leaves
	// their access tokens alone.
	FamilyHash func(FamilyID) string
	Event      Event
}

// Issue is a new family, and what must hold for it.
type Issue struct {
	Family RefreshToken
	// Limit is Settings.FamilyLimit: the oldest live ones beyond it are deleted
	// in the same commit (SEC-112).
	Limit int
	// Evicted is the event written for each family deleted by the limit; the
	// store fills in FamilyID. The access tokens of a deleted family go on the
	// denylist under FamilyHash until DeniedUntil.
	Evicted     Event
	FamilyHash  func(FamilyID) string
	DeniedUntil time.Time
}
