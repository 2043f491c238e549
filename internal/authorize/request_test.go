package authorize

import (
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636 Appendix B

func TestReadRequest(t *testing.T) {
	t.Parallel()
	public := tenant.Client{ID: "spa", AuthMethod: "none", GrantTypes: []string{"authorization_code", "implicit", "refresh_token"}}
	confidential := tenant.Client{ID: "web", AuthMethod: "client_secret_post", GrantTypes: []string{"authorization_code"}}
	strict, plain := confidential, confidential
	strict.RequirePKCE, plain.AllowPlainPKCE = true, true
	good := oauth.AuthorizationRequest{ResponseType: "code", CodeChallenge: challenge, CodeChallengeMethod: "S256"}
	with := func(change func(*oauth.AuthorizationRequest)) oauth.AuthorizationRequest {
		r := good
		change(&r)
		return r
	}

	tests := map[string]struct {
		client tenant.Client
		sent   oauth.AuthorizationRequest
		want   string // error code, or empty
		text   string // a part of the description
	}{
		"good":                           {public, good, "", ""},
		"no response_type":               {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "" }), oauth.InvalidRequest, "response_type"},
		"unknown response_type":          {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "code magic" }), oauth.UnsupportedResponse, "Unsupported response type: code magic"},
		"response_type none":             {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "none" }), oauth.UnsupportedResponse, ""},
		"hybrid, any order":              {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType, r.Nonce = "token id_token code", "n" }), "", ""},
		"implicit not allowed, SEC-31":   {confidential, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "token" }), oauth.UnauthorizedClient, "Grant type 'implicit' not allowed for the client."},
		"hybrid not allowed, SEC-31":     {confidential, with(func(r *oauth.AuthorizationRequest) { r.ResponseType, r.Nonce = "code id_token", "n" }), oauth.UnauthorizedClient, "implicit"},
		"code not allowed":               {tenant.Client{GrantTypes: []string{"implicit"}}, good, oauth.UnauthorizedClient, "Grant type 'authorization_code' not allowed for the client."},
		"token in the query":             {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType, r.ResponseMode = "token", "query" }), oauth.InvalidRequest, "response_mode"},
		"unknown response_mode, SEC-45":  {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseMode = "jwt" }), oauth.InvalidRequest, "response_mode"},
		"id_token without nonce":         {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "id_token" }), oauth.InvalidRequest, "nonce"},
		"hybrid without nonce":           {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "code id_token" }), oauth.InvalidRequest, "nonce"},
		"token without nonce":            {public, with(func(r *oauth.AuthorizationRequest) { r.ResponseType = "token" }), "", ""},
		"state of 2048, SEC-36":          {public, with(func(r *oauth.AuthorizationRequest) { r.State = strings.Repeat("s", 2048) }), "", ""},
		"state of 2049, SEC-36":          {public, with(func(r *oauth.AuthorizationRequest) { r.State = strings.Repeat("s", 2049) }), oauth.InvalidRequest, "state"},
		"nonce of 2049, SEC-36":          {public, with(func(r *oauth.AuthorizationRequest) { r.Nonce = strings.Repeat("n", 2049) }), oauth.InvalidRequest, "nonce"},
		"public, no challenge, SEC-54":   {public, oauth.AuthorizationRequest{ResponseType: "code"}, oauth.InvalidRequest, "PKCE"},
		"confidential, no challenge":     {confidential, oauth.AuthorizationRequest{ResponseType: "code"}, "", ""},
		"confidential that must":         {strict, oauth.AuthorizationRequest{ResponseType: "code"}, oauth.InvalidRequest, "PKCE"},
		"method alone":                   {confidential, oauth.AuthorizationRequest{ResponseType: "code", CodeChallengeMethod: "S256"}, oauth.InvalidRequest, "code_challenge"},
		"plain, SEC-55":                  {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "plain" }), oauth.InvalidRequest, "S256"},
		"no method, SEC-55":              {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "" }), oauth.InvalidRequest, "S256"},
		"s256, SEC-55":                   {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "s256" }), oauth.InvalidRequest, "S256"},
		"S512, SEC-55":                   {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "S512" }), oauth.InvalidRequest, "S256"},
		"plain, opted in, SEC-266":       {plain, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "plain" }), "", ""},
		"no method, opted in, SEC-266":   {plain, with(func(r *oauth.AuthorizationRequest) { r.CodeChallengeMethod = "" }), "", ""},
		"challenge of 42, SEC-56":        {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallenge = challenge[1:] }), oauth.InvalidRequest, "malformed"},
		"challenge of 44, SEC-56":        {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallenge += "A" }), oauth.InvalidRequest, "malformed"},
		"challenge with padding, SEC-56": {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallenge = challenge[:42] + "=" }), oauth.InvalidRequest, "malformed"},
		"challenge with +, SEC-56":       {public, with(func(r *oauth.AuthorizationRequest) { r.CodeChallenge = challenge[:42] + "+" }), oauth.InvalidRequest, "malformed"},
		"plain verifier of 129, SEC-56": {plain, with(func(r *oauth.AuthorizationRequest) {
			r.CodeChallengeMethod, r.CodeChallenge = "plain", strings.Repeat("a", 129)
		}), oauth.InvalidRequest, "malformed"},
		"10,000 scopes, SEC-38": {public, with(func(r *oauth.AuthorizationRequest) { r.Scope = strings.Repeat("a ", 10000) }), oauth.InvalidScope, ""},
		"long scope, SEC-38":    {public, with(func(r *oauth.AuthorizationRequest) { r.Scope = strings.Repeat("a", 281) }), oauth.InvalidScope, ""},
		"online and offline":    {public, with(func(r *oauth.AuthorizationRequest) { r.Scope = "openid offline_access online_access" }), oauth.InvalidRequest, "Cannot request both online_access and offline_access scopes"},
		"prompt none and login": {public, with(func(r *oauth.AuthorizationRequest) { r.Prompt = "none login" }), oauth.InvalidRequest, "prompt"},
		"unknown prompt":        {public, with(func(r *oauth.AuthorizationRequest) { r.Prompt = "maybe" }), oauth.InvalidRequest, "prompt"},
		"max_age of minus one":  {public, with(func(r *oauth.AuthorizationRequest) { r.MaxAge = "-1" }), oauth.InvalidRequest, "max_age"},
		"max_age of words":      {public, with(func(r *oauth.AuthorizationRequest) { r.MaxAge = "soon" }), oauth.InvalidRequest, "max_age"},
		"max_age past all time": {public, with(func(r *oauth.AuthorizationRequest) { r.MaxAge = "99999999999999999999" }), oauth.InvalidRequest, "max_age"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &request{AuthorizationRequest: tt.sent, client: tt.client, maxAge: -1}
			q.types, _ = parseResponseType(q.ResponseType)
			e := q.read()
			switch {
			case tt.want == "" && e != nil:
				t.Fatalf("read() = %v, want no error", e)
			case tt.want != "" && (e == nil || e.Code != tt.want || !strings.Contains(e.Description, tt.text)):
				t.Fatalf("read() = %v, want %s with %q", e, tt.want, tt.text)
			}
			if len(q.State) > maxEcho {
				t.Error("a state that is too long would be echoed")
			}
		})
	}
}

