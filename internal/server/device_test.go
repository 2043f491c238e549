package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// device begins a login of the television and returns the two codes.
func (s *site) device(t *testing.T, scope string) (deviceCode, userCode string) {
	t.Helper()
	a := s.newBrowser(t).post(t, "/oauth/device/code", url.Values{"client_id": {"tv"}, "scope": {scope}})
	if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("device authorization: %s %s", a.Status, a.body)
	}
	o := object(t, a.body)
	return o["device_code"].(string), o["user_code"].(string)
}

func (s *site) redeemDevice(t *testing.T, code string) answer {
	t.Helper()
	return s.newBrowser(t).post(t, "/oauth/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {"tv"}, "device_code": {code}})
}

func (a answer) leadsTo(t *testing.T, path string) {
	t.Helper()
	if location := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || location != path {
		t.Errorf("%s leads to %q, want %q: %s", a.Status, location, path, a.body)
	}
}

// RFC 8628 §3.3, SEC-66: the page posts without script, names the client and asks
// for a yes, with the complete link too.
func TestDeviceJourney(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	deviceCode, userCode := s.device(t, "openid email offline_access")
	b := s.newBrowser(t)
	page := b.get(t, "/activate?user_code="+url.QueryEscape(userCode))
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `value="`+userCode+`"`) || strings.Contains(page.body, "<script") {
		t.Fatalf("the complete link shows %s %s", page.Status, page.body)
	}
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "authorization_pending" || a.StatusCode != http.StatusForbidden {
		t.Errorf("after the link alone: %s %s", a.Status, a.body)
	}
	login := b.follow(t, b.post(t, page.action(t), url.Values{"user_code": {strings.ToLower(userCode)}}))
	if !strings.Contains(login.body, "Television") {
		t.Errorf("the login page names no client: %s", login.body)
	}
	asked := b.follow(t, b.post(t, login.action(t), url.Values{"identifier": {ada}, "password": {adaPassword}}))
	for _, want := range []string{"Television", ada, "127.0.0.1", `value="allow"`, `value="deny"`, "while you are away"} {
		if !strings.Contains(asked.body, want) {
			t.Errorf("the page lacks %q: %s", want, asked.body)
		}
	}
	s.clock.Advance(5 * time.Second)
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "authorization_pending" {
		t.Errorf("after the login alone: %s", a.body)
	}
	end := b.post(t, asked.action(t), url.Values{"decision": {"allow"}})
	end.leadsTo(t, "/device/success")
	if done := b.get(t, "/device/success"); done.StatusCode != http.StatusOK {
		t.Errorf("the last page is %s", done.Status)
	}
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "slow_down" || a.StatusCode != 429 || a.Header.Get("Retry-After") != "5" {
		t.Errorf("polled too fast: %s %v", a.body, a.Header)
	}
	s.clock.Advance(5 * time.Second)
	tokens := object(t, s.redeemDevice(t, deviceCode).body)
	if tokens["refresh_token"] == nil || tokens["id_token"] == nil || tokens["scope"] != "openid email offline_access" {
		t.Errorf("tokens are %v", tokens)
	}
	s.hasEvent(t, "s", "device_allowed")
	s.hasEvent(t, "sede", "issued")
	if a := b.post(t, asked.action(t), url.Values{"decision": {"allow"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a second yes: %s", a.Status)
	}
}

// SEC-66: who is logged in is asked all the same, and may decline.
func TestDeviceDeclined(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	b.login(t, params("spa"), ada, adaPassword)
	deviceCode, userCode := s.device(t, "openid")
	asked := b.follow(t, b.post(t, "/activate", url.Values{"user_code": {userCode}}))
	if !strings.Contains(asked.body, "Television") || !strings.HasPrefix(asked.action(t), "/u/device?") {
		t.Fatalf("with a session the page is %s", asked.body)
	}
	if a := b.post(t, asked.action(t), url.Values{}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("no decision: %s", a.Status)
	}
	b.post(t, asked.action(t), url.Values{"decision": {"deny"}}).leadsTo(t, "/device/denied")
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "access_denied" || object(t, a.body)["error_description"] != "User cancelled the confirmation prompt." {
		t.Errorf("after a no: %s", a.body)
	}
	s.hasEvent(t, "fdecc", "device_denied")
	if a := b.post(t, "/activate", url.Values{"user_code": {userCode}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a decided code: %s", a.Status)
	}
}

// SEC-66: ten wrong codes a browser, a hundred a source, in an hour.
func TestUserCodeTries(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	_, userCode := s.device(t, "openid")
	try := func(b *browser, code string) int {
		return b.post(t, "/activate", url.Values{"user_code": {code}}).StatusCode
	}
	b := s.newBrowser(t)
	b.get(t, "/activate")
	for n := range 10 {
		if got := try(b, "BBBBB-BBBBB"); got != http.StatusBadRequest {
			t.Fatalf("wrong code %d: %d", n+1, got)
		}
	}
	if got := try(b, "BBBBB-BBBBB"); got != http.StatusTooManyRequests {
		t.Errorf("the eleventh wrong code: %d, want 429", got)
	}
	if got := try(b, userCode); got != http.StatusTooManyRequests {
		t.Errorf("a right code beyond the limit: %d, want 429", got)
	}
	for n := range 90 { // a new browser each time
		if got := try(s.newBrowser(t), "BBBBB-BBBBB"); got != http.StatusBadRequest {
			t.Fatalf("wrong code %d of the source: %d", n+11, got)
		}
	}
	if got := try(s.newBrowser(t), userCode); got != http.StatusTooManyRequests {
		t.Errorf("beyond the limit of the source: %d, want 429", got)
	}
	s.clock.Advance(time.Hour)
	_, userCode = s.device(t, "openid")
	if got := try(b, userCode); got != http.StatusSeeOther {
		t.Errorf("an hour later: %d, want 303", got)
	}
	s.hasEvent(t, "fdeac", "unknown_user_code")
	s.hasEvent(t, "fdeac", "too_many_user_codes")
}

// SEC-33, SEC-42, SEC-155: another browser, a form from elsewhere and a late yes
// let no device in.
func TestDeviceForgeries(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	deviceCode, userCode := s.device(t, "openid")
	b := s.newBrowser(t)
	b.login(t, params("spa"), ada, adaPassword)
	if a := b.post(t, "/activate", url.Values{"user_code": {userCode}}, "Sec-Fetch-Site", "cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another site: %s", a.Status)
	}
	asked := b.follow(t, b.post(t, "/activate", url.Values{"user_code": {userCode}}))
	action := asked.action(t)
	if a := s.newBrowser(t).post(t, action, url.Values{"decision": {"allow"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("another browser: %s", a.Status)
	}
	if a := b.post(t, strings.Replace(action, "/u/device", "/u/consent", 1), url.Values{"decision": {"allow"}}); !strings.HasPrefix(a.Header.Get("Location"), "/u/device?") {
		t.Errorf("the consent form for a device: %s %q", a.Status, a.Header.Get("Location"))
	}
	s.clock.Advance(899 * time.Second)
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "authorization_pending" {
		t.Errorf("nobody said yes: %s", a.body)
	}
	s.clock.Advance(time.Second)
	if a := b.post(t, action, url.Values{"decision": {"allow"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a late yes: %s", a.Status)
	}
	if a := s.redeemDevice(t, deviceCode); object(t, a.body)["error"] != "expired_token" {
		t.Errorf("a late poll: %s", a.body)
	}
}
