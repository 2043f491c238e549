package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var requestIDs = regexp.MustCompile(`[0-9a-f]{24}`)

// Unknown user and wrong password look the same and keep what was typed, but not
// the password (SEC-162). A blocked user does too until the password was right.
func TestRefusedLogins(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	blocked := s.addUser(t, "bob@example.com", adaPassword)
	block := func(u tenant.User) (tenant.User, error) { u.Blocked = true; return u, nil }
	if _, err := s.store.UpdateUser(t.Context(), tenantID, blocked.ID, block, "", tenant.Event{TenantID: tenantID, At: s.clock.Now(), Type: "sapi"}); err != nil {
		t.Fatal(err)
	}
	page := b.follow(t, b.get(t, authorizeURL(params("spa"))))
	var bodies []string
	for _, name := range []string{ada, "none@example.com", "bob@example.com"} {
		a := b.post(t, page.action(t), url.Values{"identifier": {name}, "password": {"wrong-password-1"}})
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, `value="`+name+`"`) {
			t.Errorf("%s: %s: %s", name, a.Status, a.body)
		}
		if strings.Contains(a.body, "wrong-password-1") {
			t.Errorf("%s: the page holds the password", name)
		}
		bodies = append(bodies, strings.ReplaceAll(requestIDs.ReplaceAllString(a.body, ""), name, ""))
	}
	if bodies[0] != bodies[1] || bodies[0] != bodies[2] {
		t.Error("SEC-162: the pages differ")
	}
	if a := b.post(t, page.action(t), url.Values{"identifier": {ada}, "password": {strings.Repeat("x", 2000)}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("password of 2,000 bytes: %s, want 400", a.Status)
	}
	for field, form := range map[string]url.Values{"identifier": {"password": {"x"}}, "password": {"identifier": {ada}}} {
		a := b.post(t, page.action(t), form)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `aria-describedby="`+field+`-fault"`) || !strings.Contains(a.body, `id="`+field+`-fault"`) {
			t.Errorf("empty %s: %s: %s", field, a.Status, a.body)
		}
	}
	got := b.post(t, page.action(t), url.Values{"identifier": {"bob@example.com"}, "password": {adaPassword}}).response(t, "https://app.example.com/cb")
	if got.Get("error") != "unauthorized" || got.Get("error_description") != "user is blocked" {
		t.Errorf("blocked user, right password: %v, want unauthorized", got)
	}
	s.hasEvent(t, "fp", "")
	s.hasEvent(t, "fu", "")
	s.hasEvent(t, "f", "user_blocked")
}

// Signing up makes the user and signs him in; a taken address is told as any
// other refusal (SEC-163), unless the tenant chose otherwise (SEC-266).
func TestSignup(t *testing.T) {
	t.Parallel()
	for name, flag := range map[string]bool{"hidden": false, "told": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, change{settings: tenant.Settings{Flags: tenant.Flags{EnablePublicSignupUserExistsError: flag}}})
			b := s.newBrowser(t)
			first := b.get(t, authorizeURL(params("spa", "screen_hint", "signup", "login_hint", `"><b>@x`)))
			if !strings.HasPrefix(first.Header.Get("Location"), "/u/signup?") {
				t.Fatalf("screen_hint=signup leads to %q", first.Header.Get("Location"))
			}
			page := b.follow(t, first)
			if strings.Contains(page.body, "<b>") || !strings.Contains(page.body, "At least 8 characters in length") {
				t.Errorf("sign-up page: %s", page.body)
			}
			try := func(email, pw string) answer {
				t.Helper()
				return b.post(t, page.action(t), url.Values{"email": {email}, "password": {pw}})
			}
			for _, bad := range []struct{ email, pw, text string }{
				{"not-an-address", "Str0ng-enough", "This is not an e-mail address."},
				{"", "Str0ng-enough", "Enter an e-mail address."},
				{"eve@example.com", "", "Enter a password."},
				{"eve@example.com", "abc", "The password is too weak."},
				{"eve@example.com", "Password1", "list of common ones"},
				{"evelyn.smith@example.com", "Evelyn.smith1", "your own name or address"},
			} {
				a := try(bad.email, bad.pw)
				if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, bad.text) || bad.pw != "" && strings.Contains(a.body, `"`+bad.pw+`"`) {
					t.Errorf("%s, %s: %s, want 400 with %q: %s", bad.email, bad.pw, a.Status, bad.text, a.body)
				}
			}
			want := "This account could not be created."
			if flag {
				want = "There already is an account with this address."
			}
			if a := try(" ADA@example.com ", "Str0ng-enough"); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, want) {
				t.Errorf("taken address: %s, want %q: %s", a.Status, want, a.body)
			}
			done := try("Eve@Example.com", "Str0ng-enough")
			if done.response(t, "https://app.example.com/cb").Get("code") == "" || done.StatusCode != http.StatusSeeOther {
				t.Errorf("sign-up ends with %s to %q", done.Status, done.Header.Get("Location"))
			}
			if got := s.newBrowser(t).login(t, params("spa"), "eve@example.com", "Str0ng-enough").response(t, "https://app.example.com/cb"); got.Get("code") == "" {
				t.Errorf("the new user logs in: %v", got)
			}
			s.hasEvent(t, "ss", "")
			s.hasEvent(t, "fs", "user_exists")
		})
	}
}

