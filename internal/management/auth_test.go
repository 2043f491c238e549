package management_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// description is the OpenAPI document as these tests read it.
type description struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		Scopes     []string                   `json:"x-scopes"`
		Security   *[]any                     `json:"security"`
		ID         string                     `json:"operationId"`
		Responses  map[string]json.RawMessage `json:"responses"`
		Parameters []struct {
			Name, In string
			Required bool
		} `json:"parameters"`
	} `json:"paths"`
	Components struct {
		Schemas   map[string]json.RawMessage `json:"schemas"`
		Responses map[string]json.RawMessage `json:"responses"`
	} `json:"components"`
}

func describe(f *fixture) (d description, text string) {
	a := f.want(http.StatusOK, f.as("", "GET", "openapi.json", ""))
	a.decode(&d)
	return d, a.body
}

// fill puts a value into each variable of a path.
func fill(path string) string {
	for _, name := range []string{"{id}", "{client_id}", "{credential_id}", "{kid}"} {
		value := "x"
		if strings.HasPrefix(path, "/users/") || strings.HasPrefix(path, "/refresh-tokens/") {
			value = "auth0%7Cabsent"
		}
		if strings.HasPrefix(path, "/logs/") {
			value = "90020260101000000000000000000000000000000000000000000000"
		}
		path = strings.ReplaceAll(path, name, value)
	}
	return strings.TrimPrefix(path, "/")
}

