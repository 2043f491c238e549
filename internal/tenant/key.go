package tenant

import "time"

// KeyState is where a signing key is in its life (keys-and-validation.md §1.1).
type KeyState string

// A key is published before it signs, and after it has signed.
const (
	KeyNext     KeyState = "next"
	KeyCurrent  KeyState = "current"
	KeyPrevious KeyState = "previous"
	KeyRevoked  KeyState = "revoked"
)

// SigningKey is a key pair of the tenant's ring.
type SigningKey struct {
	TenantID string
	// Kid is never used again (SEC-145).
	Kid string
	// Algorithm is the family: RSA, ES256 or EdDSA. One RSA key serves RS256 and PS256.
	Algorithm string
	State     KeyState
	// Private is the PKCS #8 key, sealed by the tenant's data key (SEC-137), or
	// where the key is kept if not here; empty for a key that must not sign.
	Private string
	// Certificate is the self-signed certificate, base64 of its DER form; empty
	// for keys that are not RSA.
	Certificate string
	// Public is the PKIX public key, base64 of its DER form.
	Public    string
	CreatedAt time.Time
	// CurrentSince and CurrentUntil bound the time it signed; zero means not yet.
	CurrentSince time.Time
	CurrentUntil time.Time
	RevokedAt    time.Time
	// LongestLifetime is the longest life of a token the key has signed; zero
	// for a key that has signed none. Where it is not known it is
	// MaxTokenLifetime.
	LongestLifetime time.Duration
}

// MaxTokenLifetime is the longest life of any token (tokens.md §6).
const MaxTokenLifetime = 30 * 24 * time.Hour

// KeySetLifetime is how long a cache may use a key set by what its answer
// announces: max-age and stale-while-revalidate together.
const KeySetLifetime = 30 * time.Second

// keySlack is for clocks that differ and requests under way: a token may be
// signed a little after its key was rotated out.
const keySlack = 5 * time.Minute

// NeededUntil is when the last token of a key that no longer signs has expired,
// for clocks that differ too (SEC-141).
func (k SigningKey) NeededUntil() time.Time {
	if k.LongestLifetime == 0 {
		return k.CurrentUntil.Add(keySlack)
	}
	return k.CurrentUntil.Add(k.LongestLifetime + keySlack)
}

// KeyMove is what a rotation does to the keys of one algorithm.
type KeyMove struct {
	// From stops signing, To begins, and Next is published to be the next one.
	From, To string
	Next     SigningKey
}

// KeyRotation moves the keys of a tenant on, all or none.
type KeyRotation struct {
	TenantID string
	Moves    []KeyMove
	At       time.Time
	Event    Event
	// Warning is a second event, or has no type.
	Warning Event
}

// KeyChange takes a key out of the key set, or puts it back, if it is in state From.
type KeyChange struct {
	TenantID string
	Kid      string
	From, To KeyState
	At       time.Time
	// LongestLifetime is that of the key as judged, or AnyLifetime.
	LongestLifetime time.Duration
	Event           Event
}

// KeyReplacement puts a key that was not made here on the ring.
type KeyReplacement struct {
	Key SigningKey
	// Replaces is the key in whose place it comes: a current one becomes
	// previous, a next one is revoked. Empty: the place is free.
	Replaces string
	At       time.Time
	Event    Event
}

// AnyLifetime changes a key whatever it has signed since it was judged.
const AnyLifetime time.Duration = -1

// SignatureCount is how many tokens of one key expire in the hour before Until.
type SignatureCount struct {
	Kid    string
	Until  time.Time
	Signed int64
}

// Secret is a tenant secret with versions: what refresh-token MACs are made with.
type Secret struct {
	TenantID string
	// Purpose is refresh_token.
	Purpose string
	Version uint16
	// Sealed is the secret, sealed by the tenant's data key.
	Sealed    string
	CreatedAt time.Time
}