// Where sign-up is off, it is off on every path (SEC-176).
func TestSignupDisabled(t *testing.T) {
	t.Parallel()
	s := start(t, change{connection: strings.Replace(connectionDocument, `"options":{`, `"options":{"disable_signup":true,`, 1)})
	b := s.newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa", "screen_hint", "signup"))))
	if page.Request.URL.Path != "/u/login" || strings.Contains(page.body, "/u/signup") {
		t.Errorf("screen_hint=signup leads to %s: %s", page.Request.URL.Path, page.body)
	}
	target := strings.Replace(page.action(t), "/u/login", "/u/signup", 1)
	if a := b.get(t, target); a.StatusCode != http.StatusForbidden {
		t.Errorf("GET: %s, want 403", a.Status)
	}
	if a := b.post(t, target, url.Values{"email": {"eve@example.com"}, "password": {"Str0ng-enough"}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("POST: %s, want 403", a.Status)
	}
}

// A third-party client asks each user once for each thing (SEC-41), and the name
// it gave itself is text (SEC-43).
func TestConsent(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	const cb = "https://third.example.net/cb"
	request := params("third", "scope", "openid read:events", "audience", "https://calendar.example")
	page := b.follow(t, b.login(t, request, ada, adaPassword))
	for _, text := range []string{"Mail &lt;Merge&gt;", "Know who you are", "Calendar", "Read your events", "Each access lasts 1 day.", ada} {
		if !strings.Contains(page.body, text) {
			t.Errorf("consent page lacks %q: %s", text, page.body)
		}
	}
	if a := b.post(t, page.action(t), url.Values{"decision": {"maybe"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("no decision: %s, want 400", a.Status)
	}
	denied := b.post(t, page.action(t), url.Values{"decision": {"deny"}}).response(t, cb)
	if denied.Get("error") != "access_denied" || denied.Get("state") != "st" {
		t.Errorf("declined: %v, want access_denied", denied)
	}
	if got := b.get(t, authorizeURL(params("third", "prompt", "none"))).response(t, cb); got.Get("error") != "consent_required" {
		t.Errorf("silently before consent: %v, want consent_required (SEC-37)", got)
	}
	page = b.follow(t, b.get(t, authorizeURL(request)))
	if got := b.post(t, page.action(t), url.Values{"decision": {"allow"}}).response(t, cb); got.Get("code") == "" {
		t.Errorf("allowed: %v, want a code", got)
	}
	request.Set("prompt", "none")
	if got := b.get(t, authorizeURL(request)).response(t, cb); got.Get("code") == "" {
		t.Errorf("silently after consent: %v, want a code", got)
	}
	request.Set("scope", "openid read:events write:events")
	if got := b.get(t, authorizeURL(request)).response(t, cb); got.Get("error") != "consent_required" {
		t.Errorf("more than was allowed: %v, want consent_required", got)
	}
	s.hasEvent(t, "f", "user_denied")
}

// The user who consents is the user the code is for (SEC-42): after a change of
// user in another tab the transaction starts over.
func TestConsentOfAnotherUser(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	s.addUser(t, "bob@example.com", adaPassword)
	b := s.newBrowser(t)
	page := b.follow(t, b.login(t, params("third"), ada, adaPassword))
	b.login(t, params("spa", "prompt", "login"), "bob@example.com", adaPassword)
	a := b.post(t, page.action(t), url.Values{"decision": {"allow"}})
	if !strings.HasPrefix(a.Header.Get("Location"), "/u/login") {
		t.Errorf("consent as another user: %s to %q, want the login page", a.Status, a.Header.Get("Location"))
	}
	if a := b.get(t, page.Request.URL.RequestURI()); !strings.HasPrefix(a.Header.Get("Location"), "/u/login") {
		t.Errorf("the consent page then: %s to %q, want the login page", a.Status, a.Header.Get("Location"))
	}
}

// A session's cookie changes with each login and the older one dies (SEC-151,
// SEC-161); limits are the server's (SEC-153); a copied value is worthless after
// logout (SEC-152).
func TestSessions(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	const cb = "https://app.example.com/cb"
	silent := authorizeURL(params("spa", "prompt", "none"))
	session := func(a answer) string {
		t.Helper()
		for _, c := range a.Cookies() {
			if strings.Contains(c.Name, "session") {
				return c.Name + "=" + c.Value
			}
		}
		t.Fatalf("no session cookie: %s", a.Status)
		return ""
	}
	works := func(cookie string) bool {
		t.Helper()
		return s.newBrowser(t).get(t, silent, "Cookie", cookie).response(t, cb).Get("code") != ""
	}
	one := session(b.login(t, params("spa"), ada, adaPassword))
	if !works(one) {
		t.Fatal("the session does not work")
	}
	two := session(b.login(t, params("spa", "prompt", "login"), ada, adaPassword))
	if two == one || works(one) || !works(two) {
		t.Errorf("after a second login: same value %v, old works %v, new works %v", one == two, works(one), works(two))
	}
	if works(two + "; " + two) { // SEC-157
		t.Error("two cookies of one name count")
	}
	if works(strings.Repeat("a=b; ", 50) + two) { // SEC-157
		t.Error("more than 50 cookies count")
	}
	if !works(strings.Repeat("a=b; ", 49) + two) {
		t.Error("50 cookies do not count")
	}
	for _, bad := range []string{two[:len(two)-1], two + "x", strings.ToUpper(two), strings.Split(two, "=")[0] + "="} {
		if works(bad) {
			t.Error("a spoiled value works")
		}
	}

	s.clock.Advance(72*time.Hour - time.Millisecond)
	if !works(two) {
		t.Error("the session ends before its idle limit")
	}
	s.clock.Advance(71 * time.Hour) // used: the idle time began again
	if !works(two) {
		t.Error("use does not extend the idle time")
	}
	s.clock.Advance(25*time.Hour + time.Millisecond) // 168 h after the login
	if works(two) {
		t.Error("the session outlives its absolute limit")
	}

	three := session(b.login(t, params("spa"), ada, adaPassword))
	if a := b.get(t, "/v2/logout?client_id=spa&returnTo=https%3A%2F%2Fapp.example.com%2Fbye"); a.Header.Get("Location") != "https://app.example.com/bye" {
		t.Errorf("logout: %s to %q", a.Status, a.Header.Get("Location"))
	}
	if works(three) {
		t.Error("SEC-152: the value works after logout")
	}
	s.hasEvent(t, "slo", "")
}

// A session cookie without end when the tenant says so, else for its life.
func TestSessionCookieMode(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int{"persistent": 168 * 3600, "non-persistent": 0} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := start(t, change{settings: tenant.Settings{SessionCookie: &tenant.Cookie{Mode: mode}}}).newBrowser(t)
			for _, c := range b.login(t, params("spa"), ada, adaPassword).Cookies() {
				if strings.Contains(c.Name, "session") && c.MaxAge != want {
					t.Errorf("Max-Age = %d, want %d", c.MaxAge, want)
				}
			}
		})
	}
}

