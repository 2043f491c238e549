package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// The whole way of a login: page, password, code, tokens (SEC-27, SEC-35,
// SEC-48, SEC-150, SEC-154).
func TestCodeFlow(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	first := b.get(t, authorizeURL(params("spa", "scope", "openid email offline_access", "nonce", "n-1", "max_age", "1000")))
	if first.StatusCode != http.StatusFound {
		t.Fatalf("/authorize: %s, want 302: %s", first.Status, first.body)
	}
	page := b.follow(t, first)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "Planner") {
		t.Fatalf("login page: %s: %s", page.Status, page.body)
	}
	done := b.post(t, page.action(t), url.Values{"identifier": {" Ada@Example.com"}, "password": {adaPassword}})
	if done.StatusCode != http.StatusSeeOther {
		t.Errorf("SEC-27: the form ends with %s, want 303", done.Status)
	}
	got := done.response(t, "https://app.example.com/cb")
	if got.Get("state") != "st" || got.Get("iss") != s.issuer || len(got.Get("code")) != 43 || len(got) != 3 {
		t.Errorf("response = %v, want code, state and iss", members(got))
	}
	if done.body != "" {
		t.Errorf("SEC-53: the redirect has a body: %q", done.body)
	}
	for _, a := range []answer{first, page, done} {
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("SEC-154: %s: Cache-Control = %q", a.Request.URL.Path, a.Header.Get("Cache-Control"))
		}
		for _, c := range a.Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-bulla-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
				t.Errorf("SEC-150: cookie %s lacks an attribute", c.Name)
			}
			site := http.SameSiteLaxMode
			if strings.Contains(c.Name, "session") {
				site = http.SameSiteNoneMode // security.md §30
			}
			if c.SameSite != site {
				t.Errorf("SEC-150: cookie %s: SameSite %v, want %v", c.Name, c.SameSite, site)
			}
		}
	}
	tokens := b.exchange(t, got.Get("code"), "https://app.example.com/cb")
	claims := payload(t, tokens["id_token"].(string))
	if claims["nonce"] != "n-1" || claims["email"] != ada || claims["aud"] != "spa" || claims["sid"] == nil || claims["auth_time"] == nil {
		t.Errorf("ID token = %v, want nonce, email, aud, sid and auth_time", claims)
	}
	if tokens["refresh_token"] == nil {
		t.Error("no refresh token")
	}
	s.hasEvent(t, "s", "")
}

func members(v url.Values) []string {
	var out []string
	for k := range v {
		out = append(out, k)
	}
	return out
}

// exchange redeems a code of the spa client.
func (b *browser) exchange(t *testing.T, code, redirectURI string) map[string]any {
	t.Helper()
	a := b.post(t, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"spa"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	})
	if a.StatusCode != http.StatusOK {
		t.Fatalf("/oauth/token: %s: %s", a.Status, a.body)
	}
	return object(t, a.body)
}

// Requests that end on our own page: nothing goes to the address they name, and
// it is not shown (SEC-25, SEC-26, SEC-34, SEC-43).
func TestErrorPages(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	tests := map[string]struct {
		query  string
		status int
		text   string
	}{
		"no client":                   {params("spa", "client_id", "").Encode(), 400, "Missing required parameter: client_id"},
		"unknown client":              {params("spa", "client_id", "<script>alert(1)</script>").Encode(), 400, "Unknown client: &lt;script&gt;alert(1)&lt;/script&gt;"},
		"unregistered address":        {params("spa", "redirect_uri", "https://evil.example/cb").Encode(), 403, "Callback URL mismatch. The provided redirect_uri is not in the list of allowed callback URLs."},
		"address in other case":       {params("spa", "redirect_uri", "https://app.example.com/CB").Encode(), 403, "Callback URL mismatch"},
		"script as address":           {params("spa", "redirect_uri", "javascript:alert(1)").Encode(), 403, "Callback URL mismatch"},
		"no address, two registered":  {params("spa", "redirect_uri", "").Encode(), 400, "Missing required parameter: redirect_uri"},
		"no address, OpenID Connect":  {params("strict", "redirect_uri", "").Encode(), 400, "Missing required parameter: redirect_uri"},
		"repeated state":              {params("spa").Encode() + "&state=st", 400, "repeated"},
		"repeated client":             {params("spa").Encode() + "&client_id=spa", 400, "repeated"},
		"malformed UTF-8":             {params("spa").Encode() + "&x=%ff", 400, "UTF-8"},
		"message to no web origin":    {params("native", "response_mode", "web_message").Encode(), 403, "web origins"},
		"message by wildcard, SEC-21": {params("wild", "response_mode", "web_message").Encode(), 403, "web origins"},
	}
	for name, tt := range tests {
		a := b.get(t, "/authorize?"+tt.query)
		if a.StatusCode != tt.status || a.Header.Get("Location") != "" || !strings.Contains(a.body, tt.text) {
			t.Errorf("%s: %s to %q, want %d with %q: %s", name, a.Status, a.Header.Get("Location"), tt.status, tt.text, a.body)
		}
		for _, echo := range []string{"evil.example", "javascript:", "<script", "postMessage"} {
			if strings.Contains(a.body, echo) {
				t.Errorf("%s: the page holds %q", name, echo)
			}
		}
		if !strings.Contains(a.body, a.Header.Get("X-Request-Id")) {
			t.Errorf("%s: the page does not name the request", name)
		}
	}
	s.hasEvent(t, "f", "unknown_client")
	s.hasEvent(t, "f", "redirect_uri")
}

