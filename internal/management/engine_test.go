package management_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// The three forms of a list (management-api.md §5).
func TestPaging(t *testing.T) {
	t.Parallel()
	f := start(t)
	for i := range 5 {
		f.clock.Advance(time.Second)
		f.client(fmt.Sprintf(`{"name":"c%d","app_type":"regular_web"}`, i))
	}
	names := func(body string) string {
		var list []struct{ Name string }
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		var out []string
		for _, x := range list {
			out = append(out, x.Name)
		}
		return strings.Join(out, " ")
	}
	base := "clients?app_type=regular_web&fields=name"
	if got := names(f.want(200, f.do("GET", base, "")).body); got != "c0 c1 c2 c3 c4" {
		t.Errorf("whole: %s", got)
	}
	a := f.want(200, f.do("GET", base+"&page=1&per_page=2", ""))
	if got := names(a.body); got != "c2 c3" {
		t.Errorf("page 1: %s", got)
	}
	link := func(page int) string {
		return fmt.Sprintf("<http://%s/api/v2/clients?app_type=regular_web&page=%d&per_page=2>", home, page)
	}
	if got, want := a.header.Get("Link"), link(0)+`; rel="first", `+link(2)+`; rel="next", `+link(2)+`; rel="last"`; got != want {
		t.Errorf("Link\n got %s\nwant %s", got, want)
	}
	if got := f.do("GET", base+"&page=2&per_page=2", "").header.Get("Link"); strings.Contains(got, "next") {
		t.Errorf("a next page after the last: %s", got)
	}
	if got, want := f.do("GET", base+"&page=1&per_page=2&include_totals=true", "").body, `{"start":2,"limit":2,"total":5,"clients":[{"name":"c2"},{"name":"c3"}]}`; got != want {
		t.Errorf("envelope\n got %s\nwant %s", got, want)
	}
	if got, want := f.do("GET", base+"&per_page=0&include_totals=true", "").body, `{"start":0,"limit":0,"total":5,"clients":[]}`; got != want {
		t.Errorf("empty page\n got %s\nwant %s", got, want)
	}

	// take wins over everything that some clients always send (rule 1).
	var all []string
	from := ""
	for range 10 {
		var page struct {
			Clients []struct{ Name string }
			Next    *string
		}
		a := f.want(200, f.do("GET", base+"&include_totals=true&per_page=50&page=0&take=2"+from, ""))
		a.decode(&page)
		if strings.Contains(a.body, "total") {
			t.Errorf("totals in form C: %s", a.body)
		}
		for _, c := range page.Clients {
			all = append(all, c.Name)
		}
		if page.Next == nil {
			break
		}
		from = "&from=" + url.QueryEscape(*page.Next)
	}
	if got := strings.Join(all, " "); got != "c0 c1 c2 c3 c4" {
		t.Errorf("checkpoint: %s", got)
	}
}

// SEC-191: a position is good only where it was given out, and unchanged.
func TestPositions(t *testing.T) {
	t.Parallel()
	f := start(t)
	for i := range 3 {
		f.client(fmt.Sprintf(`{"name":"c%d"}`, i))
	}
	g := f.at(other)
	for i := range 3 {
		g.client(fmt.Sprintf(`{"name":"c%d"}`, i))
	}
	next := f.want(200, f.do("GET", "clients?take=1", "")).text("next")
	f.want(200, f.do("GET", "clients?take=2&from="+next, "")) // another size is fine
	const message = "The checkpoint ID provided in the 'from' parameter has expired or is invalid, please remove the checkpoint ID and try again"
	flipped := "A" + next[1:]
	if next[0] == 'A' {
		flipped = "B" + next[1:]
	}
	for name, path := range map[string]string{
		"another filter": "clients?take=1&app_type=spa&from=" + next,
		"another list":   "connections?take=1&from=" + next,
		"changed":        "clients?take=1&from=" + flipped,
		"cut":            "clients?take=1&from=" + next[:20],
		"padded":         "clients?take=1&from=" + next + "%3D",
		"line break":     "clients?take=1&from=" + next[:10] + "%0A" + next[10:],
		"injection":      "clients?take=1&from=" + url.QueryEscape("' OR 1=1 --"),
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do("GET", path, "")
			a.t = t
			a.refuses(400, "invalid_query_string", message)
		})
	}
	g.do("GET", "clients?take=1&from="+next, "").refuses(400, "invalid_query_string", message)
}

