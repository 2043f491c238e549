package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// MaxLifetime is the longest life of an access or ID token (tokens.md §5, SEC-85).
	MaxLifetime = tenant.MaxTokenLifetime
	// MaxSize is the longest token, in bytes (SEC-82).
	MaxSize = 8 << 10
)

var (
	// ErrLifetime says that a token would not end, or not soon enough (SEC-85).
	ErrLifetime = errors.New("token without a proper end")
	// ErrTooLarge says that a token has more than MaxSize bytes; nothing is cut
	// from it (SEC-82).
	ErrTooLarge = errors.New("token too large")
)

// AccessToken is what an access token says.
type AccessToken struct {
	Client tenant.Client
	// ResourceServer is the API the token is for; nil makes an opaque token for
	// the userinfo endpoint.
	ResourceServer *tenant.ResourceServer
	// Subject is the user's id, or the client's own: MachineSubject.
	Subject string
	Scopes  []string
	// Authorization is what the token hangs on, and is revoked with: the family;
	// else the code or login; else the client grant and its epoch (D5). It is
	// hashed into the jti and required.
	Authorization string
	// GrantType is gty: no value, one, or the grants of a refresh (tokens.md §3.2).
	GrantType []string
	// Permissions are written where the API's dialect has them.
	Permissions []string
	// Userinfo adds the userinfo endpoint to the audience: the scopes hold
	// openid. An API that signs with HS256 never gets it (tokens.md §2).
	Userinfo  bool
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// MachineSubject is the sub of a client's own tokens.
func MachineSubject(clientID string) string { return clientID + "@clients" }

// Minter makes tokens in memory; nothing of them is kept (D5). It is safe for
// concurrent use when its source of randomness is.
type Minter struct {
	ring *Ring
	rand io.Reader
	bufs sync.Pool
}

// NewMinter is a Minter that signs with the keys of ring and draws ids from rand.
func NewMinter(ring *Ring, rand io.Reader) *Minter {
	return &Minter{ring: ring, rand: rand, bufs: sync.Pool{New: func() any { return new(buffers) }}}
}

// buffers are reused from token to token.
type buffers struct{ payload, token []byte }

// AccessToken makes the token: a JWT signed as its API asks, or an opaque one.
func (m *Minter) AccessToken(ctx context.Context, t tenant.Tenant, a AccessToken) (string, error) {
	if err := lifetime(a.IssuedAt, a.ExpiresAt); err != nil {
		return "", fmt.Errorf("mint access token: %w", err)
	}
	if a.Authorization == "" || a.Subject == "" || a.Client.ID == "" {
		return "", errors.New("mint access token: no authorization, subject or client")
	}
	s, err := m.ring.state(ctx, t)
	if err != nil {
		return "", err
	}
	var jti [authorizationSize + 16]byte // 128 random bits (SEC-79)
	copy(jti[:], s.authorizationHash(a.Authorization))
	if _, err := io.ReadFull(m.rand, jti[authorizationSize:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}

	b := m.bufs.Get().(*buffers)
	defer m.bufs.Put(b)
	b.payload = appendAccessClaims(b.payload[:0], t, a, jti[:])
	if a.ResourceServer == nil {
		return s.sealOpaque(t, b.payload)
	}
	alg := jose.Algorithm(a.ResourceServer.Alg())
	typ := typJWT
	if a.ResourceServer.RFC9068() {
		typ = typAccess
	}
	if alg == jose.HS256 {
		secret, err := m.ring.vault.OpenSigningSecret(ctx, t, *a.ResourceServer)
		if err != nil {
			return "", fmt.Errorf("mint access token: %w", err)
		}
		return sign(hmacEncoder(typ, []byte(secret)), b)
	}
	e, err := m.ring.encoder(ctx, t, s, alg, typ, a.IssuedAt, a.ExpiresAt)
	if err != nil {
		return "", fmt.Errorf("mint access token: %w", err)
	}
	return sign(e, b)
}

// hmacEncoder signs with HS256, without a kid: there is no published key to name.
func hmacEncoder(typ string, secret []byte) *jose.Encoder {
	return jose.NewEncoder(jose.Header{Alg: jose.HS256, Typ: typ}, jose.NewHMACSigner(secret))
}

func sign(e *jose.Encoder, b *buffers) (string, error) {
	var err error
	if b.token, err = e.Encode(b.token[:0], b.payload); err != nil {
		return "", err
	}
	if len(b.token) > MaxSize {
		return "", ErrTooLarge
	}
	return string(b.token), nil
}

func lifetime(issued, expires time.Time) error {
	if issued.IsZero() || !expires.After(issued) || expires.Sub(issued) > MaxLifetime {
		return ErrLifetime
	}
	return nil
}

// appendAccessClaims writes the claims of tokens.md §3.2 in the dialect of the API.
func appendAccessClaims(dst []byte, t tenant.Tenant, a AccessToken, jti []byte) []byte {
	rfc9068 := a.ResourceServer != nil && a.ResourceServer.RFC9068()
	dst = append(dst, '{')
	dst = appendText(dst, "iss", t.Issuer())
	dst = appendText(dst, "sub", a.Subject)
	switch {
	case a.ResourceServer == nil:
		dst = appendText(dst, "aud", t.UserinfoAudience())
	case a.Userinfo && a.ResourceServer.Alg() != string(jose.HS256):
		both := [2]string{a.ResourceServer.Identifier, t.UserinfoAudience()}
		dst = appendTexts(dst, "aud", both[:])
	default:
		dst = appendText(dst, "aud", a.ResourceServer.Identifier)
	}
	dst = appendSeconds(dst, "iat", a.IssuedAt)
	dst = appendSeconds(dst, "exp", a.ExpiresAt)
	if rfc9068 {
		dst = appendText(dst, "client_id", a.Client.ID)
	} else {
		dst = appendText(dst, "azp", a.Client.ID)
	}
	if len(a.Scopes) > 0 {
		dst = appendScope(dst, a.Scopes)
	}
	if !rfc9068 && len(a.GrantType) == 1 {
		dst = appendText(dst, "gty", a.GrantType[0])
	} else if !rfc9068 && len(a.GrantType) > 1 {
		dst = appendTexts(dst, "gty", a.GrantType)
	}
	if a.ResourceServer != nil && a.ResourceServer.WithPermissions() {
		dst = appendTexts(dst, "permissions", a.Permissions)
	}
	dst = append(appendName(dst, "jti"), '"')
	dst = b64.AppendEncode(dst, jti)
	return append(dst, '"', '}')
}

// opaquePrefix begins every opaque token. They hold no dot: libraries take what
// has two for a JWT (tokens.md §2).
const opaquePrefix = "bat_"

// opaqueVersion is bound to what is sealed, with the tenant.
const opaqueVersion = "bulla opaque token v1\x00"

func (s *ringState) sealOpaque(t tenant.Tenant, claims []byte) (string, error) {
	sealed := s.opaque.Seal(nil, nil, claims, []byte(opaqueVersion+t.ID))
	out := make([]byte, 0, len(opaquePrefix)+b64.EncodedLen(len(sealed)))
	out = append(out, opaquePrefix...)
	out = b64.AppendEncode(out, sealed)
	if len(out) > MaxSize {
		return "", ErrTooLarge
	}
	return string(out), nil
}

// openOpaque is the claims of an opaque token that this tenant made.
func (s *ringState) openOpaque(t tenant.Tenant, raw string) ([]byte, error) {
	b, ok := decode(raw[len(opaquePrefix):])
	if !ok {
		return nil, fmt.Errorf("%w: not base64url", tenant.ErrTokenMalformed)
	}
	claims, err := s.opaque.Open(nil, nil, b, []byte(opaqueVersion+t.ID))
	if err != nil {
		return nil, tenant.ErrTokenSignature
	}
	return claims, nil
}