// Requests whose error goes to the client, in the mode it asked for
// (authentication-api.md §1.3, SEC-35).
func TestErrorsForTheClient(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	long := strings.Repeat("s", 2049)
	tests := map[string]struct {
		request     url.Values
		mode        string
		code, text  string
		noState     bool
		redirectURI string
	}{
		"no response_type":          {params("spa", "response_type", ""), "?", "invalid_request", "Missing required parameter: response_type", false, ""},
		"unsupported response_type": {params("spa", "response_type", "magic"), "?", "unsupported_response_type", "Unsupported response type: magic", false, ""},
		"implicit not allowed":      {params("strict", "response_type", "token"), "#", "unauthorized_client", "Grant type 'implicit' not allowed for the client.", false, ""},
		"no challenge":              {params("spa", "code_challenge", "", "code_challenge_method", ""), "?", "invalid_request", "PKCE", false, ""},
		"in the fragment":           {params("spa", "response_mode", "fragment", "prompt", "none"), "#", "login_required", "Login required", false, ""},
		"unknown audience":          {params("spa", "audience", "https://nowhere.example"), "?", "access_denied", "Service not enabled within domain: https://nowhere.example", false, ""},
		"silent, nobody signed in":  {params("spa", "prompt", "none"), "?", "login_required", "Login required", false, ""},
		"no connection":             {params("nodb"), "?", "access_denied", "No connection is enabled for the client.", false, "https://nodb.example.com/cb"},
		"unknown connection":        {params("spa", "connection", "nope"), "?", "access_denied", "No connection", false, ""},
		"forged hint, SEC-37":       {params("spa", "id_token_hint", "e30.e30.e30"), "?", "invalid_request", "id_token_hint", false, ""},
		"long state, SEC-36":        {params("spa", "state", long), "?", "invalid_request", "state", true, ""},
	}
	for name, tt := range tests {
		redirectURI := tt.redirectURI
		if redirectURI == "" {
			redirectURI = tt.request.Get("redirect_uri")
		}
		a := b.get(t, authorizeURL(tt.request))
		if !strings.HasPrefix(a.Header.Get("Location"), redirectURI+tt.mode) {
			t.Errorf("%s: %s to %q, want %s%s", name, a.Status, a.Header.Get("Location"), redirectURI, tt.mode)
			continue
		}
		got := a.response(t, redirectURI)
		if got.Get("error") != tt.code || !strings.Contains(got.Get("error_description"), tt.text) || got.Get("iss") != s.issuer {
			t.Errorf("%s: %v, want %s with %q and iss", name, got, tt.code, tt.text)
		}
		if want := map[bool]string{true: "", false: "st"}[tt.noState]; got.Get("state") != want {
			t.Errorf("%s: state = %q, want %q", name, got.Get("state"), want)
		}
	}
	s.hasEvent(t, "fsa", "login_required")
}

