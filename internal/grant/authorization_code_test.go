package grant

import (
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// The vector of RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// SEC-54 to SEC-58.
func TestVerifierMatches(t *testing.T) {
	s256 := tenant.Code{CodeChallenge: challenge, CodeChallengeMethod: "S256"}
	plain := tenant.Code{CodeChallenge: verifier, CodeChallengeMethod: "plain"}
	tests := map[string]struct {
		code     tenant.Code
		public   bool
		verifier string
		want     bool
	}{
		"RFC 7636 appendix B":           {s256, true, verifier, true},
		"another verifier":              {s256, true, strings.Repeat("a", 43), false},
		"the challenge itself":          {s256, true, challenge, false},
		"none, none stored":             {tenant.Code{}, false, "", true},
		"none, none stored, public":     {tenant.Code{}, true, "", false},
		"one, none stored":              {tenant.Code{}, false, verifier, false},
		"none, one stored":              {s256, true, "", false},
		"42 characters":                 {plain, true, verifier[:42], false},
		"plain, by the client's opt-in": {plain, true, verifier, true},
		"plain in other letters":        {tenant.Code{CodeChallenge: verifier, CodeChallengeMethod: "PLAIN"}, true, verifier, false},
		"no method stored":              {tenant.Code{CodeChallenge: verifier}, true, verifier, false},
		"other case":                    {plain, true, strings.ToUpper(verifier), false},
		"S256 of an S256":               {tenant.Code{CodeChallenge: challenge, CodeChallengeMethod: "plain"}, true, verifier, false},
	}
	for name, tt := range tests {
		if got := verifierMatches(tt.code, tt.public, tt.verifier); got != tt.want {
			t.Errorf("%s: verifierMatches = %v, want %v", name, got, tt.want)
		}
	}
}

// SEC-56: 43 to 128 characters of the unreserved set.
func TestWellFormedVerifier(t *testing.T) {
	tests := map[string]struct {
		verifier string
		want     bool
	}{
		"42":            {strings.Repeat("a", 42), false},
		"43":            {strings.Repeat("a", 43), true},
		"128":           {strings.Repeat("Z", 128), true},
		"129":           {strings.Repeat("a", 129), false},
		"all marks":     {"-._~" + strings.Repeat("0", 40), true},
		"padding":       {strings.Repeat("a", 43) + "=", false},
		"percent":       {strings.Repeat("a", 43) + "%41", false},
		"plus":          {strings.Repeat("a", 43) + "+", false},
		"slash":         {strings.Repeat("a", 43) + "/", false},
		"space":         {strings.Repeat("a", 43) + " ", false},
		"control":       {strings.Repeat("a", 43) + "\n", false},
		"at sign":       {strings.Repeat("a", 43) + "@", false},
		"square":        {strings.Repeat("a", 43) + "[", false},
		"backquote":     {strings.Repeat("a", 43) + "`", false},
		"brace":         {strings.Repeat("a", 43) + "{", false},
		"not ASCII":     {strings.Repeat("a", 43) + "é", false},
		"high bit of a": {strings.Repeat("a", 43) + "\xe1", false},
	}
	for name, tt := range tests {
		if got := wellFormedVerifier(tt.verifier); got != tt.want {
			t.Errorf("%s: wellFormedVerifier(%q) = %v, want %v", name, tt.verifier, got, tt.want)
		}
	}
}

// RFC 6749 §4.1.3, authentication-api.md §4.2.
func TestRedirectMatches(t *testing.T) {
	sent := tenant.Code{RedirectURI: "https://app.example/cb", RedirectURISent: true}
	registered := tenant.Code{RedirectURI: "https://app.example/cb"}
	tests := map[string]struct {
		code tenant.Code
		uri  string
		want string
	}{
		"the same":                  {sent, "https://app.example/cb", ""},
		"left out as before":        {registered, "", ""},
		"named now":                 {registered, "https://app.example/cb", ""},
		"left out now":              {sent, "", "Missing required parameter: redirect_uri"},
		"another path":              {sent, "https://app.example/cb2", "The redirect URI is wrong. You sent https://app.example, and we expected https://app.example"},
		"another host":              {registered, "https://evil.example/cb", "The redirect URI is wrong. You sent https://evil.example, and we expected https://app.example"},
		"trailing slash":            {sent, "https://app.example/cb/", "The redirect URI is wrong. You sent https://app.example, and we expected https://app.example"},
		"not a URL":                 {sent, "%zz", "The redirect URI is wrong. You sent null, and we expected https://app.example"},
		"only the origin is echoed": {sent, "https://u:secret@h/p?q=secret", "The redirect URI is wrong. You sent https://h, and we expected https://app.example"},
	}
	for name, tt := range tests {
		err := redirectMatches(tt.code, tt.uri)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if e := oauth.AsError(err); e.Description != tt.want {
			t.Errorf("%s: %q, want %q", name, e.Description, tt.want)
		}
	}
}
