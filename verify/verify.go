// Package verify checks access tokens in the program that receives them, a
// resource server: JWTs signed by one issuer, whose keys it fetches, caches
// and replaces on its own.
//
// It promises that Claims are true when you hold them, that a key rotation is
// invisible, that no token, however forged, makes it fetch keys more than once
// an interval, and that an error tells "this token will never pass" (401) from
// "I cannot know at the moment" (503).
//
// It refuses unsigned and encrypted tokens, algorithms that were not
// configured, keys that a token brings along, plain HTTP, and tokens that are
// not in the Authorization header. It needs no module beside the standard
// library and works with any issuer that publishes OpenID Connect discovery.
package verify

import (
	"context"
	"crypto"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Verifier checks tokens of one issuer. Make it once with New and share it: it
// is safe for concurrent use and holds the key cache.
type Verifier struct {
	issuer     string
	audience   []string
	algorithms []jose.Algorithm
	spelled    spellings
	typ        string
	skew       time.Duration
	now        func() time.Time
	keys       *keySet
}

// Verify checks raw, a JWT, and returns its claims.
//
// An error that is ErrInvalidToken (ErrMalformed, ErrSignature, ErrExpired, …)
// means that this token will never pass: answer 401. Any other error, such as
// ErrUnavailable, means that the keys could not be had and that the same token
// may pass later: answer 503. No error repeats any part of the token (SEC-99).
//
// A key id that is not in the cache, or a signature that does not verify,
// refetches the issuer's key set and tries once more, at most once per
// RefetchInterval; callers that come during the fetch wait for it and share
// its result. The signature is checked before any claim is looked at, so a
// token that is both forged and expired is ErrSignature (SEC-95); then follow
// iss, typ, the times and aud, in this order.
//
// RFC 9068 §4; RFC 7519 §4.1; keys are matched by kid as in RFC 7517 §4.5.
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	t, err := jose.ParseCompact(raw)
	if err != nil {
		return Claims{}, ErrMalformed
	}
	if !v.allows(t.Alg) {
		return Claims{}, ErrAlgorithm
	}
	if err := v.checkSignature(ctx, &t); err != nil {
		return Claims{}, err
	}
	return v.checkClaims(&t)
}

func (v *Verifier) allows(alg jose.Algorithm) bool {
	for _, a := range v.algorithms {
		if a == alg {
			return true
		}
	}
	return false
}

// checkSignature looks the key up and, if that fails or the signature does,
// once more in a set that was fetched since (keys-and-validation.md §3).
func (v *Verifier) checkSignature(ctx context.Context, t *jose.Token) error {
	set, err := v.keys.usable(ctx)
	if err != nil {
		return err
	}
	key := set.find(t.Alg, t.Kid)
	if key != nil && key.Verify(t.Alg, t.SigningInput, t.Signature) == nil {
		return nil
	}
	newer, err := v.keys.refetch(ctx, set, t.Alg, t.Kid)
	if again := newer.find(t.Alg, t.Kid); again != nil && again != key && (key == nil || !sameKey(key, again)) {
		key = again
		if key.Verify(t.Alg, t.SigningInput, t.Signature) == nil {
			return nil
		}
	}
	switch {
	case key != nil:
		return ErrSignature // the key is known, so the token is judged even if the refetch failed
	case err != nil:
		return err
	}
	return ErrUnknownKey
}

func sameKey(a, b *jose.Key) bool {
	pub, ok := a.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b.Public != nil && pub.Equal(b.Public)
}

// maxDate is the last second of the year 9999: what JSON and every client can
// still show. Later dates are mistakes or attacks (SEC-96).
const maxDate = 253402300799

