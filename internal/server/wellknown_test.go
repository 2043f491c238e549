package server_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// authentication-api.md §8.1: the document is a contract, so it is written down.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	golden := filepath.Join("testdata", "openid-configuration.json")
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a := b.get(t, path)
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.HasPrefix(a.Header.Get("Cache-Control"), "public, max-age=15,") || a.Header.Get("Pragma") != "" {
			t.Errorf("%s: %s %v", path, a.Status, a.Header)
		}
		var document any
		if err := json.Unmarshal([]byte(a.body), &document); err != nil {
			t.Fatal(err)
		}
		text, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(string(text), s.issuer, "https://ISSUER/") + "\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s:\n%s", path, golden, got)
		}
	}
}

func TestDiscoveryFollowsSettings(t *testing.T) {
	t.Parallel()
	no := false
	s := start(t, change{settings: tenant.Settings{IssParameter: &no, OIDCLogout: &tenant.Discover{EndSession: &no}}})
	var got map[string]any
	if err := json.Unmarshal([]byte(s.newBrowser(t).get(t, "/.well-known/openid-configuration").body), &got); err != nil {
		t.Fatal(err)
	}
	if _, has := got["end_session_endpoint"]; has || got["authorization_response_iss_parameter_supported"] != false {
		t.Errorf("discovery is %v", got)
	}
}

// keys-and-validation.md §2, SEC-140.
func TestJWKS(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	a := b.get(t, "/.well-known/jwks.json")
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v: %s", err, a.body)
	}
	for _, member := range []string{"kty", "use", "n", "e", "kid", "x5t", "x5c", "alg"} {
		if set.Keys[0][member] == nil {
			t.Errorf("the key has no %s", member)
		}
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
		if set.Keys[0][private] != nil {
			t.Errorf("the key has a private member %s", private)
		}
	}
	if got, want := a.Header.Get("Cache-Control"), "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400"; got != want {
		t.Errorf("Cache-Control is %q, want %q", got, want)
	}
	tag := a.Header.Get("ETag")
	for value, want := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200} {
		again := b.get(t, "/.well-known/jwks.json", "If-None-Match", value)
		if again.StatusCode != want || want == 304 && (again.body != "" || again.Header.Get("ETag") != tag) {
			t.Errorf("If-None-Match %s: %s %q", value, again.Status, again.body)
		}
	}
}

// SEC-69, authentication-api.md §0.1.
func TestCORS(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	for _, path := range []string{"/oauth/token", "/oauth/revoke", "/userinfo", "/.well-known/jwks.json"} {
		a := b.do(t, http.MethodOptions, path, nil, "Origin", "https://any.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "auth0-client")
		if a.StatusCode != 204 || a.body != "" || a.Header.Get("Access-Control-Allow-Origin") != "https://any.example" ||
			!strings.Contains(a.Header.Get("Access-Control-Allow-Headers"), "auth0-client") || a.Header.Get("Access-Control-Max-Age") == "" ||
			a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %s: %s %v", path, a.Status, a.Header)
		}
	}
	refresh := "grant_type=refresh_token&refresh_token=x&client_id="
	for name, tt := range map[string]struct {
		client, origin string
		allowed        bool
	}{
		"of a callback":     {"spa", "https://app.example.com", true},
		"our own":           {"spa", strings.TrimSuffix(s.issuer, "/"), true},
		"another client's":  {"strict", "https://app.example.com", false},
		"unknown client":    {"nobody", "https://app.example.com", false},
		"null":              {"spa", "null", false},
		"look-alike suffix": {"spa", "https://app.example.com.evil.example", false},
		"look-alike prefix": {"spa", "https://evil-app.example.com", false},
		"other port":        {"spa", "https://app.example.com:8443", false},
		"other scheme":      {"spa", "http://app.example.com", false},
		"a wildcard's":      {"wild", "https://a.wild.example.com", true},
		"below a wildcard":  {"wild", "https://a.b.wild.example.com", false},
	} {
		a := b.send(t, "/oauth/token", "application/x-www-form-urlencoded", refresh+tt.client, "Origin", tt.origin)
		want := ""
		if tt.allowed {
			want = tt.origin
		}
		if got := a.Header.Get("Access-Control-Allow-Origin"); got != want || a.Header.Get("Vary") != "Origin" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allowed origin is %q, want %q (%v)", name, got, want, a.Header)
		}
	}
	raw := b.post(t, "/oauth/token", codeForm("spa", b.codeFor(t, params("spa")))).tokens(t).AccessToken
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://strict.example.com": ""} {
		a := b.get(t, "/userinfo", "Authorization", "Bearer "+raw, "Origin", origin)
		if got := a.Header.Get("Access-Control-Allow-Origin"); a.StatusCode != 200 || got != want {
			t.Errorf("userinfo from %s: %s, allowed origin %q", origin, a.Status, got)
		}
	}
	a := b.get(t, "/userinfo", "Authorization", "Bearer x", "Origin", "https://any.example")
	if a.StatusCode != 401 || a.Header.Get("Access-Control-Allow-Origin") != "https://any.example" {
		t.Errorf("userinfo without a good token: %s %v", a.Status, a.Header)
	}
}
