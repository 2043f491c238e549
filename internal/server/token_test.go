package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// tokens is an answer of the token endpoint, good or bad.
type tokens struct {
	AccessToken  string      `json:"access_token"`
	RefreshToken string      `json:"refresh_token"`
	IDToken      string      `json:"id_token"`
	Scope        string      `json:"scope"`
	ExpiresIn    json.Number `json:"expires_in"`
	TokenType    string      `json:"token_type"`
	Error        string      `json:"error"`
	Description  string      `json:"error_description"`
}

func (a answer) tokens(t *testing.T) tokens {
	t.Helper()
	var out tokens
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%s: %v: %s", a.Status, err, a.body)
	}
	return out
}

// wantTokenHeaders is SEC-62: what holds for every answer of the endpoint.
func (a answer) wantTokenHeaders(t *testing.T) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json", "Set-Cookie": "", "Location": "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", a.Status, name, got, want)
		}
	}
}

// send posts a body of any kind to a path.
func (b *browser) send(t *testing.T, path, contentType, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = b.tenant.Domain
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(text)}
}

// codeFor signs the user in and returns the code for the client.
func (b *browser) codeFor(t *testing.T, v url.Values) string {
	t.Helper()
	code := b.login(t, v, ada, adaPassword).response(t, v.Get("redirect_uri")).Get("code")
	if code == "" {
		t.Fatal("no code")
	}
	return code
}

func codeForm(client, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code},
		"redirect_uri": {params(client).Get("redirect_uri")}, "code_verifier": {verifier},
	}
}

// The main job: code, refresh by JSON, reuse found out.
func TestTokenEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	code := b.codeFor(t, params("spa", "scope", "openid email offline_access", "audience", "https://calendar.example"))
	first := b.post(t, "/oauth/token", codeForm("spa", code), "Origin", "https://app.example.com")
	first.wantTokenHeaders(t)
	got := first.tokens(t)
	if first.StatusCode != 200 || got.TokenType != "Bearer" || got.ExpiresIn != "86400" || got.Scope != "openid email offline_access" || got.RefreshToken == "" {
		t.Fatalf("%s: %s", first.Status, first.body)
	}
	if claims := payload(t, got.AccessToken); claims["azp"] != "spa" || claims["iss"] != s.issuer {
		t.Errorf("access token has %v", claims)
	}
	if claims := payload(t, got.IDToken); claims["aud"] != "spa" || claims["email"] != ada {
		t.Errorf("ID token has %v", claims)
	}
	body := `{"grant_type":"refresh_token","client_id":"spa","refresh_token":"` + got.RefreshToken + `","scope":"","client_secret":null}`
	second := b.send(t, "/oauth/token", "application/json", body)
	second.wantTokenHeaders(t)
	if next := second.tokens(t); second.StatusCode != 200 || next.RefreshToken == got.RefreshToken || next.RefreshToken == "" {
		t.Errorf("%s: %s", second.Status, second.body)
	}
	again := b.send(t, "/oauth/token", "application/json", body)
	again.wantTokenHeaders(t)
	if e := again.tokens(t); again.StatusCode != 403 || e.Error != "invalid_grant" || e.Description != "Unknown or invalid refresh token." {
		t.Errorf("reuse: %s: %s", again.Status, again.body)
	}
}

