// Package oauth2source lets package tokensource and golang.org/x/oauth2 stand
// in for each other.
//
// FromSource gives what a library built on x/oauth2 asks for, with the storage,
// single flight and retries of tokensource behind it. ToSource lets a
// TokenSource of x/oauth2 feed what is built on tokensource; how well that
// stores and repeats is its own affair.
//
// It promises that a token keeps its type, end, scopes and ID token on the way,
// and that no error repeats what a token endpoint answered.
package oauth2source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/bulla-auth/bulla/tokensource"
)

// FromSource returns src as a TokenSource. That has no context to wait with:
// ctx, which must live as long as the TokenSource is used, is it. A refresh
// token never comes out of it.
func FromSource(ctx context.Context, src tokensource.Source) oauth2.TokenSource {
	return fromSource{ctx, src}
}

type fromSource struct {
	ctx context.Context // oauth2.TokenSource leaves no other place for it
	src tokensource.Source
}

// Token implements oauth2.TokenSource.
func (f fromSource) Token() (*oauth2.Token, error) {
	t, err := f.src.Token(f.ctx)
	if err != nil {
		return nil, err
	}
	out := &oauth2.Token{AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Expiry: t.ExpiresAt}
	extra := map[string]any{}
	if len(t.Scopes) > 0 {
		extra["scope"] = strings.Join(t.Scopes, " ")
	}
	if !t.IDToken.IsZero() {
		extra["id_token"] = t.IDToken.Reveal()
	}
	return out.WithExtra(extra), nil
}

// ToSource returns ts as a tokensource.Source. A caller that gives up does not
// wait for ts, which goes on without it.
func ToSource(ts oauth2.TokenSource) tokensource.Source {
	return tokensource.SourceFunc(func(ctx context.Context) (tokensource.Token, error) {
		type result struct {
			token *oauth2.Token
			err   error
		}
		done := make(chan result, 1)
		go func() {
			t, err := ts.Token()
			done <- result{t, err}
		}()
		select {
		case r := <-done:
			if r.err != nil {
				return tokensource.Token{}, convertError(r.err)
			}
			return convert(r.token), nil
		case <-ctx.Done():
			return tokensource.Token{}, fmt.Errorf("oauth2source: %w", context.Cause(ctx))
		}
	})
}

func convert(t *oauth2.Token) tokensource.Token {
	text := func(name string) string { s, _ := t.Extra(name).(string); return s }
	return tokensource.Token{
		AccessToken: tokensource.NewSecret(t.AccessToken),
		TokenType:   t.Type(),
		Scopes:      strings.Fields(text("scope")),
		ExpiresAt:   t.Expiry,
		IDToken:     tokensource.NewSecret(text("id_token")),
	}
}

// convertError drops the answer's body, which oauth2's error prints and which
// may hold tokens (SEC-230, SEC-248). Only the issuer's own invalid_grant asks
// for a sign-in (SEC-246).
func convertError(err error) error {
	answered, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("oauth2source: %w", err)
	}
	out := &tokensource.Error{Code: printable(answered.ErrorCode), Description: printable(answered.ErrorDescription)}
	if answered.Response != nil {
		out.Status = answered.Response.StatusCode
		if seconds, err := time.ParseDuration(answered.Response.Header.Get("Retry-After") + "s"); err == nil && seconds > 0 {
			out.RetryAfter = seconds
		}
	}
	if out.Code == "invalid_grant" && out.Status >= 400 && out.Status < 500 && out.Status != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %w", tokensource.ErrLoginRequired, out)
	}
	return out
}

// printable makes text of others fit for a log line (SEC-231).
func printable(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
