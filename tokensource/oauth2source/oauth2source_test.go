package oauth2source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/bulla-auth/bulla/tokensource"
)

func TestFromSource(t *testing.T) {
	t.Parallel()
	end := time.Date(2126, 3, 1, 12, 0, 0, 0, time.UTC)
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "here")
	src := tokensource.SourceFunc(func(ctx context.Context) (tokensource.Token, error) {
		if ctx.Value(key{}) != "here" {
			t.Error("another context")
		}
		return tokensource.Token{
			AccessToken: tokensource.NewSecret("a"), TokenType: "bearer", Scopes: []string{"x", "y"}, ExpiresAt: end,
			IDToken: tokensource.NewSecret("i"),
		}, nil
	})
	tok, err := FromSource(ctx, src).Token()
	if err != nil {
		t.Fatal(err)
	}
	if tok.AccessToken != "a" || tok.Type() != "Bearer" || !tok.Expiry.Equal(end) || tok.RefreshToken != "" || !tok.Valid() ||
		tok.Extra("scope") != "x y" || tok.Extra("id_token") != "i" {
		t.Errorf("%+v, scope %v", tok, tok.Extra("scope"))
	}
	back, err := ToSource(FromSource(ctx, src)).Token(ctx)
	if err != nil || back.AccessToken.Reveal() != "a" || back.IDToken.Reveal() != "i" || strings.Join(back.Scopes, " ") != "x y" || !back.ExpiresAt.Equal(end) {
		t.Errorf("there and back: %v until %v, %v", back.Scopes, back.ExpiresAt, err)
	}

	failure := tokensource.SourceFunc(func(context.Context) (tokensource.Token, error) {
		return tokensource.Token{}, tokensource.ErrLoginRequired
	})
	if tok, err := FromSource(ctx, failure).Token(); tok != nil || !errors.Is(err, tokensource.ErrLoginRequired) {
		t.Errorf("a failure: %v, %v; want ErrLoginRequired", tok, err)
	}
}

// The client of x/oauth2 sends what tokensource obtained, and the other way round.
func TestClients(t *testing.T) {
	t.Parallel()
	requests := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"a-%d","token_type":"Bearer","expires_in":3600,"scope":"x"}`, requests)
	})
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Authorization")) })
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	get := func(c *http.Client) string {
		resp, err := c.Get(server.URL + "/api")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var text string
		if _, err := fmt.Fscanf(resp.Body, "Bearer %s", &text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, server.Client())

	ours, err := tokensource.ClientCredentials(tokensource.Config{TokenURL: server.URL + "/token", ClientID: "c", HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	theirs := oauth2.NewClient(ctx, FromSource(ctx, ours))
	for range 2 {
		if got := get(theirs); got != "a-1" {
			t.Errorf("their client sent %q, want a-1", got)
		}
	}
	cc := clientcredentials.Config{ClientID: "c", ClientSecret: "s", TokenURL: server.URL + "/token"}
	client := tokensource.HTTPClient(ToSource(cc.TokenSource(ctx)), server.Client())
	for range 2 {
		if got := get(client); got != "a-2" {
			t.Errorf("our client sent %q, want a-2", got)
		}
	}
}

type tokenSource func() (*oauth2.Token, error)

func (f tokenSource) Token() (*oauth2.Token, error) { return f() }

// SEC-230, SEC-246, SEC-248: what comes out of their errors.
func TestToSourceErrors(t *testing.T) {
	t.Parallel()
	refusal := func(status int, code string, headers ...string) error {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return fmt.Errorf("wrapped: %w", &oauth2.RetrieveError{
			Response: &http.Response{StatusCode: status, Header: h}, Body: []byte("s3cret-body"), ErrorCode: code,
			ErrorDescription: "no\nlines",
		})
	}
	for name, tt := range map[string]struct {
		err   error
		login bool
		after time.Duration
	}{
		"invalid_grant":         {refusal(403, "invalid_grant"), true, 0},
		"429 invalid_grant":     {refusal(429, "invalid_grant", "Retry-After", "7"), false, 7 * time.Second},
		"500 invalid_grant":     {refusal(500, "invalid_grant"), false, 0},
		"another code":          {refusal(400, "invalid_scope"), false, 0},
		"answer without a code": {refusal(502, "", "Retry-After", "Tue, 01 Jan 2030 00:00:00 GMT"), false, 0},
	} {
		_, err := ToSource(tokenSource(func() (*oauth2.Token, error) { return nil, tt.err })).Token(t.Context())
		answer, ok := errors.AsType[*tokensource.Error](err)
		if errors.Is(err, tokensource.ErrLoginRequired) != tt.login || !ok || answer.RetryAfter != tt.after {
			t.Errorf("%s: %v, want login required %v", name, err, tt.login)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "s3cret") || strings.Contains(text, "no\nlines") {
			t.Errorf("%s: printed as %s", name, text)
		}
	}
	network := errors.New("reset")
	_, err := ToSource(tokenSource(func() (*oauth2.Token, error) { return nil, network })).Token(t.Context())
	if !errors.Is(err, network) || errors.Is(err, tokensource.ErrLoginRequired) {
		t.Errorf("network: %v", err)
	}
}

// SEC-244: a caller who gives up does not wait for a source that knows no contexts.
func TestToSourceIsGivenUp(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	src := ToSource(tokenSource(func() (*oauth2.Token, error) { <-block; return nil, errors.New("late") }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := src.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Token = %v, want context.Canceled", err)
	}
}