// POST /authorize is the same request in a body (OIDC Core §3.1.2.1).
func TestAuthorizeByPost(t *testing.T) {
	t.Parallel()
	b := start(t, change{}).newBrowser(t)
	a := b.post(t, "/authorize", params("spa"), "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/u/login?state=") {
		t.Errorf("POST /authorize: %s to %q, want 303 to the login page", a.Status, a.Header.Get("Location"))
	}
	if a := b.post(t, authorizeURL(params("spa")), params("spa")); a.StatusCode != http.StatusBadRequest {
		t.Errorf("parameters in query and body: %s, want 400", a.Status)
	}
}

// A transaction is the browser's that began it, ends after 15 minutes and is
// used once (SEC-33); one answer for all three.
func TestTransactionIsBound(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa"))))
	good := url.Values{"identifier": {ada}, "password": {adaPassword}}
	gone := func(what string, a answer) {
		t.Helper()
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "This login has expired or is finished.") {
			t.Errorf("%s: %s, want 400: %s", what, a.Status, a.body)
		}
	}
	other := s.newBrowser(t)
	gone("another browser", other.get(t, page.Request.URL.RequestURI()))
	gone("another browser's form", other.post(t, page.action(t), good))
	other.get(t, authorizeURL(params("spa"))) // it has a binding of its own now
	gone("another browser with its own login", other.post(t, page.action(t), good))
	gone("no state", b.get(t, "/u/login"))
	gone("made-up state", b.get(t, "/u/login?state="+strings.Repeat("A", 43)))

	b.post(t, page.action(t), good).response(t, "https://app.example.com/cb")
	gone("a second time", b.post(t, page.action(t), good))

	b = s.newBrowser(t)
	page = b.follow(t, b.get(t, authorizeURL(params("spa"))))
	s.clock.Advance(15*time.Minute - time.Millisecond)
	if a := b.get(t, page.Request.URL.RequestURI()); a.StatusCode != http.StatusOK {
		t.Errorf("in the last millisecond: %s", a.Status)
	}
	s.clock.Advance(time.Millisecond)
	gone("late", b.post(t, page.action(t), good))
}

// Two tabs of one browser do not end each other's login.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	b := start(t, change{}).newBrowser(t)
	one := b.follow(t, b.get(t, authorizeURL(params("spa", "state", "one"))))
	two := b.follow(t, b.get(t, authorizeURL(params("spa", "state", "two"))))
	good := url.Values{"identifier": {ada}, "password": {adaPassword}}
	for want, page := range map[string]answer{"one": one, "two": two} {
		if got := b.post(t, page.action(t), good).response(t, "https://app.example.com/cb").Get("state"); got != want {
			t.Errorf("state = %q, want %q", got, want)
		}
	}
}

// What the browser sends later changes nothing of the request (SEC-32).
func TestRequestCannotBeChanged(t *testing.T) {
	t.Parallel()
	b := start(t, change{}).newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa", "scope", "openid"))))
	form := params("third", "redirect_uri", "https://evil.example/cb", "scope", "openid read:events", "response_type", "token", "state", "mine")
	form.Set("identifier", ada)
	form.Set("password", adaPassword)
	form.Set("user_id", "auth0|"+hexOf("other"))
	got := b.post(t, page.action(t)+"&redirect_uri=https%3A%2F%2Fevil.example%2Fcb&audience=https%3A%2F%2Fcalendar.example", form).response(t, "https://app.example.com/cb")
	if got.Get("state") != "st" || got.Get("access_token") != "" {
		t.Errorf("response = %v, want that of the request", members(got))
	}
	tokens := b.exchange(t, got.Get("code"), "https://app.example.com/cb")
	if tokens["scope"] != "openid" {
		t.Errorf("scope = %v, want openid", tokens["scope"])
	}
}

