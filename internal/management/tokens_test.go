package management_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Device credentials: two kinds, asked for by type; at most 1000; deleting one
// ends the family.
func TestDeviceCredentials(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann, bob := f.user("ann@example.com"), f.user("bob@example.com")
	client := f.client(`{"name":"page","app_type":"spa"}`)
	rotating, reusable := f.family(ann, client, true), f.family(ann, client, false)
	f.family(bob, client, false)
	list := func(query string) string {
		var items []struct{ ID, Type string }
		f.want(200, f.do("GET", "device-credentials?fields=id,type&user_id="+strings.ReplaceAll(ann, "|", "%7C")+query, "")).decode(&items)
		var out []string
		for _, i := range items {
			switch tenant.FamilyID(i.ID) {
			case rotating:
				out = append(out, "rotating="+i.Type)
			case reusable:
				out = append(out, "reusable="+i.Type)
			default:
				out = append(out, "foreign")
			}
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{
		"&type=refresh_token":          "reusable=refresh_token",
		"&type=rotating_refresh_token": "rotating=rotating_refresh_token",
		"&type=public_key":             "",
		"&page=0&per_page=10":          "reusable=refresh_token", // paging defaults to it
		"&page=10&per_page=100":        "",                       // beyond 1000
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if got := list(""); len(strings.Fields(got)) != 2 {
		t.Errorf("all types: %q, want both", got)
	}
	a := f.want(200, f.do("GET", "device-credentials?type=rotating_refresh_token&include_totals=true&client_id="+client, ""))
	want := fmt.Sprintf(`{"start":0,"limit":50,"total":1,"device_credentials":[{"id":"%s","device_name":"phone","type":"rotating_refresh_token","user_id":"%s","client_id":"%s"}]}`, rotating, ann, client)
	if a.body != want {
		t.Errorf("envelope\n got %s\nwant %s", a.body, want)
	}

	f.want(204, f.do("DELETE", "device-credentials/"+string(rotating), ""))
	f.want(204, f.do("DELETE", "device-credentials/"+string(rotating), ""))
	f.want(204, f.do("DELETE", "device-credentials/absent", ""))
	if got := list("&type=rotating_refresh_token"); got != "" {
		t.Errorf("after delete: %q", got)
	}
	ended, err := f.store.RefreshToken(t.Context(), f.tenant().ID, rotating)
	if err != nil || ended.RevokedAt.IsZero() || ended.RevokedReason != "revoked_by_admin" {
		t.Errorf("family %+v, %v, want ended by the administrator", ended, err)
	}
	logs := f.do("GET", "logs?q=type:srrt", "")
	if !strings.Contains(logs.body, string(rotating)) || !strings.Contains(logs.body, `"reason":"revoked_by_admin"`) {
		t.Errorf("no event of the revocation: %s", logs.body)
	}
}

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann := f.user("ann@example.com")
	escaped := strings.ReplaceAll(ann, "|", "%7C")
	client, second := f.client(`{"name":"page","app_type":"spa"}`), f.client(`{"name":"phone","app_type":"native"}`)
	id := f.family(ann, client, false)
	a := f.want(200, f.do("GET", "refresh-tokens/"+string(id), ""))
	want := fmt.Sprintf(`{"id":"%s","user_id":"%s","created_at":"2026-03-01T12:01:00.000Z","idle_expires_at":null,"expires_at":null,"device":{"initial_ip":"192.0.2.7"},`+
		`"client_id":"%s","session_id":null,"rotating":false,"resource_servers":[{"audience":"https://api.example/","scopes":"openid offline_access"}],"last_exchanged_at":null}`, id, ann, client)
	if a.body != want {
		t.Errorf("refresh token\n got %s\nwant %s", a.body, want)
	}
	f.do("GET", "refresh-tokens/rt_absent", "").refuses(404, "", "The refresh token does not exist.")

	meta := "refresh-tokens/" + string(id)
	for _, step := range []struct{ body, want string }{
		{`{"refresh_token_metadata":{"a":"1","b-c_D":"2"}}`, `{"a":"1","b-c_D":"2"}`},
		{`{"refresh_token_metadata":{"z":"3"}}`, `{"z":"3"}`}, // replaces
		{`{}`, `{"z":"3"}`},
		{`{"refresh_token_metadata":{}}`, ``},
	} {
		if got := f.want(200, f.do("PATCH", meta, step.body)).get("refresh_token_metadata"); got != step.want {
			t.Errorf("metadata after %s: %s, want %s", step.body, got, step.want)
		}
	}
	many := map[string]string{}
	for i := range 26 {
		many[fmt.Sprint("k", i)] = "v"
	}
	text, _ := json.Marshal(map[string]any{"refresh_token_metadata": many})
	for _, body := range []string{`{"refresh_token_metadata":{"a b":"1"}}`, `{"refresh_token_metadata":{"a":1}}`, `{"refresh_token_metadata":{"a":"` + strings.Repeat("x", 256) + `"}}`, string(text), `{"rotating":true}`} {
		f.want(400, f.do("PATCH", meta, body))
	}

	f.do("GET", "refresh-tokens", "").refuses(400, "invalid_query_string", "Missing required 'user_id' parameter.")
	f.clock.Advance(time.Second)
	f.family(ann, second, true)
	f.clock.Advance(time.Second)
	f.family(ann, client, true)
	var page struct {
		Tokens        []struct{ ID string }
		RefreshTokens []struct{ ID string } `json:"refresh_tokens"`
		Next          string
	}
	f.want(200, f.do("GET", "users/"+escaped+"/refresh-tokens?take=2&include_totals=true", "")).decode(&page)
	if len(page.Tokens) != 2 || page.Next == "" {
		t.Fatalf("first page: %+v", page)
	}
	next := page.Next
	page.Next = ""
	f.want(200, f.do("GET", "users/"+escaped+"/refresh-tokens?take=2&from="+next, "")).decode(&page)
	if len(page.Tokens) != 1 || page.Next != "" {
		t.Errorf("last page: %+v", page)
	}
	f.want(200, f.do("GET", "refresh-tokens?user_id="+escaped+"&client_id="+second, "")).decode(&page)
	if len(page.RefreshTokens) != 1 {
		t.Errorf("of one client: %+v", page)
	}

	for _, body := range []string{`{}`, `{"client_id":"x"}`, `{"ids":["a"],"user_id":"auth0|x"}`, `{"user_id":"auth0|x","audience":"a"}`} {
		f.do("POST", "refresh-tokens/revoke", body).refuses(400, "invalid_body", "Invalid combination of parameters.")
	}
	live := func() int {
		l, err := f.store.RefreshTokens(t.Context(), f.tenant().ID, tenant.RefreshTokenFilter{UserID: ann}, tenant.Page{})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items)
	}
	for _, step := range []struct {
		method, path, body string
		status, live       int
	}{
		{"POST", "refresh-tokens/revoke", `{"user_id":"` + ann + `","client_id":"` + second + `"}`, http.StatusAccepted, 2},
		{"POST", "refresh-tokens/revoke", `{"ids":["` + string(id) + `"]}`, http.StatusAccepted, 1},
		{"DELETE", "users/" + escaped + "/refresh-tokens", "", http.StatusAccepted, 0},
		{"DELETE", "refresh-tokens/" + string(id), "", http.StatusAccepted, 0},
	} {
		a := f.want(step.status, f.do(step.method, step.path, step.body))
		if live() != step.live {
			t.Errorf("%s %s: %d live, want %d: %s", a.what, step.body, live(), step.live, a.body)
		}
	}
	f.do("DELETE", "users/auth0%7Cabsent/refresh-tokens", "").refuses(404, "inexistent_user", "The user does not exist.")
}

// SEC-134: what ends something ends what hangs on it.
func TestCascades(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(f *fixture, user, client string)
		live int
	}{
		"user deleted": {func(f *fixture, user, _ string) {
			f.want(204, f.do("DELETE", "users/"+strings.ReplaceAll(user, "|", "%7C"), ""))
		}, 0},
		"client deleted": {func(f *fixture, _, client string) { f.want(204, f.do("DELETE", "clients/"+client, "")) }, 0},
		"password changed": {func(f *fixture, user, _ string) {
			f.want(200, f.do("PATCH", "users/"+strings.ReplaceAll(user, "|", "%7C"), `{"password":"Another-Horse-8-Battery"}`))
		}, 0},
		"blocked": {func(f *fixture, user, _ string) {
			f.want(200, f.do("PATCH", "users/"+strings.ReplaceAll(user, "|", "%7C"), `{"blocked":true}`))
		}, 1}, // a suspension
		"renamed": {func(f *fixture, user, _ string) {
			f.want(200, f.do("PATCH", "users/"+strings.ReplaceAll(user, "|", "%7C"), `{"name":"Ann"}`))
		}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			user, client := f.user("ann@example.com"), f.client(`{"name":"page","app_type":"spa"}`)
			f.family(user, client, true)
			raw := f.userToken(user, client, "read:current_user")
			self := "users/" + strings.ReplaceAll(user, "|", "%7C")
			f.clock.Advance(2 * time.Second)
			f.want(200, f.as(raw, "GET", self, ""))
			tt.do(f, user, client)
			found, err := f.store.RefreshTokens(t.Context(), f.tenant().ID, tenant.RefreshTokenFilter{ClientID: client}, tenant.Page{})
			if err != nil || len(found.Items) != tt.live {
				t.Errorf("%d families live (%v), want %d", len(found.Items), err, tt.live)
			}
			// The access token that is out is refused at once.
			if name == "user deleted" || name == "client deleted" || name == "blocked" {
				f.as(raw, "GET", self, "").refusesToken()
			}
		})
	}
}

