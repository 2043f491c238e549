package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// signedIn is a browser with a session, and an ID token of it.
func signedIn(t *testing.T, s *site) (b *browser, idToken string) {
	t.Helper()
	b = s.newBrowser(t)
	got := b.login(t, params("spa"), ada, adaPassword).response(t, "https://app.example.com/cb")
	return b, b.exchange(t, got.Get("code"), "https://app.example.com/cb")["id_token"].(string)
}

// isSignedIn tells whether the browser's session still works.
func (b *browser) isSignedIn(t *testing.T) bool {
	t.Helper()
	return b.get(t, authorizeURL(params("spa", "prompt", "none"))).response(t, "https://app.example.com/cb").Get("code") != ""
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s := start(t, change{settings: tenant.Settings{AllowedLogoutURLs: []string{"https://tenant.example.com/out"}}})
	tests := map[string]struct {
		query   string
		headers []string
		// location is where it leads; empty means a page of ours.
		location string
		status   int
		ended    bool
	}{
		"bare":                        {"", nil, "", 200, true},
		"client, first URL":           {"?client_id=spa", nil, "https://app.example.com/bye", 302, true},
		"client, registered":          {"?client_id=spa&returnTo=https%3A%2F%2Fapp.example.com%2Fbye%3Fa%3Db%23c&federated", nil, "https://app.example.com/bye?a=b#c", 302, true},
		"tenant's URL":                {"?returnTo=https%3A%2F%2Ftenant.example.com%2Fout", nil, "https://tenant.example.com/out", 302, true},
		"tenant's URL for the client": {"?client_id=spa&returnTo=https%3A%2F%2Ftenant.example.com%2Fout", nil, "", 400, false},
		"client's URL, no client":     {"?returnTo=https%3A%2F%2Fapp.example.com%2Fbye", nil, "", 400, false},
		"foreign, SEC-28":             {"?client_id=spa&returnTo=https%3A%2F%2Fevil.example", nil, "", 400, false},
		"foreign, two slashes":        {"?client_id=spa&returnTo=%2F%2Fevil.example", nil, "", 400, false},
		"unknown client":              {"?client_id=nobody", nil, "", 400, false},
		"repeated":                    {"?client_id=spa&client_id=spa", nil, "", 400, false},
		"image":                       {"?client_id=spa", []string{"Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "cross-site"}, "", 400, false},
		"frame":                       {"?client_id=spa", []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site", "Referer", "https://app.example.com/"}, "", 400, false},
		"loaded ahead":                {"?client_id=spa", []string{"Sec-Purpose", "prefetch;prerender"}, "", 405, false},
		"a click elsewhere":           {"?client_id=spa", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-User", "?1"}, "https://app.example.com/bye", 302, true},
		"the client's script":         {"?client_id=spa", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site", "Referer", "https://app.example.com/"}, "https://app.example.com/bye", 302, true},
		"a script elsewhere asks":     {"?client_id=spa", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site", "Referer", "https://evil.example/"}, "", 200, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := signedIn(t, s)
			a := b.get(t, "/v2/logout"+tt.query, tt.headers...)
			if a.StatusCode != tt.status || a.Header.Get("Location") != tt.location {
				t.Errorf("%s to %q, want %d to %q: %s", a.Status, a.Header.Get("Location"), tt.status, tt.location, a.body)
			}
			if strings.Contains(a.body, "evil.example") {
				t.Error("the page holds the foreign address")
			}
			if got := !b.isSignedIn(t); got != tt.ended {
				t.Errorf("session ended: %v, want %v", got, tt.ended)
			}
			if tt.ended && a.Header.Get("Clear-Site-Data") == "" {
				t.Error("SEC-238: no Clear-Site-Data")
			}
		})
	}
}

// RP-initiated logout: at once with an ID token of this session, else after the
// user's word (SEC-158).
func TestOIDCLogout(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	_, foreign := signedIn(t, s)
	bye := "&post_logout_redirect_uri=" + url.QueryEscape("https://app.example.com/bye") + "&state=st%26x"
	tests := map[string]struct {
		query    func(hint string) string
		location string
		status   int
		ended    bool
	}{
		"hint":                     {func(h string) string { return "id_token_hint=" + h + bye }, "https://app.example.com/bye?state=st%26x", 302, true},
		"hint and client":          {func(h string) string { return "client_id=spa&id_token_hint=" + h + bye }, "https://app.example.com/bye?state=st%26x", 302, true},
		"hint alone":               {func(h string) string { return "id_token_hint=" + h }, "", 200, true},
		"logout_hint":              {func(h string) string { return "client_id=spa&logout_hint=" + payload(t, h)["sid"].(string) + bye }, "https://app.example.com/bye?state=st%26x", 302, true},
		"hint of another client":   {func(h string) string { return "client_id=strict&id_token_hint=" + h }, "", 400, false},
		"hints that disagree":      {func(h string) string { return "logout_hint=other&id_token_hint=" + h }, "", 400, false},
		"foreign address":          {func(h string) string { return "post_logout_redirect_uri=https%3A%2F%2Fevil.example&id_token_hint=" + h }, "", 400, false},
		"address without a client": {func(string) string { return bye[1:] }, "", 400, false},
		"malformed hint":           {func(string) string { return "id_token_hint=x" }, "", 400, false},
		"long state, SEC-36":       {func(h string) string { return "id_token_hint=" + h + "&state=" + strings.Repeat("s", 2049) }, "", 400, false},
		"forged hint asks":         {func(h string) string { return "client_id=spa&id_token_hint=" + h[:len(h)-8] + "AAAAAAAA" + bye }, "", 200, false},
		"another session's hint":   {func(string) string { return "id_token_hint=" + foreign + bye }, "", 200, false},
		"nothing asks":             {func(string) string { return "" }, "", 200, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, hint := signedIn(t, s)
			a := b.get(t, "/oidc/logout?"+tt.query(hint))
			if a.StatusCode != tt.status || a.Header.Get("Location") != tt.location {
				t.Errorf("%s to %q, want %d to %q: %s", a.Status, a.Header.Get("Location"), tt.status, tt.location, a.body)
			}
			if got := !b.isSignedIn(t); got != tt.ended {
				t.Errorf("session ended: %v, want %v", got, tt.ended)
			}
		})
	}
}

// The confirmation belongs to the session and comes from our own page (SEC-155,
// SEC-158).
func TestLogoutConfirmation(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b, _ := signedIn(t, s)
	page := b.get(t, "/oidc/logout?client_id=spa&state=st&post_logout_redirect_uri="+url.QueryEscape("https://app.example.com/bye"))
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "Planner") || page.action(t) != "/u/logout" {
		t.Fatalf("confirmation page: %s: %s", page.Status, page.body)
	}
	form := url.Values{}
	for _, name := range []string{"client_id", "state", "post_logout_redirect_uri", "confirmation"} {
		_, rest, ok := strings.Cut(page.body, `name="`+name+`" value="`)
		if !ok {
			t.Fatalf("no field %s: %s", name, page.body)
		}
		value, _, _ := strings.Cut(rest, `"`)
		form.Set(name, value)
	}
	if a := b.post(t, "/u/logout", form, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); a.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %s, want 403", a.Status)
	}
	other, _ := signedIn(t, s)
	if a := other.post(t, "/u/logout", form); a.StatusCode != http.StatusOK || !other.isSignedIn(t) {
		t.Errorf("another session's confirmation: %s, want to be asked again", a.Status)
	}
	foreign := url.Values{"confirmation": {form.Get("confirmation")}, "post_logout_redirect_uri": {"https://evil.example"}}
	if a := b.post(t, "/u/logout", foreign); a.StatusCode != http.StatusBadRequest || !b.isSignedIn(t) {
		t.Errorf("a foreign address with it: %s, want 400", a.Status)
	}
	a := b.post(t, "/u/logout", form)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "https://app.example.com/bye?state=st" || b.isSignedIn(t) {
		t.Errorf("confirmed: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if a := s.newBrowser(t).get(t, "/oidc/logout"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "You are logged out") {
		t.Errorf("without a session: %s: %s", a.Status, a.body)
	}
}

// Looking ahead changes nothing: HEAD ends no session and opens no transaction.
func TestHead(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b, _ := signedIn(t, s)
	for _, target := range []string{"/v2/logout", "/oidc/logout", authorizeURL(params("spa"))} {
		if a := b.do(t, http.MethodHead, target, nil); a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Location") != "" {
			t.Errorf("HEAD %s: %s to %q, want 405", target, a.Status, a.Header.Get("Location"))
		}
	}
	if !b.isSignedIn(t) {
		t.Error("HEAD ended the session")
	}
}
