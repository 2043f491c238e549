package management_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/authtest"
)

const page = "https://app.example.com/cb"

// ground is a running server with a user who is signed in to a page.
type ground struct {
	*authtest.Server
	t      *testing.T
	user   authtest.User
	client authtest.Client
	api    authtest.API
}

func startServer(t *testing.T, refresh string) *ground {
	t.Helper()
	g := &ground{Server: authtest.Start(t), t: t}
	g.api = g.CreateAPI(t, "https://api.example/", "read:things")
	body := map[string]any{"name": "page", "app_type": "spa", "callbacks": []string{page}, "grant_types": []string{"authorization_code", "refresh_token"}}
	if refresh != "" {
		body["app_type"] = "native" // a page gets reusable values never
		body["refresh_token"] = map[string]any{"rotation_type": refresh, "expiration_type": "expiring", "leeway": 0}
	}
	g.client = g.CreateClient(t, body)
	g.user = g.CreateUser(t, "ann@example.com")
	return g
}

func (g *ground) signIn(b *authtest.Browser) authtest.Tokens {
	g.t.Helper()
	return g.Login(g.t, authtest.LoginRequest{
		Client: g.client, RedirectURI: page, Audience: g.api.Identifier, Scope: "openid offline_access read:things", Email: g.user.Email, Browser: b,
	})
}

// try sends a management request and answers its status and body.
func (g *ground) try(method, path string, body any) (int, string) {
	g.t.Helper()
	r := g.TryManage(g.t, method, path, body)
	return r.Status, string(r.Body)
}

func (g *ground) self() string { return "users/" + escape(g.user.ID) }

type sessionAnswer struct {
	ID string `json:"id"`
}

func (g *ground) sessions() []sessionAnswer {
	g.t.Helper()
	var page struct{ Sessions []sessionAnswer }
	g.Manage(g.t, http.MethodGet, g.self()+"/sessions", nil, &page)
	return page.Sessions
}

// active tells whether an access token is good at /userinfo.
func (g *ground) active(raw string) bool {
	g.t.Helper()
	req := g.Request(g.t, http.MethodGet, "/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+raw)
	return g.Do(g.t, req).Status == http.StatusOK
}

// SEC-124: whatever ends the right to refresh is linearizable with it. Four
// clients refresh one reusable value while the ending runs; when it has answered,
// none succeeds any more, and no token that any of them was given is good.
func TestEndingsRaceWithRefresh(t *testing.T) {
	t.Parallel()
	endings := map[string]func(g *ground, session, family string) (int, string){
		"a session is revoked": func(g *ground, session, _ string) (int, string) {
			return g.try(http.MethodPost, "sessions/"+session+"/revoke", nil)
		},
		"a user's access is revoked": func(g *ground, _, _ string) (int, string) {
			return g.try(http.MethodPost, g.self()+"/revoke-access", map[string]any{})
		},
		"a user's access in one session is revoked": func(g *ground, session, _ string) (int, string) {
			return g.try(http.MethodPost, g.self()+"/revoke-access", map[string]any{"session_id": session})
		},
		"refresh tokens are revoked by a job": func(g *ground, _, _ string) (int, string) {
			return g.try(http.MethodPost, "refresh-tokens/revoke", map[string]any{"user_id": g.user.ID})
		},
		"a refresh token is deleted": func(g *ground, _, family string) (int, string) {
			return g.try(http.MethodDelete, "refresh-tokens/"+family, nil)
		},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startServer(t, "non-rotating")
			for round := range 5 {
				b := g.NewBrowser(t)
				tokens := g.signIn(b)
				var list struct{ Tokens []sessionAnswer }
				g.Manage(t, http.MethodGet, g.self()+"/refresh-tokens", nil, &list)
				all := g.sessions()
				if len(list.Tokens) != 1 || len(all) == 0 {
					t.Fatalf("round %d: %d refresh tokens, %d sessions", round, len(list.Tokens), len(all))
				}
				var (
					wg     sync.WaitGroup
					mu     sync.Mutex
					minted = []string{tokens.AccessToken}
					ended  = make(chan struct{})
				)
				for range 4 {
					wg.Go(func() {
						for {
							after := false
							select {
							case <-ended:
								after = true
							default:
							}
							next, _ := g.Refresh(t, g.client, tokens.RefreshToken)
							if next == nil {
								return
							}
							mu.Lock()
							minted = append(minted, next.AccessToken)
							mu.Unlock()
							if after {
								t.Error("a refresh that began after the answer succeeded")
								return
							}
						}
					})
				}
				if status, body := end(g, all[len(all)-1].ID, list.Tokens[0].ID); status != http.StatusAccepted {
					t.Errorf("status %d: %s", status, body)
				}
				close(ended)
				wg.Wait()
				for i, raw := range minted {
					if g.active(raw) {
						t.Errorf("round %d: access token %d of %d is good after the end", round, i, len(minted))
					}
				}
				g.Advance(5 * time.Second) // beyond a mark's second ahead
			}
		})
	}
}

