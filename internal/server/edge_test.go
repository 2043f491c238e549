package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/server"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// A tenant is found by the exact host; any other gets 421, as JSON or as a page
// (SEC-215).
func TestHost(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	domain := s.tenant.Domain
	for host, want := range map[string]int{
		domain: 200, strings.ToUpper(domain): 200, "localhost": 421, domain + ".evil.example": 421, "evil.example": 421, "127.0.0.1" + domain[len("localhost"):]: 421,
		"localhost.:1": 421, "x." + domain: 421, strings.Repeat("a", 300): 421,
	} {
		if a := b.get(t, "/.well-known/jwks.json", "Host", host); a.StatusCode != want {
			t.Errorf("Host %q: %s, want %d", host, a.Status, want)
		}
	}
	a := b.get(t, "/.well-known/jwks.json", "Host", "evil.example")
	if a.Header.Get("Content-Type") != "application/json" || !strings.Contains(a.body, `"error":"invalid_request"`) || strings.Contains(a.body, "evil") {
		t.Errorf("421 of an endpoint: %s %s", a.Header.Get("Content-Type"), a.body)
	}
	a = b.get(t, authorizeURL(params("spa")), "Host", "evil.example")
	if a.StatusCode != 421 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || strings.Contains(a.body, "evil") {
		t.Errorf("421 of a page: %s %s", a.Status, a.body)
	}
	// SEC-169, SEC-168: forwarding headers of nobody's proxy change nothing.
	a = b.get(t, authorizeURL(params("spa", "prompt", "none")), "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example", "X-Forwarded-Proto", "http")
	if got := a.response(t, "https://app.example.com/cb").Get("iss"); got != s.issuer {
		t.Errorf("iss = %q, want %q", got, s.issuer)
	}
}

// Every HTML response has the headers of SEC-223 and cannot be framed (SEC-46);
// everything has strict transport security and none of it a CORS header.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	login := b.follow(t, b.get(t, authorizeURL(params("spa"))))
	consent := b.follow(t, b.login(t, params("third"), ada, adaPassword))
	pages := map[string]answer{
		"login": login, "sign-up": b.get(t, strings.Replace(login.action(t), "login", "signup", 1)), "consent": consent,
		"error": b.get(t, "/authorize"), "setup": b.get(t, "/u/setup?ticket="+s.ticket), "logout": b.get(t, "/oidc/logout"),
		"not found": b.get(t, "/nothing"), "logged out": s.newBrowser(t).get(t, "/v2/logout"),
	}
	for name, a := range pages {
		h := a.Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'", "form-action"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: CSP %q lacks %s", name, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
			t.Errorf("%s: CSP %q allows scripts", name, csp)
		}
		for header, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Access-Control-Allow-Origin": "", "Strict-Transport-Security": "max-age=31536000", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", name, header, got, want)
			}
		}
		if strings.Contains(a.body, "<script") || strings.Contains(a.body, "style=") {
			t.Errorf("%s: the page has a script or an inline style", name)
		}
		if !strings.Contains(a.body, `<html lang="en">`) || !strings.Contains(a.body, "<main>") || strings.Count(a.body, "<h1>") != 1 {
			t.Errorf("%s: the page lacks a language, a landmark or a heading", name)
		}
	}
	// In a popup the login and consent pages must keep their opener; others cut it.
	for name, want := range map[string]string{"login": "", "consent": "", "error": "same-origin", "setup": "same-origin"} {
		if got := pages[name].Header.Get("Cross-Origin-Opener-Policy"); got != want {
			t.Errorf("%s: Cross-Origin-Opener-Policy = %q, want %q", name, got, want)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/.well-known/jwks.json", "/u/style.css", "/u/icon.svg", "/oauth/token", "/api/v2/clients"} {
		if got := b.get(t, path).Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
			t.Errorf("%s: Strict-Transport-Security = %q", path, got)
		}
	}
	total := 0
	for _, path := range []string{"/u/style.css", "/u/icon.svg"} {
		a := b.get(t, path)
		total += len(a.body)
		if again := b.get(t, path, "If-None-Match", a.Header.Get("ETag")); a.StatusCode != 200 || again.StatusCode != 304 {
			t.Errorf("%s: %s, then %s", path, a.Status, again.Status)
		}
	}
	if total += len(login.body); total > 30<<10 {
		t.Errorf("the login page takes %d bytes, want at most 30 KiB", total)
	}
}