// Implicit and hybrid: what the response type names and nothing else, in the
// fragment (authentication-api.md §1.2, SEC-31).
func TestFrontChannelTokens(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	b.login(t, params("spa"), ada, adaPassword)
	for responseType, want := range map[string]string{
		"token": "access_token", "id_token": "id_token", "id_token token": "access_token id_token", "code token": "access_token code",
		"code id_token": "id_token code", "code id_token token": "access_token id_token code",
	} {
		request := params("spa", "response_type", responseType, "nonce", "n", "scope", "openid email read:events offline_access", "audience", "https://calendar.example")
		a := b.get(t, authorizeURL(request))
		if !strings.HasPrefix(a.Header.Get("Location"), "https://app.example.com/cb#") {
			t.Errorf("%s: %s to %q, want the fragment", responseType, a.Status, a.Header.Get("Location"))
			continue
		}
		got := a.response(t, "https://app.example.com/cb")
		for _, member := range []string{"access_token", "id_token", "code"} {
			if has, should := got.Get(member) != "", strings.Contains(" "+want+" ", " "+member+" "); has != should {
				t.Errorf("%s: %s is there: %v, want %v", responseType, member, has, should)
			}
		}
		if got.Get("refresh_token") != "" {
			t.Errorf("%s: a refresh token in the front channel", responseType)
		}
		if access := got.Get("access_token"); access != "" {
			if got.Get("expires_in") != "7200" || got.Get("token_type") != "Bearer" || got.Get("scope") != "openid email read:events" {
				t.Errorf("%s: %s s, %s, scope %q", responseType, got.Get("expires_in"), got.Get("token_type"), got.Get("scope"))
			}
			if c := payload(t, access); c["exp"].(float64)-c["iat"].(float64) != 7200 {
				t.Errorf("%s: access token = %v, want a life of 7200 s", responseType, c)
			}
		}
		if id := got.Get("id_token"); id != "" {
			c := payload(t, id)
			if c["nonce"] != "n" || (c["at_hash"] != nil) != strings.Contains(want, "access_token") || (c["c_hash"] != nil) != strings.Contains(want, "code") {
				t.Errorf("%s: ID token = %v, want nonce, and a hash for what is beside it", responseType, c)
			}
		}
	}
}

// Silent authentication in a frame, as auth0-spa-js does it (SEC-29, SEC-46).
func TestWebMessage(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	silent := params("spa", "prompt", "none", "response_mode", "web_message", "state", `</script><script>alert(1)</script>`)
	frame := []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site"}
	a := b.get(t, authorizeURL(silent), frame...)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "login_required") {
		t.Fatalf("before the login: %s: %s", a.Status, a.body)
	}
	b.login(t, params("spa"), ada, adaPassword)
	a = b.get(t, authorizeURL(silent), frame...)
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"authorization_response"`) || !strings.Contains(a.body, `"code"`) ||
		!strings.Contains(a.body, `"https://app.example.com"`) {
		t.Errorf("web_message page: %s: %s", a.Status, a.body)
	}
	if strings.Contains(a.body, "<script>") || strings.Count(a.body, "</script>") != 1 {
		t.Errorf("the state breaks out of the script: %s", a.body)
	}
	csp := a.Header.Get("Content-Security-Policy")
	if a.Header.Get("X-Frame-Options") != "" || strings.Contains(csp, "frame-ancestors") || !strings.Contains(csp, "script-src 'nonce-") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("web_message page: CSP %q, X-Frame-Options %q", csp, a.Header.Get("X-Frame-Options"))
	}
	if strings.Contains(a.body, `, "*")`) {
		t.Error("SEC-29: the message goes to anybody")
	}
	s.hasEvent(t, "ssa", "")

	// From a frame the session serves prompt=none alone (security.md §30).
	a = b.get(t, authorizeURL(params("spa")), frame...)
	if !strings.HasPrefix(a.Header.Get("Location"), "/u/login") {
		t.Errorf("without prompt=none the frame got %s to %q", a.Status, a.Header.Get("Location"))
	}
}

// The form post page escapes and posts to the registered target alone (SEC-30).
func TestFormPost(t *testing.T) {
	t.Parallel()
	b := start(t, change{}).newBrowser(t)
	evil := `"><img src=x onerror=alert(1)>'`
	a := b.get(t, authorizeURL(params("spa", "response_mode", "form_post", "prompt", "none", "state", evil)))
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "<img") || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("form post page: %s: %s", a.Status, a.body)
	}
	if !strings.Contains(a.body, `action="https://app.example.com/cb"`) || !strings.Contains(a.body, `value="login_required"`) {
		t.Errorf("form post page: %s", a.body)
	}
	if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action https://app.example.com;") {
		t.Errorf("CSP = %q, want the target as the only form action", csp)
	}
}

