package server_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/server"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const apiSecret = "the-secret-of-the-calendar-itself-0123456789"

// calendarClient makes the API's own client.
func (s *site) calendarClient(t *testing.T) {
	t.Helper()
	secret, err := seal.NewVault(keys(t).master).NewClientSecret(t.Context(), s.tenant, "calendar", apiSecret)
	if err != nil {
		t.Fatal(err)
	}
	c := tenant.Client{
		TenantID: tenantID, ID: "calendar", Name: "Calendar", AppType: "resource_server", ResourceServerIdentifier: "https://calendar.example",
		AuthMethod: "client_secret_basic", Secrets: []tenant.ClientSecret{secret}, CreatedAt: s.clock.Now(),
	}
	if err := s.store.CreateClient(t.Context(), c, tenant.Event{Type: "sapi", At: s.clock.Now()}); err != nil {
		t.Fatal(err)
	}
}

var asCalendar = "Basic " + base64.StdEncoding.EncodeToString([]byte("calendar:"+apiSecret))

// follower reads a feed.
type follower struct {
	*http.Response
	lines *bufio.Scanner
}

func (s *site) follow(t *testing.T, query string, headers ...string) *follower {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/oauth/revocations"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = s.tenant.Domain
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &follower{resp, bufio.NewScanner(resp.Body)}
}

// next is the next event or comment, in one line; empty at the end.
func (f *follower) next(t *testing.T) string {
	t.Helper()
	var lines []string
	for f.lines.Scan() {
		if f.lines.Text() == "" {
			return strings.Join(lines, "|")
		}
		lines = append(lines, f.lines.Text())
	}
	return strings.Join(lines, "|")
}

// event skips comments.
func (f *follower) event(t *testing.T) string {
	t.Helper()
	for {
		if e := f.next(t); !strings.HasPrefix(e, ":") {
			return e
		}
	}
}

// D5, SEC-129, SEC-130: the wire of the feed, from a snapshot to the next end.
func TestFeedWire(t *testing.T) {
	t.Parallel()
	s := start(t, change{options: func(o *server.Options) { o.Heartbeat = 20 * time.Millisecond }})
	s.calendarClient(t)
	until := s.clock.Now().Add(time.Hour)
	deny := func(hash string) {
		t.Helper()
		if err := s.store.DenyAuthorization(t.Context(), tenantID, hash, until, tenant.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	deny("AAAAAAAAAAAAAAAAAAAAAA")
	f := s.follow(t, "", "Authorization", asCalendar)
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Access-Control-Allow-Origin": ""} {
		if got := f.Header.Get(name); f.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %s is %q, want %q", f.Status, name, got, want)
		}
	}
	first := f.event(t)
	id, rest, _ := strings.Cut(first, "|")
	if want := `event: deny|data: {"hash":"AAAAAAAAAAAAAAAAAAAAAA","exp":1772370000}`; rest != want || !strings.HasPrefix(id, "id: ") {
		t.Errorf("first event is %s, want %s", first, want)
	}
	if got := f.event(t); !strings.HasSuffix(got, `|event: live|data: {}`) {
		t.Errorf("second event is %s", got)
	}
	if got := f.next(t); got != ": heartbeat" {
		t.Errorf("in silence: %q", got)
	}
	if _, err := s.store.UpdateUser(t.Context(), tenantID, "auth0|"+hexOf(ada), func(u tenant.User) (tenant.User, error) {
		u.Blocked = true
		return u, nil
	}, "", tenant.Event{}); err != nil {
		t.Fatal(err)
	}
	mark := f.event(t)
	if want := `|event: mark|data: {"kind":"user","id":"auth0|` + hexOf(ada) + `","before":1772366401000,`; !strings.Contains(mark, want) {
		t.Errorf("event is %s, want %s", mark, want)
	}
	cursor := strings.TrimPrefix(id, "id: ")
	for name, f := range map[string]*follower{
		"query":               s.follow(t, "?cursor="+cursor, "Authorization", asCalendar),
		"header":              s.follow(t, "", "Authorization", asCalendar, "Last-Event-ID", cursor),
		"header over a query": s.follow(t, "?cursor=AAAAAAAAAAEAAAAAAAAAAQ", "Authorization", asCalendar, "Last-Event-ID", cursor),
	} {
		if got := f.event(t); got != mark {
			t.Errorf("%s: from the cursor on comes %s, want %s", name, got, mark)
		}
	}
	foreign := s.follow(t, "?cursor=AAAAAAAAAAEAAAAAAAAAAQ", "Authorization", asCalendar)
	if got := foreign.event(t); got != "id: |event: reset|data: {}" {
		t.Errorf("a foreign cursor: %s", got)
	}
	if got := foreign.event(t); got != first {
		t.Errorf("after the reset: %s, want %s", got, first)
	}
	// A client that loses its link is cut off.
	if _, err := s.store.UpdateClient(t.Context(), tenantID, "calendar", func(c tenant.Client) (tenant.Client, error) {
		c.ResourceServerIdentifier, c.Document = "https://other.example", nil
		return c, nil
	}, tenant.Event{}); err != nil {
		t.Fatal(err)
	}
	for e := f.next(t); e != ""; e = f.next(t) {
		if e != ": heartbeat" {
			t.Errorf("after the link was taken: %s", e)
		}
	}
}

