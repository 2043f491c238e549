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
	// Private is the PKCS #8 key, sealed by the tenant's data key (SEC-137).
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