// SEC-34, SEC-60, SEC-61, SEC-62, SEC-230: what cannot be read is refused with one
// clear text, echoes nothing, and leaves an event and no trace of the input.
func TestTokenEndpointBadInput(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	const form, canary = "application/x-www-form-urlencoded", "canaryvalue"
	good := "grant_type=refresh_token&client_id=spa&refresh_token=" + canary
	tests := map[string]struct {
		path, contentType, body string
		headers                 []string
		status                  int
		code                    string
	}{
		"repeated parameter":        {"/oauth/token", form, good + "&client_id=spa", nil, 400, "invalid_request"},
		"no content type":           {"/oauth/token", "", good, nil, 400, "invalid_request"},
		"another type":              {"/oauth/token", "text/plain", good, nil, 400, "invalid_request"},
		"another charset":           {"/oauth/token", form + "; charset=utf-16", good, nil, 400, "invalid_request"},
		"too large":                 {"/oauth/token", form, good + strings.Repeat("x", 64<<10), nil, 413, "invalid_request"},
		"malformed UTF-8":           {"/oauth/token", form, good + "&scope=%ff", nil, 400, "invalid_request"},
		"JSON of a wrong type":      {"/oauth/token", "application/json", `{"grant_type":"refresh_token","client_id":"spa","refresh_token":["` + canary + `"]}`, nil, 400, "invalid_request"},
		"JSON too deep":             {"/oauth/token", "application/json", `{"grant_type":"refresh_token","x":[[[[["` + canary + `"]]]]]}`, nil, 400, "invalid_request"},
		"JSON, repeated":            {"/oauth/token", "application/json", `{"grant_type":"` + canary + `","grant_type":"x"}`, nil, 400, "invalid_request"},
		"code in the query":         {"/oauth/token?code=" + canary, form, good, nil, 400, "invalid_request"},
		"two credentials":           {"/oauth/token", form, good + "&client_secret=" + canary, []string{"Authorization", "Basic c3BhOng="}, 400, "invalid_request"},
		"two clients":               {"/oauth/token", form, good, []string{"Authorization", "Basic b3RoZXI6eA=="}, 400, "invalid_request"},
		"no grant type":             {"/oauth/token", form, "client_id=" + canary, nil, 400, "invalid_request"},
		"unknown grant type":        {"/oauth/token", form, "grant_type=" + "urn:x" + "&client_id=spa", nil, 403, "unsupported_grant_type"},
		"unknown client":            {"/oauth/token", form, "grant_type=refresh_token&refresh_token=" + canary + "&client_id=nobody", nil, 401, "access_denied"},
		"secret of a public client": {"/oauth/token", form, good + "&client_secret=" + canary, nil, 401, "access_denied"},
		"unknown refresh token":     {"/oauth/token", form, good, nil, 403, "invalid_grant"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := b.send(t, tt.path, tt.contentType, tt.body, tt.headers...)
			a.wantTokenHeaders(t)
			if e := a.tokens(t); a.StatusCode != tt.status || e.Error != tt.code || e.Description == "" {
				t.Errorf("%s: %s, want %d %s", a.Status, a.body, tt.status, tt.code)
			}
			if strings.Contains(a.body, canary) {
				t.Errorf("the answer echoes the input: %s", a.body)
			}
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if a := b.do(t, method, "/oauth/token?grant_type=refresh_token", nil); a.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %s, want 405", method, a.Status)
		}
	}
	if strings.Contains(s.log.String(), canary) {
		t.Error("the log holds what was sent")
	}
	// A request that writes takes the waiting events along.
	b.codeFor(t, params("spa"))
	reasons := map[string]int{}
	for _, e := range s.events(t) {
		reasons[e.Reason] += max(e.Count, 1)
		if text, err := json.Marshal(e); err != nil || strings.Contains(string(text), canary) && e.ClientID != canary {
			t.Errorf("an event holds what was sent: %s", text)
		}
	}
	for reason, want := range map[string]int{
		"malformed_request": 10, "two_credentials": 2, "missing_parameter": 1, "unsupported_grant_type": 1,
		"unknown_client": 1, "wrong_auth_method": 1, "unknown": 1,
	} {
		if reasons[reason] != want {
			t.Errorf("%d events of reason %s, want %d", reasons[reason], reason, want)
		}
	}
}

// RFC 6749 §5.2: the scheme is named to a client that tried it.
func TestTokenEndpointBasicChallenge(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	form := url.Values{"grant_type": {"client_credentials"}}
	a := b.post(t, "/oauth/token", form, "Authorization", "Basic bm9ib2R5OnNlY3JldA==")
	if e := a.tokens(t); a.StatusCode != 401 || e.Error != "access_denied" || e.Description != "Unauthorized" ||
		a.Header.Get("WWW-Authenticate") != `Basic realm="`+s.tenant.Domain+`"` {
		t.Errorf("%s, %q: %s", a.Status, a.Header.Get("WWW-Authenticate"), a.body)
	}
	form.Set("client_id", "nobody")
	if a := b.post(t, "/oauth/token", form); a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("a client that did not try Basic is asked for it: %q", a.Header.Get("WWW-Authenticate"))
	}
}