// SEC-187: whatever a resource has that is not writable is refused, in every
// body that belongs to it.
func TestMassAssignment(t *testing.T) {
	t.Parallel()
	f := start(t)
	d, _ := describe(f)
	known := map[string]bool{}
	for _, raw := range d.Components.Schemas {
		var s struct{ Properties map[string]any }
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		for name := range s.Properties {
			known[name] = true
		}
	}
	for _, hidden := range []string{"administrator", "password_hash", "secrets", "keys", "epoch", "version", "tenant_id", "created_at", "is_system", "global"} {
		known[hidden] = true
	}
	tried := 0
	for schema, target := range map[string]string{
		"ClientCreate": "POST clients", "ClientUpdate": "PATCH clients/x", "ResourceServerCreate": "POST resource-servers",
		"ResourceServerUpdate": "PATCH resource-servers/x", "ClientGrantCreate": "POST client-grants", "ClientGrantUpdate": "PATCH client-grants/x",
		"UserCreate": "POST users", "UserUpdate": "PATCH users/auth0%7Cx", "ConnectionCreate": "POST connections", "ConnectionUpdate": "PATCH connections/x",
		"TenantSettingsUpdate": "PATCH tenants/settings", "RefreshTokenUpdate": "PATCH refresh-tokens/x",
	} {
		var s struct {
			Properties           map[string]any
			Required             []string
			AdditionalProperties *bool
		}
		if err := json.Unmarshal(d.Components.Schemas[schema], &s); err != nil {
			t.Fatalf("%s: %v", schema, err)
		}
		if s.AdditionalProperties == nil || *s.AdditionalProperties {
			t.Errorf("%s is open", schema)
		}
		method, path, _ := strings.Cut(target, " ")
		for name := range known {
			if _, ok := s.Properties[name]; ok {
				continue
			}
			tried++
			body := map[string]any{name: true}
			for _, need := range s.Required {
				body[need] = "x"
			}
			text, _ := json.Marshal(body)
			a := f.do(method, path, string(text))
			if want := "Additional properties not allowed: " + name; a.status != http.StatusBadRequest || !strings.Contains(a.body, want) {
				t.Errorf("%s with %s: %d %s", target, name, a.status, a.body)
			}
		}
	}
	if tried < 500 {
		t.Errorf("%d fields were tried", tried)
	}
}

// SEC-190: secrets come back only to the scope that names them.
func TestFieldHiding(t *testing.T) {
	t.Parallel()
	f := start(t)
	id := f.client(`{"name":"c","description":"d","callbacks":["https://a.example.com/cb"]}`)
	path := "clients/" + id
	tests := map[string]struct {
		scopes []string
		want   string // members of the answer
	}{
		"summary":     {[]string{"read:client_summary"}, "client_id name description"},
		"keys alone":  {[]string{"read:client_keys"}, "client_id name description client_secret signing_keys"},
		"clients":     {[]string{"read:clients"}, "client_id tenant name description global is_first_party oidc_conformant sso_disabled cross_origin_authentication custom_login_page_on is_token_endpoint_ip_header_trusted callbacks grant_types jwt_configuration refresh_token callback_url_template"},
		"credentials": {[]string{"read:client_credentials"}, "client_id name description"},
	}
	for name, tt := range tests {
		raw := f.token(tt.scopes...)
		for _, p := range []string{path, "clients?take=100"} {
			a := f.want(200, f.as(raw, "GET", p, ""))
			body := a.body
			if p != path {
				var page struct{ Clients []json.RawMessage }
				a.decode(&page)
				for _, c := range page.Clients {
					if strings.Contains(string(c), id) {
						body = string(c)
					}
				}
			}
			dec := json.NewDecoder(strings.NewReader(body))
			var got []string
			_, _ = dec.Token()
			for dec.More() {
				k, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, k.(string))
				var v json.RawMessage
				if err := dec.Decode(&v); err != nil {
					t.Fatal(err)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s, %s\n got %s\nwant %s", name, p, s, tt.want)
			}
		}
	}
	raw := f.token("read:clients")
	f.as(raw, "GET", path+"?fields=name,client_secret", "").refuses(403, "insufficient_scope",
		"Some fields cannot be read with the permissions granted by the bearer token scopes: client_secret")
	f.want(200, f.as(raw, "GET", path+"?fields=client_secret&include_fields=false", ""))

	writer := f.token("update:clients")
	if a := f.as(writer, "PATCH", path, `{"client_secret":"a-secret-of-my-own"}`); a.status != 403 {
		t.Errorf("a secret was written without update:client_keys: %d %s", a.status, a.body)
	}
	keys := f.token("update:client_keys")
	if a := f.as(keys, "PATCH", path, `{"name":"other"}`); a.status != 403 {
		t.Errorf("a name was written without update:clients: %d %s", a.status, a.body)
	}
	f.want(200, f.as(keys, "PATCH", path, `{"client_secret":"a-secret-of-my-own"}`))
	if a := f.as(f.token("create:clients"), "POST", "clients", `{"name":"x","client_secret":"a-secret-of-my-own"}`); a.status != 403 {
		t.Errorf("a secret was chosen without create:client_keys: %d %s", a.status, a.body)
	}

	connection := f.want(201, f.do("POST", "connections", `{"name":"up","strategy":"oidc","options":{"client_secret":"canary-of-another-system","deep":{"api_key":"canary-of-another-system"}}}`)).text("id")
	if a := f.want(200, f.as(f.token("read:connections"), "GET", "connections/"+connection, "")); strings.Contains(a.body, "canary") || strings.Contains(a.body, "sealed") {
		t.Errorf("a connection's secret came back: %s", a.body)
	}
	if a := f.want(200, f.do("GET", "connections/"+connection, "")); strings.Count(a.body, "canary-of-another-system") != 2 {
		t.Errorf("the scope does not show the secrets: %s", a.body)
	}
	stored, err := f.store.ConnectionByID(t.Context(), f.tenant().ID, connection)
	if err != nil || strings.Contains(string(stored.Document), "canary") {
		t.Errorf("a connection's secret is kept in clear (SEC-137): %v %s", err, stored.Document)
	}
}

