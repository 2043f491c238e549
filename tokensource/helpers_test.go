package tokensource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const testIssuer = "https://issuer.example/"

// fakeIssuer is the outside world: an issuer as an http.RoundTripper, so that
// tests of waiting run in a synctest bubble. It rotates refresh tokens.
type fakeIssuer struct {
	mu       sync.Mutex
	requests []url.Values            // token requests
	headers  []http.Header           // theirs
	next     []func() *http.Response // answers before the normal ones; nil: the connection breaks
	delay    time.Duration           // before each answer
	lifetime int                     // of access tokens, in seconds
	metadata string                  // instead of the good one
	gone     map[string]bool         // refresh tokens that were rotated
	live     map[string]bool         // refresh tokens that are good
	also     map[string]any          // further members of good answers
	onAnswer func(values url.Values) // before a good answer is made
}

func newFakeIssuer(refreshTokens ...string) *fakeIssuer {
	f := &fakeIssuer{lifetime: 3600, gone: map[string]bool{}, live: map[string]bool{}}
	for _, rt := range refreshTokens {
		f.live[rt] = true
	}
	return f
}

func reply(status int, body string, headers ...string) *http.Response {
	w := httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return w.Result()
}

func (f *fakeIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.metadata != "" {
			return reply(200, f.metadata), nil
		}
		return reply(200, `{"issuer":"`+testIssuer+`","token_endpoint":"`+testIssuer+`oauth/token"}`), nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(f.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, form)
	f.headers = append(f.headers, r.Header)
	if len(f.next) > 0 {
		answer := f.next[0]
		f.next = f.next[1:]
		if answer == nil {
			return nil, errors.New("connection reset")
		}
		return answer(), nil
	}
	return f.answer(form), nil
}

func (f *fakeIssuer) answer(form url.Values) *http.Response {
	if f.onAnswer != nil {
		f.onAnswer(form)
	}
	n := len(f.requests)
	members := map[string]any{"access_token": fmt.Sprintf("access-%d", n), "token_type": "bearer", "expires_in": f.lifetime}
	if form.Get("grant_type") == "refresh_token" {
		rt := form.Get("refresh_token")
		if !f.live[rt] || f.gone[rt] {
			return reply(403, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`)
		}
		f.gone[rt] = true
		next := fmt.Sprintf("refresh-%d", n)
		f.live[next] = true
		members["refresh_token"] = next
		members["access_token"] = fmt.Sprintf("access-%d-by-%s", n, rt)
	}
	for name, value := range f.also {
		members[name] = value
	}
	out, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return reply(200, string(out), "Content-Type", "application/json")
}

func (f *fakeIssuer) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

// then queues answers that come before the normal ones.
func (f *fakeIssuer) then(answers ...func() *http.Response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, answers...)
}

func status(code int, body string, headers ...string) func() *http.Response {
	return func() *http.Response { return reply(code, body, headers...) }
}

func (f *fakeIssuer) config() Config {
	return Config{
		Issuer: testIssuer, ClientID: "client", ClientSecret: NewSecret("s3cret-of-client"),
		Audience: "https://api.example/", Scopes: []string{"read:messages"},
		HTTPClient: &http.Client{Transport: f},
	}
}

func machine(t *testing.T, c Config) *Stored {
	t.Helper()
	s, err := ClientCredentials(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func user(t *testing.T, c Config, name, initial string) *Stored {
	t.Helper()
	s, err := RefreshToken(c, name, NewSecret(initial))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// want asks for a token and compares it.
func want(t *testing.T, s Source, access string) Token {
	t.Helper()
	tok, err := s.Token(context.Background())
	if err != nil || tok.AccessToken.Reveal() != access {
		t.Errorf("Token = %q, %v; want %q", tok.AccessToken.Reveal(), err, access)
	}
	return tok
}

func wantRequests(t *testing.T, f *fakeIssuer, n int) {
	t.Helper()
	if got := f.count(); got != n {
		t.Errorf("%d token requests, want %d", got, n)
	}
}

// roundTrip is an http.RoundTripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func itoa(n int) string { return strconv.Itoa(n) }