// RFC 7009 §2.2: 200 without a body, for what there is nothing to end of too.
func TestRevokeEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	got := b.post(t, "/oauth/token", codeForm("spa", b.codeFor(t, params("spa", "scope", "openid offline_access")))).tokens(t)
	for name, token := range map[string]string{"nonsense": "x", "an access token": got.AccessToken, "live": got.RefreshToken, "again": got.RefreshToken} {
		a := b.send(t, "/oauth/revoke", "application/json", `{"client_id":"spa","token":"`+token+`","token_type_hint":"refresh_token"}`)
		if a.StatusCode != 200 || a.body != "" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s: %q", name, a.Status, a.body)
		}
	}
	a := b.post(t, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"spa"}, "refresh_token": {got.RefreshToken}})
	if e := a.tokens(t); e.Error != "invalid_grant" {
		t.Errorf("after the revocation: %s", a.body)
	}
	a = b.post(t, "/oauth/revoke", url.Values{"client_id": {"spa"}})
	if e := a.tokens(t); a.StatusCode != 400 || e.Description != "Missing required parameter: token" {
		t.Errorf("without a token: %s: %s", a.Status, a.body)
	}
	a = b.post(t, "/oauth/revoke", url.Values{"client_id": {"nobody"}, "token": {"x"}})
	if e := a.tokens(t); a.StatusCode != 401 || e.Error != "invalid_client" {
		t.Errorf("unknown client: %s: %s", a.Status, a.body)
	}
}

// RFC 6750 §2 and §3, SEC-103.
func TestUserinfoEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	raw := b.post(t, "/oauth/token", codeForm("spa", b.codeFor(t, params("spa")))).tokens(t).AccessToken
	bearer := "Bearer " + raw
	want := `{"sub":"auth0|` + hexOf(ada) + `","email":"` + ada + `","email_verified":false}` + "\n"
	for name, a := range map[string]answer{
		"header":         b.get(t, "/userinfo", "Authorization", bearer),
		"any case":       b.get(t, "/userinfo", "Authorization", "bEARER "+raw),
		"POST, header":   b.do(t, http.MethodPost, "/userinfo", nil, "Authorization", bearer),
		"POST, form":     b.post(t, "/userinfo", url.Values{"access_token": {raw}}),
		"POST, no token": b.post(t, "/userinfo", url.Values{"x": {"y"}}, "Authorization", bearer),
	} {
		if a.StatusCode != 200 || a.body != want || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
	}
	realm := `Bearer realm="` + s.tenant.Domain + `"`
	invalid := realm + `, error="invalid_token", error_description="Unauthorized"`
	for name, tt := range map[string]struct {
		answer    answer
		status    int
		code      string
		challenge string
	}{
		"no token":         {b.get(t, "/userinfo"), 401, "invalid_token", realm},
		"another scheme":   {b.get(t, "/userinfo", "Authorization", "Basic eDp5"), 401, "invalid_token", realm},
		"nonsense":         {b.get(t, "/userinfo", "Authorization", "Bearer x"), 401, "invalid_token", invalid},
		"cut":              {b.get(t, "/userinfo", "Authorization", bearer[:len(bearer)-2]), 401, "invalid_token", invalid},
		"in the query":     {b.get(t, "/userinfo?access_token="+raw), 400, "invalid_request", ""},
		"query and header": {b.get(t, "/userinfo?access_token="+raw, "Authorization", bearer), 400, "invalid_request", ""},
		"two headers":      {b.get(t, "/userinfo", "Authorization", bearer, "Authorization", bearer), 400, "invalid_request", ""},
		"header and form":  {b.post(t, "/userinfo", url.Values{"access_token": {raw}}, "Authorization", bearer), 400, "invalid_request", ""},
	} {
		if e := tt.answer.tokens(t); tt.answer.StatusCode != tt.status || e.Error != tt.code || tt.answer.Header.Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: %s, %q: %s", name, tt.answer.Status, tt.answer.Header.Get("WWW-Authenticate"), tt.answer.body)
		}
	}
	a := b.get(t, "/userinfo", "Authorization", "Bearer "+b.post(t, "/oauth/token",
		codeForm("strict", s.newBrowser(t).codeFor(t, params("strict", "scope", "email")))).tokens(t).AccessToken)
	if e := a.tokens(t); a.StatusCode != 403 || e.Error != "insufficient_scope" || !strings.HasSuffix(a.Header.Get("WWW-Authenticate"), `, scope="openid"`) {
		t.Errorf("without openid: %s, %q: %s", a.Status, a.Header.Get("WWW-Authenticate"), a.body)
	}
	if _, err := s.store.UpdateUser(t.Context(), tenantID, "auth0|"+hexOf(ada), func(u tenant.User) (tenant.User, error) {
		u.Blocked = true
		return u, nil
	}, "", tenant.Event{TenantID: tenantID, At: s.clock.Now(), Type: "sapi"}); err != nil {
		t.Fatal(err)
	}
	if a := b.get(t, "/userinfo", "Authorization", bearer); a.StatusCode != 401 {
		t.Errorf("of a blocked user: %s", a.Status)
	}
}
