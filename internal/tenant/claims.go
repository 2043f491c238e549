package tenant

import (
	"errors"
	"time"
)

// Why one of our own access tokens is refused. The edges tell them apart on the
// wire (management-api.md §2); whatever is none of these is a fault (503).
var (
	// ErrTokenMalformed: not a token at all.
	ErrTokenMalformed = errors.New("malformed token")
	// ErrTokenSignature: a token whose signature or seal is not ours.
	ErrTokenSignature = errors.New("invalid token signature")
	// ErrTokenExpired: ours, and past its exp.
	ErrTokenExpired = errors.New("expired token")
	// ErrTokenInactive: ours and unexpired, but revoked, or its user or client
	// is gone, blocked or disabled (D5).
	ErrTokenInactive = errors.New("inactive token")
	// ErrTokenInvalid: genuine, but not an access token for here (issuer,
	// audience, kind).
	ErrTokenInvalid = errors.New("invalid token")
)

// Claims are the verified claims of one of our own access tokens, JWT or opaque.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
	ClientID string
	Scopes   []string
	// ID is the jti; its first part is the keyed hash of the authorization (D5).
	ID string
	// Authorization is that first part.
	Authorization string
	IssuedAt      time.Time
	ExpiresAt     time.Time
	// GrantType is gty: client-credentials names a machine's token.
	GrantType   string
	Permissions []string
	// Kid and Alg name the key that signed; empty for opaque tokens.
	Kid string
	Alg string
}

// Machine tells whether the token is a client's own.
func (c Claims) Machine() bool { return c.GrantType == "client-credentials" }
