// Package verify checks access tokens in the program that receives them, a
// resource server: JWTs signed by one issuer, whose keys it fetches, caches
// and replaces on its own.
//
// By itself it knows nothing of revocations: a token that was revoked passes
// until its exp. With Options.Feed, while the issuer can be reached, it is refused
// within 10 seconds (SEC-130), and Options says what happens while it cannot;
// with Options.Introspection the issuer is asked.
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
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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

	cache         *cache[cached] // nil: none
	feed          *Feed          // nil: none
	feedAge       time.Duration
	oldFeed       Failure
	introspection *introspector // nil: none

	cacheHits, cacheMisses, revoked, feedOld atomic.Uint64
}

// cached is a token that was verified with a key of a table.
type cached struct {
	claims *claims
	table  *keyTable
}

// Verify checks raw, a JWT, and returns its claims.
//
// An error that is ErrInvalidToken (ErrMalformed, ErrSignature, ErrExpired, …)
// means that this token will never pass: answer 401. Any other error, such as
// ErrUnavailable, means that the keys, or the word of who knows of revocations,
// could not be had and that the same token may pass later: answer 503. No error repeats any part of the token (SEC-99).
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
	if len(raw) > jose.MaxTokenSize { // before it is hashed
		return Claims{}, ErrMalformed
	}
	c, err := v.verify(ctx, raw)
	if err != nil {
		return Claims{}, err
	}
	if err := v.checkFeed(c); err != nil {
		return Claims{}, err
	}
	if v.introspection != nil {
		if err := v.introspection.check(ctx, raw); err != nil {
			return Claims{}, err
		}
	}
	return Claims{c}, nil
}

// verify judges the token by what is in it. A token that was judged before
// needs no signature check while its key stands in the same set as then.
func (v *Verifier) verify(ctx context.Context, raw string) (*claims, error) {
	if v.cache == nil {
		c, _, err := v.verifyAnew(ctx, raw)
		return c, err
	}
	sum := sumOf(raw)
	if hit, ok := v.cache.get(sum); ok {
		set, err := v.keys.usable(ctx)
		if err != nil {
			return nil, err
		}
		if hit.table == set.keyTable {
			v.cacheHits.Add(1)
			if err := v.checkTimes(hit.claims); err != nil {
				v.cache.remove(sum)
				return nil, err
			}
			return hit.claims, nil
		}
		v.cache.remove(sum)
	}
	v.cacheMisses.Add(1)
	c, table, err := v.verifyAnew(ctx, raw)
	if err == nil {
		v.cache.put(sum, cached{c, table})
	}
	return c, err
}

func (v *Verifier) verifyAnew(ctx context.Context, raw string) (*claims, *keyTable, error) {
	t, err := jose.ParseCompact(raw)
	if err != nil {
		return nil, nil, ErrMalformed
	}
	if !v.allows(t.Alg) {
		return nil, nil, ErrAlgorithm
	}
	table, err := v.checkSignature(ctx, &t)
	if err != nil {
		return nil, nil, err
	}
	c, err := v.checkClaims(&t)
	return c, table, err
}

// checkFeed asks the feed about a token that is good otherwise.
func (v *Verifier) checkFeed(c *claims) error {
	switch {
	case v.feed == nil:
		return nil
	case v.feed.refuses(c):
		v.revoked.Add(1)
		return ErrRevoked
	case v.feed.Age() > v.feedAge:
		v.feedOld.Add(1)
		if v.oldFeed != FailOpen {
			return unavailable(errOldFeed)
		}
	}
	return nil
}

var errOldFeed = errors.New("the revocation feed is out of date")

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
// It returns the set whose key it was.
func (v *Verifier) checkSignature(ctx context.Context, t *jose.Token) (*keyTable, error) {
	set, err := v.keys.usable(ctx)
	if err != nil {
		return nil, err
	}
	key := set.find(t.Alg, t.Kid)
	if key != nil && key.Verify(t.Alg, t.SigningInput, t.Signature) == nil {
		return set.keyTable, nil
	}
	newer, err := v.keys.refetch(ctx, set, t.Alg, t.Kid)
	if again := newer.find(t.Alg, t.Kid); again != nil && again != key && (key == nil || !sameKey(key, again)) {
		key = again
		if key.Verify(t.Alg, t.SigningInput, t.Signature) == nil {
			return newer.keyTable, nil
		}
	}
	switch {
	case key != nil:
		return nil, ErrSignature // the key is known, so the token is judged even if the refetch failed
	case err != nil:
		return nil, err
	}
	v.keys.unknownKids.Add(1)
	return nil, ErrUnknownKey
}

func sameKey(a, b *jose.Key) bool {
	pub, ok := a.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b.Public != nil && pub.Equal(b.Public)
}

// maxDate is the last second of the year 9999: what JSON and every client can
// still show. Later dates are mistakes or attacks (SEC-96).
const maxDate = 253402300799

// checkClaims judges a token whose signature is good.
func (v *Verifier) checkClaims(t *jose.Token) (*claims, error) {
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
			return nil, ErrClaims
		}
	}

	switch {
	case c.iss != v.issuer: // exactly: no case folding, no lost slash (SEC-96)
		return nil, ErrIssuer
	case !v.typFits(t.Typ):
		return nil, ErrType
	case c.exp.IsZero():
		return nil, ErrClaims // a token without an end is no access token
	}
	if err := v.checkTimes(c); err != nil {
		return nil, err
	}
	if !v.meant(c.aud) {
		return nil, ErrAudience
	}
	if v.typ == typRFC9068 { // RFC 9068 §2.2: what its profile requires
		id, client := c.text("jti"), c.text("client_id")
		if c.sub == "" || c.iat.IsZero() || id == "" || client == "" {
			return nil, ErrClaims
		}
	}
	return c, nil
}

func (v *Verifier) checkTimes(c *claims) error {
	now := v.now()
	switch {
	case !now.Before(c.exp.Add(v.skew)): // dead at exp
		return ErrExpired
	case now.Add(v.skew).Before(c.nbf), now.Add(v.skew).Before(c.iat):
		return ErrNotYetValid
	}
	return nil
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