// The first administrator's link works once, for 30 minutes (SEC-177).
func TestSetup(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	link := "/u/setup?ticket=" + s.ticket
	page := b.get(t, link)
	if page.StatusCode != http.StatusOK {
		t.Fatalf("setup page: %s: %s", page.Status, page.body)
	}
	form := url.Values{"email": {"root@example.com"}, "password": {"abc"}}
	if a := b.post(t, page.action(t), form); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `value="root@example.com"`) {
		t.Errorf("weak password: %s: %s", a.Status, a.body)
	}
	form.Set("password", "Str0ng-enough")
	if a := b.post(t, "/u/setup?ticket="+strings.Repeat("A", 43), form); a.StatusCode != http.StatusForbidden {
		t.Errorf("made-up ticket: %s, want 403", a.Status)
	}
	if a := b.post(t, page.action(t), form); a.StatusCode != http.StatusOK {
		t.Errorf("setup: %s: %s", a.Status, a.body)
	}
	u, _, err := s.store.UserForPassword(t.Context(), tenantID, tenant.DefaultConnection, "root@example.com")
	if err != nil || !u.Administrator {
		t.Errorf("the user: administrator %v (%v)", u.Administrator, err)
	}
	form.Set("email", "second@example.com")
	if a := b.post(t, page.action(t), form); a.StatusCode != http.StatusForbidden {
		t.Errorf("second use: %s, want 403", a.Status)
	}
	if a := b.get(t, link); a.StatusCode != http.StatusForbidden {
		t.Errorf("the page after use: %s, want 403", a.Status)
	}

	late := start(t, change{})
	late.clock.Advance(30 * time.Minute)
	if a := late.newBrowser(t).get(t, "/u/setup?ticket="+late.ticket); a.StatusCode != http.StatusForbidden {
		t.Errorf("after 30 minutes: %s, want 403", a.Status)
	}
}

// One form sent many times at once gives at most one code, and no fault (SEC-3,
// SEC-33).
func TestParallelForms(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	for _, client := range []string{"spa", "third"} {
		page := b.follow(t, b.get(t, authorizeURL(params(client, "prompt", "login"))))
		form := url.Values{"identifier": {ada}, "password": {adaPassword}}
		if client == "third" {
			page = b.follow(t, b.post(t, page.action(t), form))
			form = url.Values{"decision": {"allow"}}
		}
		const n = 16
		answers := make(chan answer, n)
		for range n {
			go func() { answers <- b.post(t, page.action(t), form) }()
		}
		codes := 0
		for range n {
			a := <-answers
			if strings.Contains(a.Header.Get("Location"), "code=") {
				codes++
			}
			if a.StatusCode >= 500 && a.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: %s: %s", client, a.Status, a.body)
			}
		}
		if codes > 1 || client == "third" && codes != 1 {
			t.Errorf("%s: %d codes, want one", client, codes)
		}
	}
}