// checkClaims judges a token whose signature is good.
func (v *Verifier) checkClaims(t *jose.Token) (Claims, error) {
	c := &claims{payload: t.Payload, members: t.Claims}
	for _, m := range t.Claims {
		ok := true
		switch string(m.Name) {
		case "iss":
			c.iss, ok = v.spelled.text(m.Value)
		case "sub":
			c.sub, ok = jose.StringValue(m.Value)
		case "aud":
			c.aud, ok = v.spelled.audiences(&c.one, m.Value)
		case "exp":
			c.exp, ok = numericDate(m.Value)
		case "nbf":
			c.nbf, ok = numericDate(m.Value)
		case "iat":
			c.iat, ok = numericDate(m.Value)
		}
		if !ok {
			return Claims{}, ErrClaims
		}
	}

	now := v.now()
	switch {
	case c.iss != v.issuer: // exactly: no case folding, no lost slash (SEC-96)
		return Claims{}, ErrIssuer
	case !v.typFits(t.Typ):
		return Claims{}, ErrType
	case c.exp.IsZero():
		return Claims{}, ErrClaims // a token without an end is no access token
	case !now.Before(c.exp.Add(v.skew)): // dead at exp
		return Claims{}, ErrExpired
	case now.Add(v.skew).Before(c.nbf), now.Add(v.skew).Before(c.iat):
		return Claims{}, ErrNotYetValid
	case !v.meant(c.aud):
		return Claims{}, ErrAudience
	}
	if v.typ == typRFC9068 { // RFC 9068 §2.2: what its profile requires
		id, client := c.text("jti"), c.text("client_id")
		if c.sub == "" || c.iat.IsZero() || id == "" || client == "" {
			return Claims{}, ErrClaims
		}
	}
	return Claims{c}, nil
}

const typRFC9068 = "at+jwt"

// typFits compares media types: without regard to case, "application/" left
// out (RFC 7515 §4.1.9). With no RequiredTyp, the types of access tokens pass
// and those of other JWTs do not, so that a logout token or a proof is never
// taken for one (SEC-80, RFC 8725 §3.11).
func (v *Verifier) typFits(typ string) bool {
	typ = mediaType(typ)
	if v.typ != "" {
		return typ == v.typ
	}
	return typ == "" || typ == "jwt" || typ == typRFC9068
}

func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

func (v *Verifier) meant(aud []string) bool {
	for _, a := range aud {
		for _, ours := range v.audience {
			if a == ours {
				return true
			}
		}
	}
	return false
}

// spellings are the values that most tokens have, as they stand in JSON, so
// that reading them again and again makes no garbage.
type spellings []spelling

type spelling struct{ json, text string }

func newSpellings(values ...string) spellings {
	var all spellings
	for _, v := range values {
		if utf8.ValidString(v) { // AppendString mends what is not, into another value
			all = append(all, spelling{string(jose.AppendString(nil, v)), v})
		}
	}
	return all
}

// text is jose.StringValue.
func (s spellings) text(value []byte) (string, bool) {
	for i := range s {
		if string(value) == s[i].json {
			return s[i].text, true
		}
	}
	return jose.StringValue(value)
}

// audiences reads aud: a string, or an array of strings, none of them empty
// (RFC 7519 §4.1.3, SEC-96). A single one is put into one.
func (s spellings) audiences(one *[1]string, value []byte) ([]string, bool) {
	if text, ok := s.text(value); ok {
		one[0] = text
		return one[:], text != ""
	}
	var buf [4][]byte
	elements, ok := jose.Elements(buf[:0], value)
	if !ok || len(elements) == 0 {
		return nil, false
	}
	all := make([]string, len(elements))
	for i, e := range elements {
		if all[i], ok = s.text(e); !ok || all[i] == "" {
			return nil, false
		}
	}
	return all, true
}

// numericDate reads seconds since 1970 as a whole number of plain digits from
// 1 to the year 9999. RFC 7519 would allow fractions; clients of the product
// we are compatible with do not (keys-and-validation.md §11), and nobody signs them.
func numericDate(value []byte) (time.Time, bool) {
	if len(value) == 0 || len(value) > 12 {
		return time.Time{}, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return time.Time{}, false
		}
		n = n*10 + int64(c-'0')
	}
	if n < 1 || n > maxDate {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// unavailable wraps the reason why the keys cannot be had.
func unavailable(cause error) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