// prompt and max_age against a session (SEC-37).
func TestReauthentication(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	b.login(t, params("spa"), ada, adaPassword)
	loginAt := s.clock.Now()
	s.clock.Advance(time.Hour)
	if got := b.get(t, authorizeURL(params("spa"))).response(t, "https://app.example.com/cb"); got.Get("code") == "" {
		t.Fatalf("single sign-on: %v", got)
	}
	if got := b.get(t, authorizeURL(params("spa", "max_age", "60", "prompt", "none"))).response(t, "https://app.example.com/cb"); got.Get("error") != "login_required" {
		t.Errorf("prompt=none past max_age: %v, want login_required", got)
	}
	for name, request := range map[string]url.Values{
		"prompt=login": params("spa", "prompt", "login"), "max_age": params("spa", "max_age", "3600"), "max_age=0": params("spa", "max_age", "0"),
		"select_account": params("spa", "prompt", "select_account"),
	} {
		if a := b.get(t, authorizeURL(request)); !strings.HasPrefix(a.Header.Get("Location"), "/u/login") {
			t.Errorf("%s: %s to %q, want the login page", name, a.Status, a.Header.Get("Location"))
		}
	}
	got := b.login(t, params("spa", "prompt", "login"), ada, adaPassword).response(t, "https://app.example.com/cb")
	claims := payload(t, b.exchange(t, got.Get("code"), "https://app.example.com/cb")["id_token"].(string))
	if at := time.Unix(int64(claims["auth_time"].(float64)), 0); !at.After(loginAt) {
		t.Errorf("auth_time = %v, want later than %v", at, loginAt)
	}

	// A hint is verified and is only a hint.
	s.addUser(t, "bob@example.com", adaPassword)
	hint := b.exchange(t, b.get(t, authorizeURL(params("spa"))).response(t, "https://app.example.com/cb").Get("code"), "https://app.example.com/cb")["id_token"].(string)
	if got := b.get(t, authorizeURL(params("spa", "prompt", "none", "id_token_hint", hint))).response(t, "https://app.example.com/cb"); got.Get("code") == "" {
		t.Errorf("own hint: %v, want a code", got)
	}
	if got := s.newBrowser(t).get(t, authorizeURL(params("spa", "prompt", "none", "id_token_hint", hint))).response(t, "https://app.example.com/cb"); got.Get("error") != "login_required" {
		t.Errorf("a hint alone: %v, want login_required", got)
	}
	b.login(t, params("spa", "prompt", "login"), "bob@example.com", adaPassword)
	if got := b.get(t, authorizeURL(params("spa", "prompt", "none", "id_token_hint", hint))).response(t, "https://app.example.com/cb"); got.Get("error") != "login_required" {
		t.Errorf("another user's hint: %v, want login_required", got)
	}
}

// The tenant's switch takes iss out of the answers; discovery says so (SEC-35, SEC-266).
func TestIssSwitch(t *testing.T) {
	t.Parallel()
	off := false
	b := start(t, change{settings: tenant.Settings{IssParameter: &off}}).newBrowser(t)
	if got := b.get(t, authorizeURL(params("spa", "prompt", "none"))).response(t, "https://app.example.com/cb"); got.Has("iss") {
		t.Errorf("response = %v, want no iss", got)
	}
	if a := b.get(t, "/.well-known/openid-configuration"); !strings.Contains(a.body, `"authorization_response_iss_parameter_supported":false`) {
		t.Errorf("discovery: %s", a.body)
	}
}

// A native program may choose the port of its loopback address (SEC-22); it gets
// nothing without the user having acted (SEC-41).
func TestNativeLoopback(t *testing.T) {
	t.Parallel()
	b := start(t, change{}).newBrowser(t)
	b.login(t, params("native"), ada, adaPassword).response(t, "http://127.0.0.1:5000/cb")
	if got := b.get(t, authorizeURL(params("native", "prompt", "none"))).response(t, "http://127.0.0.1:5000/cb"); got.Get("error") != "consent_required" {
		t.Errorf("silently: %v, want consent_required", got)
	}
	page := b.follow(t, b.get(t, authorizeURL(params("native", "redirect_uri", "http://127.0.0.1:6000/cb"))))
	if !strings.Contains(page.body, "Desk") || !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self' http://127.0.0.1:6000") {
		t.Errorf("consent page: %s: %s", page.Status, page.body)
	}
	if got := b.post(t, page.action(t), url.Values{"decision": {"allow"}}).response(t, "http://127.0.0.1:6000/cb"); got.Get("code") == "" {
		t.Errorf("after consent: %v", got)
	}
}