// Limits hold before work is done (SEC-225).
func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	base := authorizeURL(params("spa", "state", ""))
	fits := base + "&x=" + strings.Repeat("a", 8192-len(base)-3)
	if a := b.get(t, fits); a.StatusCode != http.StatusFound {
		t.Errorf("URL of 8 KiB: %s, want 302", a.Status)
	}
	if a := b.get(t, fits+"a"); a.StatusCode != http.StatusRequestURITooLong {
		t.Errorf("URL of 8 KiB and a byte: %s, want 414", a.Status)
	}
	if a := b.get(t, base+strings.Repeat("&a"+fmt.Sprint(1), 1)+manyParameters(100)); a.StatusCode != http.StatusBadRequest {
		t.Errorf("over 100 parameters: %s, want 400", a.Status)
	}
	page := b.follow(t, b.get(t, base))
	if a := b.post(t, page.action(t), url.Values{"identifier": {strings.Repeat("a", 64<<10)}}); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("body over 64 KiB: %s, want 413", a.Status)
	}
	if a := b.do(t, http.MethodPost, page.action(t), nil, "Content-Type", "application/json"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("JSON at a form: %s, want 400", a.Status)
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&p%d=", i)
	}
	return b.String()
}

// What two programs could read in two ways is refused (SEC-227), and no path is
// tidied by a redirect that would carry a form along (SEC-27).
func TestAmbiguousRequests(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	for target, want := range map[string]int{
		"/oauth/../oauth/token": 404, "//oauth/token": 404, "/oauth//token": 404, "/./oauth/token": 404, "/oauth/token/": 404,
		"/oauth%2ftoken": 400, "/oauth/%2e%2e/oauth/token": 400, "/oauth%5ctoken": 400, "/oauth/token%00": 400, "/api/v2": 404, "/OAUTH/token": 404,
	} {
		a := b.post(t, target, url.Values{"grant_type": {"password"}}, "Accept", "application/json")
		if a.StatusCode != want || a.Header.Get("Location") != "" {
			t.Errorf("POST %s: %s to %q, want %d", target, a.Status, a.Header.Get("Location"), want)
		}
	}
	if a := b.get(t, "/api/v2/resource-servers/https%3A%2F%2Fapi.example"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a URL as an id: %s, want the Management API's 401", a.Status)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
		a := b.do(t, method, "/oauth/token", nil)
		if a.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("%s: %s, Allow %q, want 405", method, a.Status, a.Header.Get("Allow"))
		}
	}
	if a := b.get(t, "/oauth/token", "X-HTTP-Method-Override", "POST"); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("method override: %s, want 405", a.Status)
	}
	if a := b.post(t, "/oauth/token", url.Values{}, "Content-Type", "application/json"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("two content types: %s, want 400", a.Status)
	}
}

