package authtest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Tokens are a good answer of the token endpoint.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	IDToken      string `json:"id_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	Scope        string `json:"scope"`
}

// Problem is an OAuth error.
type Problem struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// PostForm sends a form to a path.
func (s *Server) PostForm(t testing.TB, path string, form url.Values) Response {
	t.Helper()
	req := s.Request(t, http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.Do(t, req)
}

// TryToken asks the token endpoint. Exactly one of the answers is not nil.
func (s *Server) TryToken(t testing.TB, form url.Values) (*Tokens, *Problem) {
	t.Helper()
	resp := s.PostForm(t, "/oauth/token", form)
	if resp.Status == http.StatusOK {
		var tokens Tokens
		resp.JSON(t, &tokens)
		return &tokens, nil
	}
	var p Problem
	if resp.JSON(t, &p); p.Code == "" {
		t.Fatalf("authtest: neither tokens nor an error: %s", resp)
	}
	return nil, &p
}

// Token asks the token endpoint; a refusal fails the test.
func (s *Server) Token(t testing.TB, form url.Values) Tokens {
	t.Helper()
	tokens, p := s.TryToken(t, form)
	if p != nil {
		t.Fatalf("authtest: token endpoint refused %s: %s: %s", form.Get("grant_type"), p.Code, p.Description)
	}
	return *tokens
}

// ClientCredentials gets a machine's token for an API with every scope it may have.
func (s *Server) ClientCredentials(t testing.TB, c Client, audience string) Tokens {
	t.Helper()
	return s.Token(t, c.authenticate(url.Values{"grant_type": {"client_credentials"}, "audience": {audience}}))
}

// Refresh exchanges a refresh token.
func (s *Server) Refresh(t testing.TB, c Client, refreshToken string) (*Tokens, *Problem) {
	t.Helper()
	return s.TryToken(t, c.authenticate(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}))
}