// DELETE ends the login and nothing else; revoking ends what came from it; the
// others of the user live (management-endpoints.md §7).
func TestSessions(t *testing.T) {
	t.Parallel()
	g := startServer(t, "")
	first, second := g.NewBrowser(t), g.NewBrowser(t)
	one := g.signIn(first)
	g.Advance(time.Minute)
	two := g.signIn(second)
	all := g.sessions()
	if len(all) != 2 {
		t.Fatalf("%d sessions", len(all))
	}
	status, body := g.try(http.MethodGet, "sessions/"+all[0].ID, nil)
	at := func(d time.Duration) string { return g.Now().Add(d).Format("2006-01-02T15:04:05.000Z") }
	began := at(-time.Minute)
	for _, part := range []string{
		`{"id":"` + all[0].ID + `","user_id":"` + g.user.ID + `","created_at":"` + began + `","updated_at":"` + began + `","authenticated_at":"` + began + `",`,
		`"idle_expires_at":"` + at(72*time.Hour-time.Minute) + `","expires_at":"` + at(168*time.Hour-time.Minute) + `","last_interacted_at":"` + began + `",`,
		`"clients":[{"client_id":"` + g.client.ID + `"}],"authentication":{"methods":[]},"cookie":{"mode":"persistent"}}`,
	} {
		if status != 200 || !strings.Contains(body, part) {
			t.Errorf("session\n got %d %s\nwant %s", status, body, part)
		}
	}

	for _, step := range []struct {
		body, want string
		status     int
	}{
		{`{"session_metadata":{"a":"1"}}`, `"session_metadata":{"a":"1"}}`, 200},
		{`{"session_metadata":{"b":"2"}}`, `"session_metadata":{"b":"2"}}`, 200}, // replaces
		{`{}`, `"session_metadata":{"b":"2"}}`, 200},
		{`{"session_metadata":{"a b":"1"}}`, "Metadata keys may only include", 400},
		{`{"session_metadata":null}`, `"cookie":{"mode":"persistent"}}`, 200},
		{`{"user_id":"x"}`, "Additional properties not allowed: user_id", 400},
	} {
		if status, body := g.try(http.MethodPatch, "sessions/"+all[0].ID, raw(step.body)); status != step.status || !strings.Contains(body, step.want) {
			t.Errorf("PATCH %s: %d %s, want %d …%s", step.body, status, body, step.status, step.want)
		}
	}

	if status, body := g.try(http.MethodDelete, "sessions/"+all[0].ID, nil); status != 202 || body != "{}" {
		t.Errorf("delete: %d %s", status, body)
	}
	if _, problem := g.Refresh(t, g.client, one.RefreshToken); problem != nil {
		t.Errorf("DELETE ended an offline refresh token: %v", problem)
	}
	for _, r := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "sessions/" + all[0].ID, 404, `"message":"The session does not exist."}`},
		{"PATCH", "sessions/" + all[0].ID, 404, `"message":"The session does not exist."}`},
		{"POST", "sessions/" + all[0].ID + "/revoke", 404, `"message":"The session does not exist."}`},
		{"DELETE", "sessions/" + all[0].ID, 202, `{}`},
		{"GET", "users/auth0%7Cabsent/sessions", 404, `"errorCode":"inexistent_user"}`},
		{"DELETE", "users/auth0%7Cabsent/sessions", 404, `"errorCode":"inexistent_user"}`},
		{"POST", "users/auth0%7Cabsent/revoke-access", 404, `"errorCode":"inexistent_user"}`},
	} {
		var in any
		if r.method == "PATCH" || r.method == "POST" {
			in = map[string]any{}
		}
		if status, body := g.try(r.method, r.path, in); status != r.status || !strings.HasSuffix(body, r.body) {
			t.Errorf("%s %s: %d %s, want %d …%s", r.method, r.path, status, body, r.status, r.body)
		}
	}

	if status, body := g.try(http.MethodPost, "sessions/"+all[1].ID+"/revoke", nil); status != 202 || body != "{}" {
		t.Errorf("revoke: %d %s", status, body)
	}
	if _, problem := g.Refresh(t, g.client, two.RefreshToken); problem == nil || problem.Code != "invalid_grant" {
		t.Errorf("after revoke: %+v", problem)
	}
	if g.active(two.AccessToken) || len(g.sessions()) != 0 {
		t.Error("the revoked session's token is good, or a session is left")
	}
}

type raw string

