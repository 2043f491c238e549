package verify

import "errors"

// refusal is an error about the token: it will never pass.
type refusal string

func (r refusal) Error() string { return "verify: " + string(r) }

// Is makes every refusal an ErrInvalidToken.
func (r refusal) Is(target error) bool { return target == ErrInvalidToken }

// ErrInvalidToken is every error that is about the token and not about us:
// errors.Is(err, ErrInvalidToken) means 401, and false means 503.
var ErrInvalidToken = errors.New("verify: invalid token")

// The reasons to refuse a token. Each is an ErrInvalidToken.
var (
	// ErrMalformed: not a signed JWT in its one spelling, or larger than 16 KiB.
	ErrMalformed error = refusal("malformed token")
	// ErrAlgorithm: the token's alg is not one of Options.Algorithms.
	ErrAlgorithm error = refusal("algorithm not allowed")
	// ErrUnknownKey: the issuer's key set has no key of this kid and algorithm.
	ErrUnknownKey error = refusal("unknown signing key")
	// ErrSignature: the signature is not the issuer's.
	ErrSignature error = refusal("bad signature")
	// ErrIssuer: iss is not exactly Options.Issuer.
	ErrIssuer error = refusal("wrong issuer")
	// ErrType: typ says that this is another kind of token.
	ErrType error = refusal("wrong token type")
	// ErrExpired: the time is exp or later.
	ErrExpired error = refusal("token expired")
	// ErrNotYetValid: nbf or iat is still to come.
	ErrNotYetValid error = refusal("token not valid yet")
	// ErrAudience: aud holds none of Options.Audience.
	ErrAudience error = refusal("wrong audience")
	// ErrRevoked: the revocation feed names the token.
	ErrRevoked error = refusal("token revoked")
	// ErrInactive: asked about the token, the issuer said that it is not active.
	ErrInactive error = refusal("token not active")
	// ErrClaims: a registered claim is missing or has the wrong type.
	ErrClaims error = refusal("unusable claims")
)

// ErrUnavailable says that the key set, the issuer's opinion or a fresh enough
// revocation feed could not be had, so that the token can be neither accepted
// nor refused. The error also wraps the reason.
var ErrUnavailable = errors.New("verify: cannot tell at the moment")
