package token

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// clockSkew is how far ahead of ours the clock of the node that minted a token
// may be (security.md §30: our own endpoints use 10 s). A deadline has no
// tolerance: it was ours to set.
const clockSkew = 10 * time.Second

// Authenticate reads one of this tenant's own access tokens, signed or opaque,
// and returns its claims. It checks the form, the key (current or previous: a
// next one has signed nothing yet), the signature, the kind, the issuer and the
// end, in this order (SEC-95); errors wrap tenant.ErrTokenMalformed,
// ErrTokenSignature, ErrTokenInvalid or ErrTokenExpired, all others are faults.
// The caller checks audience, scope, denylist and marks.
//
// HS256 tokens are never accepted: whoever checks them can make them.
func (r *Ring) Authenticate(ctx context.Context, t tenant.Tenant, raw string, now time.Time) (tenant.Claims, error) {
	if len(raw) > jose.MaxTokenSize {
		return tenant.Claims{}, fmt.Errorf("%w: too long", tenant.ErrTokenMalformed)
	}
	s, err := r.state(ctx, t)
	if err != nil {
		return tenant.Claims{}, err
	}
	if strings.HasPrefix(raw, opaquePrefix) {
		payload, err := s.openOpaque(t, raw)
		if err != nil {
			return tenant.Claims{}, err
		}
		members, err := jose.AppendMembers(nil, payload)
		if err != nil {
			return tenant.Claims{}, fmt.Errorf("opaque token: %w", err) // we sealed it: a fault
		}
		return accessClaims(t, typJWT, members, now)
	}
	token, err := s.verify(raw)
	if err != nil {
		return tenant.Claims{}, err
	}
	c, err := accessClaims(t, token.Typ, token.Claims, now)
	if err != nil {
		return tenant.Claims{}, err
	}
	c.Kid, c.Alg = token.Kid, string(token.Alg)
	return c, nil
}

// verify takes a JWT apart and checks its signature with the key its kid names.
func (s *ringState) verify(raw string) (jose.Token, error) {
	token, err := jose.ParseCompact(raw)
	if err != nil {
		return jose.Token{}, fmt.Errorf("%w: %w", tenant.ErrTokenMalformed, err)
	}
	k := s.byKid[token.Kid] // SEC-88: an opaque value to look up
	if k == nil || k.record.State == tenant.KeyNext {
		return jose.Token{}, fmt.Errorf("%w: unknown key", tenant.ErrTokenSignature)
	}
	// The algorithm is the key's to choose (SEC-87): HS256 fits no public key.
	key := jose.Key{Kid: k.record.Kid, Public: k.public}
	if err := key.Verify(token.Alg, token.SigningInput, token.Signature); err != nil {
		return jose.Token{}, fmt.Errorf("%w: %w", tenant.ErrTokenSignature, err)
	}
	return token, nil
}

// foreignClaims are in tokens of other kinds and in no access token (SEC-80).
var foreignClaims = []string{"nonce", "at_hash", "c_hash", "auth_time", "sid", "events"}