// REL-16: feeds end when the server is about to stop.
func TestFeedEndsAtDrain(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	s := start(t, change{options: func(o *server.Options) { o.Draining = draining }})
	s.calendarClient(t)
	f := s.follow(t, "", "Authorization", asCalendar)
	if got := f.event(t); !strings.HasSuffix(got, "|event: live|data: {}") {
		t.Fatalf("event is %s", got)
	}
	close(draining)
	if got := f.next(t); got != "" || f.lines.Err() != nil {
		t.Errorf("after the drain began: %q, %v", got, f.lines.Err())
	}
}

// SEC-131, SEC-217: who may not follow, and that there is a bound.
func TestFeedRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	s.calendarClient(t)
	for name, tt := range map[string]struct {
		query   string
		headers []string
		status  int
		code    string
	}{
		"nobody":              {"", nil, 401, "invalid_client"},
		"a bearer":            {"", []string{"Authorization", "Bearer x"}, 401, "invalid_client"},
		"a wrong secret":      {"", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("calendar:wrong"))}, 401, "invalid_client"},
		"a public client":     {"", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("spa:x"))}, 401, "invalid_client"},
		"secret in the query": {"?client_id=calendar&client_secret=" + apiSecret, nil, 401, "invalid_client"},
		"a forged cursor":     {"?cursor=x", []string{"Authorization", asCalendar}, 400, "invalid_request"},
		"two cursors":         {"", []string{"Authorization", asCalendar, "Last-Event-ID", "a", "Last-Event-ID", "b"}, 400, "invalid_request"},
	} {
		f := s.follow(t, tt.query, tt.headers...)
		f.lines.Scan()
		if f.StatusCode != tt.status || !strings.Contains(f.lines.Text(), `"error":"`+tt.code+`"`) {
			t.Errorf("%s: %s %s", name, f.Status, f.lines.Text())
		}
		if (f.Header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
			t.Errorf("%s: challenge is %q", name, f.Header.Get("WWW-Authenticate"))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for n := range 201 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/oauth/revocations", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = s.tenant.Domain
		req.Header.Set("Authorization", asCalendar)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		want := http.StatusOK
		if n == 200 {
			want = http.StatusTooManyRequests
		}
		if resp.StatusCode != want || n == 200 && resp.Header.Get("Retry-After") != "30" {
			t.Fatalf("feed %d: %s, want %d", n+1, resp.Status, want)
		}
	}
}

// SEC-131, SEC-132: the API asks about a token of its own, and hears all.
func TestIntrospectByTheAPI(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	s.calendarClient(t)
	b := s.newBrowser(t)
	v := params("spa", "audience", "https://calendar.example", "scope", "openid read:events")
	code := b.login(t, v, ada, adaPassword).response(t, "https://app.example.com/cb").Get("code")
	got := b.post(t, "/oauth/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {"spa"}, "code": {code},
		"redirect_uri": {"https://app.example.com/cb"}, "code_verifier": {verifier}}).tokens(t)
	ask := func(value string) answer {
		a := b.post(t, "/oauth/introspect", url.Values{"token": {value}, "token_type_hint": {"refresh_token"}}, "Authorization", asCalendar)
		a.wantTokenHeaders(t)
		return a
	}
	if o := object(t, ask(got.AccessToken).body); o["active"] != true || o["client_id"] != "spa" || o["scope"] != "openid read:events" {
		t.Errorf("answer is %v", o)
	}
	if a := ask(got.IDToken); a.body != `{"active":false}`+"\n" || a.StatusCode != http.StatusOK {
		t.Errorf("about an ID token: %s %q", a.Status, a.body)
	}
}
