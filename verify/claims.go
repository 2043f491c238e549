package verify

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Claims are the claims of a token that a Verifier has verified. Only a
// Verifier makes them (SEC-105); the zero value holds nothing and grants
// nothing.
type Claims struct{ c *claims }

// claims are the claims as they were signed and those read on the way.
type claims struct {
	payload       []byte
	members       []jose.Member
	iss, sub      string
	aud           []string
	one           [1]string // aud, if that is a single one
	exp, nbf, iat time.Time
}

// none stands in for the zero Claims.
func (c Claims) in() claims {
	if c.c == nil {
		return claims{}
	}
	return *c.c
}

// text is a claim's value if it is a string.
func (c *claims) text(name string) string {
	value := jose.Find(c.members, name)
	if value == nil {
		return ""
	}
	s, _ := jose.StringValue(value)
	return s
}

// Text returns a claim that is a string, or "" when there is none or it is of
// another type.
func (c Claims) Text(name string) string {
	in := c.in()
	return in.text(name)
}

// Issuer is iss, which is Options.Issuer.
func (c Claims) Issuer() string { return c.in().iss }

// Subject is sub: the user's id, or for a client's own token the client's
// followed by "@clients".
func (c Claims) Subject() string { return c.in().sub }

// Audience is aud.
func (c Claims) Audience() []string { return append([]string(nil), c.in().aud...) }

// ExpiresAt is exp, in UTC.
func (c Claims) ExpiresAt() time.Time { return c.in().exp }

// IssuedAt is iat, in UTC; zero when absent.
func (c Claims) IssuedAt() time.Time { return c.in().iat }

// NotBefore is nbf, in UTC; zero when absent.
func (c Claims) NotBefore() time.Time { return c.in().nbf }

// ID is jti.
func (c Claims) ID() string { return c.Text("jti") }

// ClientID is the client that the token was issued to: client_id (RFC 9068
// §2.2), or azp.
func (c Claims) ClientID() string {
	if id := c.Text("client_id"); id != "" {
		return id
	}
	return c.Text("azp")
}

// Scopes are the scopes granted, in the token's order (RFC 6749 §3.3).
func (c Claims) Scopes() []string { return strings.Fields(c.Text("scope")) }

// HasScope reports whether scope was granted. Whole values are compared:
// "read" is not in "read:all" (SEC-104).
func (c Claims) HasScope(scope string) bool {
	for s := range strings.FieldsSeq(c.Text("scope")) {
		if s == scope {
			return true
		}
	}
	return false
}

// Permissions are the user's permissions for this API, when the API adds them
// to its tokens.
func (c Claims) Permissions() []string {
	var all []string
	if c.Claim("permissions", &all) != nil {
		return nil
	}
	return all
}

// HasPermission reports whether the user has a permission; like HasScope it
// compares whole values (SEC-104).
func (c Claims) HasPermission(permission string) bool {
	for _, p := range c.Permissions() {
		if p == permission {
			return true
		}
	}
	return false
}

// ErrNoClaim is returned by Claim for a claim that the token does not have.
var ErrNoClaim = errors.New("verify: no such claim")

// Claim decodes one claim into v, as encoding/json does. The name is matched
// exactly. A claim that is not there is ErrNoClaim.
func (c Claims) Claim(name string, v any) error {
	value := jose.Find(c.in().members, name)
	if value == nil {
		return ErrNoClaim
	}
	return json.Unmarshal(value, v)
}

// Decode decodes all claims into v, as encoding/json does, which matches the
// names of struct fields without regard to case; Claim does not.
func (c Claims) Decode(v any) error {
	in := c.in()
	if in.payload == nil {
		return ErrNoClaim
	}
	return json.Unmarshal(in.payload, v)
}

// Raw returns a copy of the claims in JSON, as they were signed.
func (c Claims) Raw() []byte { return append([]byte(nil), c.in().payload...) }

// DecodeUnverified returns the header and the payload of a JWT, in JSON. It
// verifies NOTHING: anyone can have written them. It is for showing a token to
// a person, never for a decision; use Verifier.Verify for those.
func DecodeUnverified(raw string) (header, payload []byte, err error) {
	t, err := jose.ParseCompact(raw)
	if err != nil {
		return nil, nil, ErrMalformed
	}
	return t.Header, t.Payload, nil
}