// SEC-185: every operation refuses a request without a token, with an ID token,
// with a token for another audience and with every scope but its own; with any
// one of its own it goes on.
func TestEveryOperationNeedsItsScope(t *testing.T) {
	t.Parallel()
	f := start(t)
	d, _ := describe(f)
	var every []string
	for _, methods := range d.Paths {
		for _, op := range methods {
			every = append(every, op.Scopes...)
		}
	}
	slices.Sort(every)
	every = slices.Compact(every)

	client := f.client(`{"name":"web","app_type":"regular_web"}`)
	userID := f.user("ann@example.com")
	idToken, err := f.minter.IDToken(t.Context(), f.tenant(), token.IDToken{
		Client: tenant.Client{ID: client}, User: tenant.User{ID: userID}, IssuedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want(http.StatusCreated, f.do("POST", "resource-servers", `{"identifier":"https://api.example/","scopes":[{"value":"read:clients"}]}`))
	elsewhere := f.tokenFor("https://api.example/", "read:clients")
	foreign := f.at(other).all
	tokens := map[string]string{}
	with := func(scopes ...string) string {
		key := strings.Join(scopes, " ")
		if tokens[key] == "" {
			tokens[key] = f.token(scopes...)
		}
		return tokens[key]
	}

	operations := 0
	for path, methods := range d.Paths {
		for method, op := range methods {
			operations++
			method, target := strings.ToUpper(method), fill(path)
			if op.Scopes == nil {
				if path != "/openapi.json" {
					t.Errorf("%s %s is open", method, path)
				}
				continue
			}
			body := ""
			if method == "POST" || method == "PATCH" {
				body = `{"nonsense":true}`
			}
			a := f.as("", method, target, body)
			a.refuses(401, "", "Missing authentication")
			if got := a.header.Get("WWW-Authenticate"); got != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q, want Bearer", a.what, got)
			}
			for name, raw := range map[string]string{"ID token": idToken, "other audience": elsewhere, "other tenant": foreign} {
				if a := f.as(raw, method, target, body); a.status != http.StatusUnauthorized {
					t.Errorf("%s with %s: status %d, want 401: %s", a.what, name, a.status, a.body)
				}
			}
			wrong := slices.DeleteFunc(slices.Clone(every), func(s string) bool { return slices.Contains(op.Scopes, s) })
			f.as(with(wrong...), method, target, body).refuses(403, "insufficient_scope",
				"Insufficient scope, expected any of: "+strings.Join(op.Scopes, ","))
			for _, s := range op.Scopes {
				if strings.Contains(s, ":current_user") {
					continue
				}
				if a := f.as(with(s), method, target, body); a.status == http.StatusUnauthorized || strings.Contains(a.body, "Insufficient scope") {
					t.Errorf("%s with %s: %d %s", a.what, s, a.status, a.body)
				}
			}
		}
	}
	if operations < 40 {
		t.Errorf("%d operations were tried: the document lists too few", operations)
	}
}

func TestAuthenticationFailures(t *testing.T) {
	t.Parallel()
	f := start(t)
	header, rest, _ := strings.Cut(f.all, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	flipped := "A" + signature[1:]
	if signature[0] == 'A' {
		flipped = "B" + signature[1:]
	}
	tests := map[string]struct {
		headers []string
		status  int
		body    string
	}{
		"none":          {nil, 401, `{"statusCode":401,"error":"Unauthorized","message":"Missing authentication"}`},
		"empty":         {[]string{""}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"one word":      {[]string{"Bearer"}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"opaque":        {[]string{"Bearer abcdefghijklmnopqrstuvwxyz012345"}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"basic":         {[]string{"Basic YTpi"}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"encrypted":     {[]string{"Bearer a.b.c.d.e"}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"two headers":   {[]string{"Bearer " + f.all, "Bearer " + f.all}, 400, `{"statusCode":400,"error":"Bad Request","message":"Bad HTTP authentication header format","errorCode":"Bearer"}`},
		"bad signature": {[]string{"Bearer " + header + "." + payload + "." + flipped}, 401, `{"statusCode":401,"error":"Unauthorized","message":"Invalid signature received for JSON Web Token validation","attributes":{"error":"Invalid signature received for JSON Web Token validation"}}`},
		"nonsense":      {[]string{"Bearer a.b.c"}, 401, `{"statusCode":401,"error":"Unauthorized","message":"Invalid token","attributes":{"error":"Invalid token"}}`},
	}
	for name, tt := range tests {
		r := httptest.NewRequest("GET", "https://"+home+"/api/v2/clients", nil)
		r.Header["Authorization"] = tt.headers
		if a := f.send(r); a.status != tt.status || a.body != tt.body {
			t.Errorf("%s\n got %d %s\nwant %d %s", name, a.status, a.body, tt.status, tt.body)
		}
	}
	f.clock.Advance(24 * time.Hour)
	a := f.do("GET", "clients", "")
	if want := `{"statusCode":401,"error":"Unauthorized","message":"Expired token received for JSON Web Token validation","attributes":{"error":"Expired token received for JSON Web Token validation"}}`; a.status != 401 || a.body != want {
		t.Errorf("expired\n got %d %s\nwant 401 %s", a.status, a.body, want)
	}
}

// A user's token serves its own user alone, and there only what its scopes name.
func TestCurrentUser(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann, bob := f.user("ann@example.com"), f.user("bob@example.com")
	client := f.client(`{"name":"page","app_type":"spa","callbacks":["https://app.example.com/cb"],"allowed_origins":["https://*.widgets.example.com"]}`)
	raw := f.userToken(ann, client, "read:current_user", "update:current_user_metadata", "delete:current_user_device_credentials")
	self, them := "users/"+strings.ReplaceAll(ann, "|", "%7C"), "users/"+strings.ReplaceAll(bob, "|", "%7C")

	f.want(200, f.as(raw, "GET", self, ""))
	f.as(raw, "GET", them, "").refuses(403, "insufficient_scope", "User to be acted on does not match subject in bearer token.")
	f.as(raw, "GET", "users", "").refuses(403, "insufficient_scope", "Insufficient scope, expected any of: read:users,read:user_idp_tokens")
	a := f.want(200, f.as(raw, "PATCH", self, `{"user_metadata":{"color":"red"}}`))
	if got := a.get("user_metadata"); got != `{"color":"red"}` {
		t.Errorf("user_metadata %s, want red", got)
	}
	for _, body := range []string{`{"app_metadata":{"role":"admin"}}`, `{"password":"` + pass + `!"}`, `{"blocked":false}`, `{"email":"x@example.com"}`} {
		if a := f.as(raw, "PATCH", self, body); a.status != 403 || !strings.Contains(a.body, "Some fields cannot be updated") {
			t.Errorf("%s: %d %s, want 403", body, a.status, a.body)
		}
	}

	mine, theirs := f.family(ann, client, true), f.family(bob, client, true)
	f.want(204, f.as(raw, "DELETE", "device-credentials/"+string(mine), ""))
	f.want(204, f.as(raw, "DELETE", "device-credentials/"+string(theirs), "")) // the same as missing (SEC-186)
	f.want(404, f.do("GET", "refresh-tokens/"+string(mine), ""))
	f.want(200, f.do("GET", "refresh-tokens/"+string(theirs), ""))

	// §12: a page may read the answer when the client knows its origin.
	for origin, want := range map[string]string{
		"https://app.example.com": "https://app.example.com", "https://a.widgets.example.com": "https://a.widgets.example.com",
		"https://a.b.widgets.example.com": "", "https://evil.example": "", "http://app.example.com": "", "null": "",
	} {
		r := httptest.NewRequest("GET", "https://"+home+"/api/v2/"+self, nil)
		r.Header.Set("Authorization", "Bearer "+raw)
		r.Header.Set("Origin", origin)
		if got := f.send(r).header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("origin %s: allowed %q, want %q", origin, got, want)
		}
	}
	r := httptest.NewRequest("OPTIONS", "https://"+home+"/api/v2/"+self, nil)
	r.Header.Set("Origin", "https://app.example.com")
	if a := f.send(r); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "authorization") {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
}

// SEC-186: the objects of another tenant are the same as missing ones.
func TestForeignTenant(t *testing.T) {
	t.Parallel()
	f := start(t)
	g := f.at(other)
	user := g.user("ann@example.com")
	client := g.client(`{"name":"theirs"}`)
	api := g.want(201, g.do("POST", "resource-servers", `{"identifier":"https://theirs.example/"}`)).text("id")
	grants := g.want(200, g.do("GET", "client-grants", ""))
	var list []struct{ ID string }
	grants.decode(&list)
	var connections []struct{ ID string }
	g.want(200, g.do("GET", "connections", "")).decode(&connections)
	family := string(g.family(user, client, false))
	var logs []struct {
		ID string `json:"log_id"`
	}
	g.want(200, g.do("GET", "logs", "")).decode(&logs)
	escaped := strings.ReplaceAll(user, "|", "%7C")

	for path, absent := range map[string]string{
		"clients/" + client:                              "clients/absent",
		"clients/" + client + "/credentials":             "clients/absent/credentials",
		"resource-servers/" + api:                        "resource-servers/000000000000000000000000",
		"resource-servers/https:%2F%2Ftheirs.example%2F": "resource-servers/https:%2F%2Fabsent.example%2F",
		"client-grants/" + list[0].ID:                    "client-grants/cgr_absent",
		"connections/" + connections[0].ID:               "connections/con_absent",
		"users/" + escaped:                               "users/auth0%7Cabsent",
		"users/" + escaped + "/refresh-tokens":           "users/auth0%7Cabsent/refresh-tokens",
		"refresh-tokens/" + family:                       "refresh-tokens/rt_absent",
		"logs/" + logs[0].ID:                             "logs/90020260101000000000000000000000000000000000000000000000",
	} {
		got, want := f.do("GET", path, ""), f.do("GET", absent, "")
		if got.status != want.status || got.body != want.body || got.status != http.StatusNotFound {
			t.Errorf("%s: %d %s, want as for a missing one: %d %s", path, got.status, got.body, want.status, want.body)
		}
		g.want(200, g.do("GET", path, ""))
	}
	for _, path := range []string{"clients/" + client, "resource-servers/" + api, "client-grants/" + list[0].ID, "connections/" + connections[0].ID,
		"users/" + escaped, "device-credentials/" + family, "refresh-tokens/" + family} {
		if a := f.do("DELETE", path, ""); a.status/100 != 2 {
			t.Errorf("%s: %d %s, want as if it were deleted already", a.what, a.status, a.body)
		}
	}
	for _, path := range []string{"clients/" + client, "resource-servers/" + api, "users/" + escaped, "refresh-tokens/" + family} {
		g.want(200, g.do("GET", path, ""))
	}
	var found []any
	f.want(200, f.do("GET", "users-by-email?email=ann@example.com", "")).decode(&found)
	if len(found) != 0 {
		t.Errorf("found %d users of another tenant", len(found))
	}
}