func (a answer) refusesToken() {
	a.t.Helper()
	if a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"message":"Invalid token"`) {
		a.t.Errorf("%s: %d %s, want a refused token", a.what, a.status, a.body)
	}
}

// Consents are called grants on the wire, with clientID in camel case.
func TestGrants(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann := f.user("ann@example.com")
	escaped := strings.ReplaceAll(ann, "|", "%7C")
	a := f.want(200, f.do("GET", "grants?user_id="+escaped+"&include_totals=true", ""))
	if want := `{"start":0,"limit":50,"total":0,"grants":[]}`; a.body != want {
		t.Errorf("no grants: %s, want %s", a.body, want)
	}
	f.want(204, f.do("DELETE", "grants/000000000000000000000000", ""))
	f.want(204, f.do("DELETE", "grants?user_id="+escaped, ""))
	f.do("DELETE", "grants", "").refuses(400, "invalid_query_string", "Query validation error: 'Missing required property: user_id'.")
}

// logs: newest first; from and take oldest first with a Link to follow.
func TestLogs(t *testing.T) {
	t.Parallel()
	f := start(t)
	for i := range 3 {
		f.clock.Advance(time.Second)
		f.want(200, f.do("PATCH", "tenants/settings", fmt.Sprintf(`{"friendly_name":"n%d"}`, i)))
	}
	type entry struct {
		Type, Date string
		ID         string `json:"log_id"`
		Other      string `json:"_id"`
	}
	var newest, all []entry
	a := f.want(200, f.do("GET", "logs?per_page=100&sort=date:-1&include_totals=false", ""))
	a.decode(&newest)
	for i := 1; i < len(newest); i++ {
		if newest[i].ID >= newest[i-1].ID {
			t.Fatalf("not newest first: %s after %s", newest[i].ID, newest[i-1].ID)
		}
	}
	if len(newest) < 4 || newest[0].ID != newest[0].Other || len(newest[0].ID) != 56 {
		t.Fatalf("logs %+v", newest)
	}
	path := "logs?take=2&q=ignored:(" // from and take ignore the rest
	for range 20 {
		var page []entry
		a := f.want(200, f.do("GET", path, ""))
		a.decode(&page)
		link := a.header.Get("Link")
		_, rest, ok := strings.Cut(link, "<http://"+home+"/api/v2/")
		next, rel, _ := strings.Cut(rest, ">")
		if !ok || rel != `; rel="next"` {
			t.Fatalf("Link %q", link)
		}
		if len(page) == 0 {
			if next != path {
				t.Errorf("an empty page leads to %s, want the same again: %s", next, path)
			}
			break
		}
		all = append(all, page...)
		path = next
	}
	if len(all) != len(newest) {
		t.Errorf("followed %d events, want %d", len(all), len(newest))
	}
	f.want(200, f.do("GET", "logs/"+newest[0].ID, ""))
	f.do("GET", "logs/90020260101000000000000000000000000000000000000000000000", "").refuses(404, "", "Log not found.")
	f.want(400, f.do("GET", "logs?q=nonsense:x", ""))
	f.want(400, f.do("GET", "logs?from=nonsense", ""))
	var totals struct{ Start, Limit, Length, Total int }
	f.want(200, f.do("GET", "logs?include_totals=true&per_page=2&page=1", "")).decode(&totals)
	if totals.Start != 2 || totals.Limit != 2 || totals.Length != 2 || totals.Total < len(newest) {
		t.Errorf("totals %+v", totals)
	}
	ann := f.user("ann@example.com")
	f.want(200, f.do("GET", "users/"+strings.ReplaceAll(ann, "|", "%7C")+"/logs?include_totals=true", "")).decode(&totals)
}

func TestSigningKeys(t *testing.T) {
	t.Parallel()
	f := start(t)
	var keys []map[string]any
	a := f.want(200, f.do("GET", "keys/signing", ""))
	a.decode(&keys)
	if len(keys) != 1 || keys[0]["current"] != true || keys[0]["next"] != nil || !strings.HasPrefix(keys[0]["cert"].(string), "-----BEGIN CERTIFICATE-----\r\n") ||
		!strings.HasPrefix(keys[0]["pkcs7"].(string), "-----BEGIN PKCS7-----\r\n") || len(keys[0]["fingerprint"].(string)) != 59 || len(keys[0]["thumbprint"].(string)) != 40 {
		t.Errorf("keys %s", a.body)
	}
	f.want(200, f.do("GET", "keys/signing/"+keys[0]["kid"].(string), ""))
	f.do("GET", "keys/signing/absent", "").refuses(404, "", "Signing key not found.")
	if strings.Contains(a.body, "PRIVATE") {
		t.Error("a private key came out (SEC-190)")
	}
}