// Forms are taken from our own pages alone (SEC-155).
func TestCrossSiteForms(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa"))))
	good := url.Values{"identifier": {ada}, "password": {adaPassword}}
	for name, headers := range map[string][]string{
		"cross-site":          {"Sec-Fetch-Site", "cross-site"},
		"a sibling":           {"Sec-Fetch-Site", "same-site"},
		"foreign origin":      {"Origin", "https://evil.example"},
		"null origin":         {"Origin", "null"},
		"origin of http":      {"Origin", "http://" + s.tenant.Domain + ".evil.example"},
		"override of the GET": {"Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "GET"},
	} {
		if a := b.post(t, page.action(t), good, headers...); a.StatusCode != http.StatusForbidden || len(a.Cookies()) > 0 {
			t.Errorf("%s: %s, want 403", name, a.Status)
		}
	}
	if got := b.post(t, page.action(t), good, "Sec-Fetch-Site", "same-origin", "Origin", "null").response(t, "https://app.example.com/cb"); got.Get("code") == "" {
		t.Errorf("our own page: %v", got)
	}
}

// Plain HTTP is refused; only a page is sent on, to the configured issuer
// (SEC-218, D11, SEC-169).
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Server{Handler: s.Config.Handler, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- plain.Serve(l) }()
	t.Cleanup(func() {
		if err := plain.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	b := s.newBrowser(t)
	base := "http://" + l.Addr().String()
	if a := b.get(t, base+"/authorize?x=1"); a.StatusCode != http.StatusFound || a.Header.Get("Location") != s.issuer+"authorize?x=1" {
		t.Errorf("a page: %s to %q, want 302 to the issuer", a.Status, a.Header.Get("Location"))
	}
	for _, a := range []answer{
		b.post(t, base+"/oauth/token", url.Values{"grant_type": {"refresh_token"}}),
		b.get(t, base+"/userinfo", "X-Forwarded-Proto", "https"),
		b.get(t, base+"/.well-known/jwks.json"),
		b.get(t, base+"/api/v2/clients"),
		b.post(t, base+"/u/login", url.Values{"password": {"x"}}),
	} {
		if a.StatusCode != http.StatusBadRequest || a.Header.Get("Location") != "" {
			t.Errorf("%s %s: %s to %q, want 400", a.Request.Method, a.Request.URL.Path, a.Status, a.Header.Get("Location"))
		}
	}
	if a := b.get(t, base+"/healthz"); a.StatusCode != http.StatusNoContent {
		t.Errorf("/healthz: %s, want 204", a.Status)
	}
}

// A declared proxy may say who the caller is; the right-most hop that is none
// counts (SEC-168).
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trusted []netip.Prefix
		headers []string
		want    string
	}{
		"nobody is trusted": {nil, []string{"X-Forwarded-For", "192.0.2.1"}, "127.0.0.1"},
		"one hop":           {loopback, []string{"X-Forwarded-For", "192.0.2.1"}, "192.0.2.1"},
		"spoofed left":      {loopback, []string{"X-Forwarded-For", "198.51.100.9, 192.0.2.1"}, "192.0.2.1"},
		"through a proxy":   {loopback, []string{"X-Forwarded-For", "192.0.2.1, 127.0.0.9"}, "192.0.2.1"},
		"two headers":       {loopback, []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "192.0.2.2"}, "127.0.0.1"},
		"underscores":       {loopback, []string{"X_Forwarded_For", "192.0.2.1"}, "127.0.0.1"},
		"nonsense":          {loopback, []string{"X-Forwarded-For", "example"}, "127.0.0.1"},
		"IPv6":              {loopback, []string{"X-Forwarded-For", "2001:db8::1"}, "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, change{options: func(o *server.Options) { o.TrustedProxies = tt.trusted }})
			s.newBrowser(t).get(t, "/authorize?client_id=nobody", tt.headers...)
			if got := s.log.String(); !strings.Contains(got, `"ip":"`+tt.want+`"`) {
				t.Errorf("log = %s, want the address %s", got, tt.want)
			}
			for _, e := range s.events(t) {
				if e.Type == "f" && e.Origin.IP != tt.want {
					t.Errorf("event of %q, want %q", e.Origin.IP, tt.want)
				}
			}
		})
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// The headers tell the truth, and a request over the rate waits as long as they
// say (authentication-api.md §0, SEC-217).
func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := start(t, change{options: func(o *server.Options) {
		o.Rates.Metadata = server.Rate{Burst: 2, PerSecond: 1}
		o.Rates.Management = server.Rate{Burst: 1, PerSecond: 1}
	}})
	b := s.newBrowser(t)
	now := s.clock.Now().Unix()
	for i, want := range []struct {
		status    int
		remaining string
		reset     int64
	}{{200, "1", now}, {200, "0", now + 1}, {429, "0", now + 1}, {429, "0", now + 1}} {
		a := b.get(t, "/.well-known/jwks.json", "Origin", "https://app.example.com")
		if a.StatusCode != want.status || a.Header.Get("X-Ratelimit-Remaining") != want.remaining || a.Header.Get("X-Ratelimit-Limit") != "2" ||
			a.Header.Get("X-Ratelimit-Reset") != fmt.Sprint(want.reset) {
			t.Errorf("request %d: %s, %v, want %+v", i, a.Status, a.Header, want)
		}
		if want.status == 429 && (a.Header.Get("Retry-After") != "1" || !strings.Contains(a.body, `"error":"too_many_requests"`) ||
			a.Header.Get("Access-Control-Allow-Origin") == "") {
			t.Errorf("request %d: Retry-After %q: %s", i, a.Header.Get("Retry-After"), a.body)
		}
	}
	s.clock.Advance(time.Second)
	if a := b.get(t, "/.well-known/jwks.json"); a.StatusCode != 200 {
		t.Errorf("after the reset: %s", a.Status)
	}
	b.get(t, "/api/v2/clients")
	if a := b.get(t, "/api/v2/clients"); a.StatusCode != 429 || !strings.Contains(a.body, `"statusCode":429,"error":"Too Many Requests"`) {
		t.Errorf("Management API: %s: %s", a.Status, a.body)
	}
}

