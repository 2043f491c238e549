// Package jose signs and checks the tokens we make ourselves: compact JWS
// (RFC 7515), JWK and JWKS (RFC 7517), the algorithms of RFC 7518 and RFC 8037
// that Bulla offers, and JWK thumbprints (RFC 7638).
//
// It promises an encoder that only appends, a parser that knows one spelling
// of every token, and signature checks whose algorithm is chosen by the key
// and never by the token alone.
//
// It refuses what our own tokens never need: unsigned and encrypted tokens,
// the JSON serialisations, critical header extensions, detached or unencoded
// payloads. It speaks no HTTP, reads no clock and knows nothing about claims;
// tokens made by others are the business of package assertion. All of the
// cryptography is the standard library's.
package jose

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Algorithm is a JWS algorithm name (RFC 7518 §3.1). Names are compared as
// they are, case included (SEC-93).
type Algorithm string

// The algorithms that this package signs and verifies.
const (
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	RS512 Algorithm = "RS512" // RSASSA-PKCS1-v1_5 with SHA-512
	PS256 Algorithm = "PS256" // RSASSA-PSS with SHA-256
	ES256 Algorithm = "ES256" // ECDSA on P-256 with SHA-256
	EdDSA Algorithm = "EdDSA" // Ed25519 (RFC 8037)
	HS256 Algorithm = "HS256" // HMAC with SHA-256
)

var (
	// ErrMalformed says that the input is not in the one form we read.
	ErrMalformed = errors.New("jose: malformed")
	// ErrSignature says that the signature is not one of this key over this input.
	ErrSignature = errors.New("jose: signature does not verify")
	// ErrKey says that the key may not be used with the algorithm: wrong type,
	// too weak, or marked for something else (SEC-87, SEC-90).
	ErrKey = errors.New("jose: key does not fit the algorithm")
)

// Secret is a symmetric key. Every printed, JSON and logged form of it is
// redacted (SEC-248); convert it to []byte to use it.
type Secret []byte

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