// accessClaims reads the claims of a genuine token if it is an access token, by
// its type and its shape together.
func accessClaims(t tenant.Tenant, typ string, members []jose.Member, now time.Time) (tenant.Claims, error) {
	invalid := func(why string) (tenant.Claims, error) {
		return tenant.Claims{}, fmt.Errorf("%w: %s", tenant.ErrTokenInvalid, why)
	}
	client, other := "azp", "client_id"
	switch typ {
	case typJWT:
	case typAccess:
		client, other = other, client
	default:
		return invalid("not an access token by its type")
	}
	if jose.Find(members, other) != nil {
		return invalid("not an access token by its claims")
	}
	for _, name := range foreignClaims {
		if jose.Find(members, name) != nil {
			return invalid("not an access token by its claims")
		}
	}
	var c tenant.Claims
	ok := true
	text := func(name string) string {
		s, is := jose.StringValue(jose.Find(members, name))
		ok = ok && is && s != ""
		return s
	}
	c.Issuer, c.Subject, c.ClientID, c.ID = text("iss"), text("sub"), text(client), text("jti")
	c.IssuedAt, c.ExpiresAt = seconds(members, "iat", &ok), seconds(members, "exp", &ok)
	c.Audience = texts(jose.Find(members, "aud"), &ok)
	ok = ok && len(c.Audience) > 0
	id, decoded := decode(c.ID)
	if !ok || !decoded || len(id) != authorizationSize+16 {
		return invalid("not an access token by its claims")
	}
	c.Authorization = b64.EncodeToString(id[:authorizationSize])
	if v := jose.Find(members, "scope"); v != nil {
		s, is := jose.StringValue(v)
		ok, c.Scopes = ok && is, strings.Fields(s)
	}
	if v := jose.Find(members, "permissions"); v != nil {
		c.Permissions = texts(v, &ok)
	}
	if v := jose.Find(members, "gty"); v != nil {
		c.GrantType = strings.Join(texts(v, &ok), " ")
	}
	if typ == typAccess && c.Subject == MachineSubject(c.ClientID) {
		c.GrantType = "client-credentials" // the dialect of RFC 9068 has no gty
	}
	switch {
	case !ok:
		return invalid("claims of the wrong type")
	case c.Issuer != t.Issuer():
		return invalid("another issuer")
	case c.IssuedAt.After(now.Add(clockSkew)):
		return invalid("issued in the future")
	case !now.Before(c.ExpiresAt):
		return tenant.Claims{}, tenant.ErrTokenExpired
	}
	return c, nil
}

// seconds reads an integer NumericDate between 1970 and 9999.
func seconds(members []jose.Member, name string, ok *bool) time.Time {
	v := jose.Find(members, name)
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n <= 0 || n >= 253402300800 {
		*ok = false
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// texts reads a string or an array of strings.
func texts(value []byte, ok *bool) []string {
	if s, is := jose.StringValue(value); is {
		return []string{s}
	}
	elements, is := jose.Elements(nil, value)
	if !is {
		*ok = false
		return nil
	}
	out := make([]string, len(elements))
	for i, e := range elements {
		if out[i], is = jose.StringValue(e); !is {
			*ok = false
		}
	}
	return out
}

// IDClaims are the verified claims of one of our ID tokens.
type IDClaims struct {
	Subject string
	// ClientID is the audience.
	ClientID string
	// SessionID is sid, or empty.
	SessionID string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// errNotIDToken is the one reason for which a genuine token is no hint.
var errNotIDToken = errors.New("not an ID token of this issuer")

// VerifyIDTokenHint reads one of this tenant's own ID tokens; one that has
// expired is as good (OIDC RP-Initiated Logout §2). Errors are those of
// Authenticate, less ErrTokenExpired. ID tokens under HS256 cannot be told from
// forgeries by their client and are ErrTokenSignature.
func (r *Ring) VerifyIDTokenHint(ctx context.Context, t tenant.Tenant, raw string) (IDClaims, error) {
	s, err := r.state(ctx, t)
	if err != nil {
		return IDClaims{}, err
	}
	token, err := s.verify(raw)
	if err != nil {
		return IDClaims{}, err
	}
	ok := token.Typ == typJWT
	for _, name := range []string{"azp", "client_id", "jti", "scope", "events"} { // of other kinds (SEC-80)
		ok = ok && jose.Find(token.Claims, name) == nil
	}
	text := func(name string) string {
		s, is := jose.StringValue(jose.Find(token.Claims, name))
		ok = ok && is && s != ""
		return s
	}
	ok = ok && text("iss") == t.Issuer()
	c := IDClaims{Subject: text("sub"), ClientID: text("aud")}
	c.IssuedAt, c.ExpiresAt = seconds(token.Claims, "iat", &ok), seconds(token.Claims, "exp", &ok)
	if jose.Find(token.Claims, "sid") != nil {
		c.SessionID = text("sid")
	}
	if !ok {
		return IDClaims{}, fmt.Errorf("%w: %w", tenant.ErrTokenInvalid, errNotIDToken)
	}
	return c, nil
}