// Bodies and queries of the wrong kind (SEC-225).
func TestBadRequests(t *testing.T) {
	t.Parallel()
	f := start(t)
	const badJSON = "Invalid request payload JSON format"
	f.do("POST", "clients", `{"name":`).refuses(400, "invalid_body", badJSON)
	f.do("POST", "clients", `{"name":"a","name":"b"}`).refuses(400, "invalid_body", badJSON)
	f.do("POST", "clients", "{\"name\":\"\xff\"}").refuses(400, "invalid_body", badJSON)
	f.do("POST", "clients", `{"name":"a","addons":`+strings.Repeat(`{"a":`, 20)+"1"+strings.Repeat("}", 20)+`}`).refuses(400, "invalid_body", badJSON)
	f.do("POST", "clients", `[]`).refuses(400, "invalid_body", "Payload validation error: 'Expected type object but found type array'.")
	f.do("POST", "clients", "").refuses(400, "invalid_body", "Payload validation error: 'Missing required property: name'.")
	f.do("POST", "clients", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`).refuses(413, "", "Payload content length greater than maximum allowed: 1048576")
	f.do("GET", "clients?page=x", "").refuses(400, "invalid_query_string", "Query validation error: 'Expected type integer but found type string' on property page (Which page, counted from 0).")
	f.do("GET", "clients?is_global=1", "").refuses(400, "invalid_query_string", "Query validation error: 'Expected type boolean but found type string' on property is_global (Only, or all but, the global client).")
	f.do("GET", "clients?page=1&page=2", "").refuses(400, "invalid_query_string", "Query validation error: 'Expected type integer but found type array' on property page (Which page, counted from 0).")
	f.do("GET", "clients?%zz", "").refuses(400, "invalid_query_string", "Query validation error: 'Malformed query string'.")
	f.do("GET", "clients?take=101", "").refuses(400, "invalid_query_string", "Query validation error: 'Value 101 is greater than maximum 100' on property take (How many to take; 50 unless set).")
	f.do("GET", "nowhere", "").refuses(404, "", "Not Found")
	f.do("PUT", "clients", "{}").refuses(404, "", "Not Found")
	f.want(200, f.do("GET", "clients", `{"a body":"is tolerated"}`))
	f.want(204, f.do("DELETE", "clients/absent", `null`))

	send := func(kind, body string) answer {
		r := httptest.NewRequest("POST", "https://"+home+"/api/v2/clients", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+f.all)
		r.Header.Set("Content-Type", kind)
		return f.send(r)
	}
	send("text/plain", `{"name":"a"}`).refuses(415, "", "Unsupported Media Type")
	send("nonsense;;", `{"name":"a"}`).refuses(415, "", "Unsupported Media Type")
	a := f.want(201, send("application/x-www-form-urlencoded",
		"name=form&is_first_party=true&grant_types[]=authorization_code&grant_types[]=refresh_token&callbacks=https://a.example.com/1&callbacks=https://a.example.com/2&client_metadata[k]=v&jwt_configuration[alg]=RS256"))
	for name, want := range map[string]string{
		"is_first_party": `true`, "grant_types": `["authorization_code","refresh_token"]`, "callbacks": `["https://a.example.com/1","https://a.example.com/2"]`,
		"client_metadata": `{"k":"v"}`, "jwt_configuration": `{"alg":"RS256","secret_encoded":false}`,
	} {
		if got := a.get(name); got != want {
			t.Errorf("form: %s %s, want %s", name, got, want)
		}
	}
	send("application/x-www-form-urlencoded", "name=form&is_first_party=perhaps").refuses(400, "invalid_body",
		"Payload validation error: 'Expected type boolean but found type string' on property is_first_party (True: yours, and trusted without asking the user; false: somebody else's).")
	send("application/x-www-form-urlencoded", "name=form&unknown=1").refuses(400, "invalid_body", "Payload validation error: 'Additional properties not allowed: unknown'.")
}

// SEC-194, SEC-230: every write leaves its event, and no event holds a secret.
func TestEvents(t *testing.T) {
	t.Parallel()
	f := start(t)
	const canary = "canary-0123456789abcdef0123456789abcdef"
	writes := []string{
		`POST clients {"name":"c","client_secret":"` + canary + `","addons":{"firebase":{"private_key":"` + canary + `","secret":"` + canary + `"}}}`,
		`POST resource-servers {"identifier":"https://a.example/","signing_alg":"HS256","signing_secret":"` + canary + `"}`,
		`POST users {"connection":"` + tenant.DefaultConnection + `","email":"a@example.com","password":"` + canary + `-Aa1"}`,
		`POST connections {"name":"up","strategy":"oidc","options":{"client_secret":"` + canary + `","configuration":{"x":"` + canary + `"}}}`,
		`PATCH connections/{con} {"options":{"client_secret":"` + canary + `2"}}`,
		`PATCH tenants/settings {"friendly_name":"Mine"}`,
		`PATCH clients/{client} {"name":"d","client_secret":"` + canary + `"}`,
		`POST clients/{client}/rotate-secret`,
		`DELETE clients/{client}`,
	}
	ids := map[string]string{}
	secrets := []string{canary, f.all, strings.Split(f.all, ".")[2]}
	for _, w := range writes {
		method, rest, _ := strings.Cut(w, " ")
		path, body, _ := strings.Cut(rest, " ")
		for name, id := range ids {
			path = strings.ReplaceAll(path, "{"+name+"}", id)
		}
		f.clock.Advance(time.Second)
		a := f.do(method, path, body)
		if a.status/100 != 2 {
			t.Fatalf("%s: %d %s", a.what, a.status, a.body)
		}
		if path == "clients" {
			ids["client"] = a.text("client_id")
		}
		if path == "connections" {
			ids["con"] = a.text("id")
		}
		if strings.HasSuffix(path, "rotate-secret") {
			secrets = append(secrets, a.text("client_secret"))
		}
		var latest []struct {
			Type, Description string
			Details           struct {
				Request struct {
					Method, Path, Channel, IP string
					Auth                      struct {
						Credentials struct{ Scopes []string }
					}
				}
				Response struct{ StatusCode int }
			}
		}
		f.want(200, f.do("GET", "logs?q=type:sapi&per_page=5", "")).decode(&latest)
		found := false
		for _, e := range latest {
			r := e.Details.Request
			found = found || r.Method == strings.ToLower(method) && r.Path == "/api/v2/"+path && r.IP == "192.0.2.1" && r.Channel == "api" &&
				len(r.Auth.Credentials.Scopes) > 0 && e.Details.Response.StatusCode == a.status && e.Description != ""
		}
		if !found {
			t.Errorf("%s: no event among %+v", a.what, latest)
		}
	}
	f.want(200, f.do("GET", "clients", "")) // a read of secrets is an event too
	f.want(200, f.do("PATCH", "tenants/settings", `{"friendly_name":"Flush"}`))
	logs := f.want(200, f.do("GET", "logs?per_page=100", ""))
	if !strings.Contains(logs.body, `"type":"mgmt_api_read"`) {
		t.Error("reading secrets left no event")
	}
	for _, s := range secrets {
		if strings.Contains(logs.body, s) {
			t.Errorf("an event holds %s", s[:10])
		}
	}
	refused := f.do("POST", "clients", `{"name":"<"}`)
	after := f.want(200, f.do("GET", "logs?per_page=1&q=type:sapi", ""))
	if refused.status != 400 || !strings.Contains(after.body, "Flush") {
		t.Errorf("a refused write left an event: %s", after.body)
	}
}