// directory answers as the store, or as a store in trouble.
type directory struct {
	server.Directory
	fault func() error
}

func (d directory) TenantByHost(ctx context.Context, host string) (tenant.Tenant, error) {
	if err := d.fault(); err != nil {
		return tenant.Tenant{}, err
	}
	return d.Directory.TenantByHost(ctx, host)
}

// A panic ends one request with a fixed error and nothing of its cause (SEC-229,
// SEC-230).
func TestPanic(t *testing.T) {
	t.Parallel()
	broken := true
	s := start(t, change{options: func(o *server.Options) {
		o.Directory = directory{o.Directory, func() error {
			if broken {
				panic("secret-canary")
			}
			return nil
		}}
	}})
	b := s.newBrowser(t)
	a := b.get(t, "/userinfo")
	if a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.body, `"error":"server_error"`) || strings.Contains(a.body, "canary") {
		t.Errorf("panic: %s: %s", a.Status, a.body)
	}
	if strings.Contains(s.log.String(), "secret-canary") || !strings.Contains(s.log.String(), `"msg":"panic"`) {
		t.Errorf("log: %s", s.log.String())
	}
	broken = false
	if a := b.get(t, "/.well-known/jwks.json"); a.StatusCode != 200 {
		t.Errorf("the next request: %s", a.Status)
	}
}

// A store that is away is 503 and says nothing about a credential (SEC-2).
func TestFault(t *testing.T) {
	t.Parallel()
	s := start(t, change{options: func(o *server.Options) {
		o.Directory = directory{o.Directory, func() error { return errors.New("disk-canary") }}
		o.Ready = func(context.Context) error { return errors.New("disk-canary") }
	}})
	b := s.newBrowser(t)
	for _, path := range []string{"/authorize?client_id=spa", "/userinfo", "/.well-known/jwks.json", "/api/v2/clients", "/u/login?state=x", "/readyz"} {
		a := b.get(t, path)
		if a.StatusCode != http.StatusServiceUnavailable || strings.Contains(a.body, "canary") {
			t.Errorf("%s: %s, want 503: %s", path, a.Status, a.body)
		}
		if path != "/readyz" && a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	if a := b.get(t, "/healthz"); a.StatusCode != http.StatusNoContent || a.body != "" { // SEC-196
		t.Errorf("/healthz: %s %q", a.Status, a.body)
	}
}

// One line for each failed request, in which nothing the caller wrote can break
// out or be a secret (SEC-230, SEC-231).
func TestLog(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa", "state", "state-canary", "login_hint", "hint-canary"))))
	b.post(t, page.action(t), url.Values{"identifier": {ada}, "password": {"password-canary"}})
	b.get(t, "/authorize?client_id=client%0A%22canary", "User-Agent", "agent\u2028canary")
	b.get(t, "/u/setup?ticket=ticket-canary")
	b.get(t, "/oidc/logout?id_token_hint=hint-canary")
	b.post(t, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {"spa"}, "refresh_token": {"brt_canary"}}, "Authorization", "Basic canary")
	log := s.log.String()
	if strings.Contains(log, "canary") {
		t.Errorf("the log holds what was sent: %s", log)
	}
	if got := strings.Count(log, "\n"); got < 4 {
		t.Errorf("%d lines, want one a failed request: %s", got, log)
	}
	lines := bufio.NewScanner(strings.NewReader(log))
	for lines.Scan() {
		object(t, lines.Text())
	}
	for _, e := range s.events(t) {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "password-canary") || strings.Contains(text, "ticket-canary") || strings.Contains(text, "brt_canary") {
			t.Errorf("an event holds a secret: %s", text)
		}
	}
}

// A caller that hangs up before its body is there gets no answer and breaks nothing.
func TestCutBody(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	page := b.follow(t, b.get(t, authorizeURL(params("spa"))))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+page.action(t), io.LimitReader(strings.NewReader("identifier=a"), 5))
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.ContentLength = s.tenant.Domain, 1000
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err := b.client.Do(req); err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("a cut body: %s", resp.Status)
		}
	}
	if a := b.get(t, page.Request.URL.RequestURI()); a.StatusCode != http.StatusOK {
		t.Errorf("the login page then: %s", a.Status)
	}
}
