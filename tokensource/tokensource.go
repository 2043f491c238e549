// Package tokensource obtains access tokens in the program that calls an API,
// a client, and keeps them: a token is stored and used again until shortly
// before it expires.
//
// It promises one request at a time for a token however many ask for it, that
// a new refresh token is stored before the access token that came with it is
// handed out, and that no failure but the issuer's invalid_grant makes it
// forget a refresh token. Where the issuer understands AttemptHeader, a rotation
// whose answer was lost is repeated under the nonce that was stored before, so
// that neither a crash nor a week in a drawer signs the user out.
//
// Tokens are kept in memory, in encrypted files (FileStore), or in what the
// sub-packages are named for: sqlstore for a database, scsstore for HTTP
// sessions. Sub-package oauth2source goes from and to golang.org/x/oauth2.
//
// It refuses plain HTTP, redirects of the token endpoint, and to show a token
// or secret in any printed form; Secret.Reveal is the only way to read one. It
// works with any OAuth 2.0 server and needs nothing but the standard library.
package tokensource

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Source gives access tokens. Token may be called by many at once. What it
// returns is good for use at once; ask again for the next request.
type Source interface {
	Token(ctx context.Context) (Token, error)
}

// SourceFunc is a Source made of a function.
type SourceFunc func(ctx context.Context) (Token, error)

// Token calls f.
func (f SourceFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// Token is an access token and what the issuer said of it.
type Token struct {
	AccessToken Secret
	TokenType   string    // "Bearer" in whatever case the issuer wrote it
	Scopes      []string  // what was granted, or asked for if the answer had none
	IssuedAt    time.Time // when we received it
	ExpiresAt   time.Time // dead from here on
	IDToken     Secret    // empty unless the scopes asked for one
}

// SetAuthHeader puts the token into a request.
func (t Token) SetAuthHeader(r *http.Request) {
	typ := t.TokenType
	if typ == "" || strings.EqualFold(typ, "bearer") {
		typ = "Bearer"
	}
	r.Header.Set("Authorization", typ+" "+t.AccessToken.Reveal())
}