func TestReadDefaults(t *testing.T) {
	t.Parallel()
	q := &request{AuthorizationRequest: oauth.AuthorizationRequest{ResponseType: "token", CodeChallenge: "x", MaxAge: "0"}, client: tenant.Client{GrantTypes: []string{"implicit"}}, maxAge: -1}
	q.types, _ = parseResponseType(q.ResponseType)
	if e := q.read(); e != nil {
		t.Fatal(e)
	}
	if got := q.scopes.String(); got != "openid" { // tokens.md §6.2
		t.Errorf("scopes = %q, want openid", got)
	}
	if q.maxAge != 0 {
		t.Errorf("maxAge = %v, want 0", q.maxAge)
	}
	if q.CodeChallenge != "" {
		t.Error("a challenge without a code is kept")
	}
}

func TestDefaultMode(t *testing.T) {
	t.Parallel()
	for responseType, want := range map[string]string{"code": modeQuery, "token": modeFragment, "id_token": modeFragment, "code token": modeFragment, "": modeQuery} {
		q := &request{}
		q.types, _ = parseResponseType(responseType)
		if got := q.defaultMode(); got != want {
			t.Errorf("defaultMode of %q = %s, want %s", responseType, got, want)
		}
	}
}

func TestOpaque(t *testing.T) {
	t.Parallel()
	tn := tenant.Tenant{Domain: "id.example"}
	for audience, want := range map[string]bool{
		"": true, "https://id.example/userinfo": true, "https://id.example/": true, "id.example": true, "https://id.example/api/v2/": false, "https://api": false,
	} {
		if got := opaque(tn, audience); got != want {
			t.Errorf("opaque(%q) = %v, want %v", audience, got, want)
		}
	}
}

// The offline_access scope is not asked of the user where it will not be given
// (refresh-tokens.md §2).
func TestOffline(t *testing.T) {
	t.Parallel()
	able := tenant.Client{GrantTypes: []string{"refresh_token"}}
	on, off := &tenant.ResourceServer{AllowOfflineAccess: true}, &tenant.ResourceServer{}
	tests := map[string]struct {
		q    request
		want bool
	}{
		"code, no API":   {request{client: able, types: responseTypes{code: true}}, true},
		"code, API on":   {request{client: able, types: responseTypes{code: true}, api: on}, true},
		"code, API off":  {request{client: able, types: responseTypes{code: true}, api: off}, false},
		"implicit":       {request{client: able, types: responseTypes{token: true}, api: on}, false},
		"client without": {request{types: responseTypes{code: true}, api: on}, false},
	}
	for name, tt := range tests {
		if got := tt.q.offline(); got != tt.want {
			t.Errorf("%s: offline() = %v, want %v", name, got, tt.want)
		}
	}
}

func TestIsEmail(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a@b.example", "first.last+tag@sub.example.com", "jörg@exämple.de", "o'hara@example.org"} {
		if !isEmail(good) {
			t.Errorf("isEmail(%q) = false", good)
		}
	}
	for _, bad := range []string{"", "a", "@b.example", "a@", "a@b", "a@b.", "a@.b", "a b@c.example", "a@b@c.example", "<a@b.example>", "a..b@c.example", ".a@b.example", "a\n@b.example", "a@-b.example", strings.Repeat("a", 65) + "@b.example"} {
		if isEmail(bad) {
			t.Errorf("isEmail(%q) = true", bad)
		}
	}
}