// MarshalJSON is the text as it is.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// revoke-access leaves what it is told to leave.
func TestRevokeAccess(t *testing.T) {
	t.Parallel()
	g := startServer(t, "non-rotating")
	kept := g.signIn(g.NewBrowser(t))
	if status, body := g.try(http.MethodPost, g.self()+"/revoke-access", map[string]any{"preserve_refresh_tokens": true}); status != 202 || body != "{}" {
		t.Fatalf("preserving: %d %s", status, body)
	}
	next, problem := g.Refresh(t, g.client, kept.RefreshToken)
	if problem != nil || len(g.sessions()) != 0 || !g.active(next.AccessToken) {
		t.Fatalf("refresh tokens were to be preserved, and sessions ended: %v, %d", problem, len(g.sessions()))
	}
	g.try(http.MethodPost, g.self()+"/revoke-access", map[string]any{})
	if _, problem := g.Refresh(t, g.client, kept.RefreshToken); problem == nil || g.active(next.AccessToken) {
		t.Errorf("a token of a session that had ended before lives: %v", problem)
	}
	g.Advance(2 * time.Second)
	if again := g.signIn(g.NewBrowser(t)); !g.active(again.AccessToken) {
		t.Error("a later login is refused, too")
	}
}

// The timeline answers why a user was logged out (D14).
func TestTimeline(t *testing.T) {
	t.Parallel()
	g := startServer(t, "rotating")
	tokens := g.signIn(g.NewBrowser(t))
	var list struct{ Tokens []sessionAnswer }
	g.Manage(t, http.MethodGet, g.self()+"/refresh-tokens", nil, &list)
	path := "refresh-tokens/" + list.Tokens[0].ID + "/events"
	values := []string{tokens.RefreshToken}
	for range 2 {
		g.Advance(time.Second)
		next, problem := g.Refresh(t, g.client, values[len(values)-1])
		if problem != nil {
			t.Fatal(problem)
		}
		values = append(values, next.RefreshToken)
	}
	g.Advance(time.Second)
	g.Refresh(t, g.client, values[0]) // a thief, or a restored phone
	g.Advance(time.Second)
	g.Refresh(t, g.client, values[2])
	g.Advance(2 * time.Second)

	type entry struct {
		Event, Reason, IP string
		Generation        int
		ClientID          string            `json:"client_id"`
		LogID             string            `json:"log_id"`
		RevokedBy         map[string]string `json:"revoked_by"`
	}
	follow := func(path string) (out []entry) {
		for from := ""; ; {
			var page struct {
				Events []entry
				Next   string
			}
			g.Manage(t, http.MethodGet, path+"?take=2"+from, nil, &page)
			if len(page.Events) > 2 {
				t.Fatalf("%d events on a page of 2", len(page.Events))
			}
			out = append(out, page.Events...)
			if page.Next == "" {
				return out
			}
			from = "&from=" + page.Next
		}
	}
	says := func(es []entry) (out []string) {
		for _, e := range es {
			out = append(out, fmt.Sprintf("%s %d %s", e.Event, e.Generation, e.Reason))
			if e.IP == "" || e.LogID == "" || e.ClientID != g.client.ID {
				t.Errorf("event without address, client or log entry: %+v", e)
			}
		}
		return out
	}
	want := []string{"issued 0 issued", "rotated 0 rotated", "rotated 1 rotated", "reused 0 reused", "refused 2 reused"}
	if got := g.eventually(func() []string { return says(follow(path)) }, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("timeline\n got %q\nwant %q", got, want)
	}

	second := g.signIn(g.NewBrowser(t))
	g.Manage(t, http.MethodGet, g.self()+"/refresh-tokens", nil, &list)
	path = "refresh-tokens/" + list.Tokens[0].ID + "/events"
	g.try(http.MethodDelete, "refresh-tokens/"+list.Tokens[0].ID, nil)
	es := follow(path)
	last := es[len(es)-1]
	if last.Event != "revoked" || last.Reason != "revoked_by_admin" || last.RevokedBy["client_id"] == "" || last.RevokedBy["client_id"] == g.client.ID {
		t.Errorf("end by an administrator: %+v", last)
	}
	if body := fmt.Sprint(g.TryManage(t, http.MethodGet, path, nil)); strings.Contains(body, second.RefreshToken) {
		t.Error("a value is in the timeline (SEC-230)")
	}
	for path, want := range map[string]int{
		"refresh-tokens/rt_unknown/events": 404, path + "?take=101": 400, path + "?from=forged": 400, path + "?q=x": 400,
	} {
		if status, body := g.try(http.MethodGet, path, nil); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
}

// eventually reads until there is as much as is waited for: what changes nothing
// joins a later commit (D13). Each reading is a request, so this waits for the
// server and not for a clock.
func (g *ground) eventually(read func() []string, n int) (got []string) {
	g.t.Helper()
	for range 500 {
		if got = read(); len(got) >= n {
			break
		}
		g.try(http.MethodPatch, "tenants/settings", map[string]any{"friendly_name": "n"}) // a commit takes along what waits
	}
	return got
}
