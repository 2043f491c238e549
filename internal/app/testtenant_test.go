package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// ask sends JSON (or a form, when it begins with a name) with a bearer token.
func (s *live) ask(t *testing.T, token, method, target, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 && text[0] == '{' {
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatalf("%s %s: %s", method, target, text)
		}
	}
	return resp.StatusCode, out
}

// machine is a Management API token of a client.
func (s *live) machine(t *testing.T, issuer, id, secret string) string {
	t.Helper()
	status, out := s.ask(t, "", "POST", issuer+"oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "audience": {issuer + "api/v2/"},
	}.Encode())
	token, _ := out["access_token"].(string)
	if token == "" {
		t.Fatalf("no token of %s: %d %v", issuer, status, out)
	}
	return token
}

func (s *live) administrator(t *testing.T) string {
	t.Helper()
	all, err := s.data.store.Tenants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if !x.Test {
			id, secret, err := s.parts.management.MachineClient(t.Context(), x, "everything")
			if err != nil {
				t.Fatal(err)
			}
			return s.machine(t, x.Issuer(), id, secret)
		}
	}
	t.Fatal("no tenant")
	return ""
}

// A test tenant is made by one call, has a port and a clock of its own that only
// advances, survives a restart and is dropped by one call (D2, D10).
func TestTestTenants(t *testing.T) {
	t.Parallel()
	on := func(o *Options) { o.Config.TestTenants = true }
	s := start(t, on)
	main, admin := s.opts.Config.Issuer(), s.administrator(t)
	status, made := s.ask(t, admin, "POST", main+"api/v2/test/tenants", `{}`)
	issuer, _ := made["issuer"].(string)
	id, _ := made["id"].(string)
	if status != http.StatusCreated || issuer == main || !strings.HasPrefix(issuer, "https://localhost:") || made["audience"] != issuer+"api/v2/" {
		t.Fatalf("create: %d %v", status, made)
	}
	secret := made["client_secret"].(string)
	token := s.machine(t, issuer, made["client_id"].(string), secret)

	// The refresh token of a month, and its end, in milliseconds.
	must := func(status int, out map[string]any) map[string]any {
		t.Helper()
		if status >= 300 {
			t.Fatalf("%d %v", status, out)
		}
		return out
	}
	must(s.ask(t, token, "POST", issuer+"api/v2/users", `{"connection":"`+tenant.DefaultConnection+`","email":"ann@example.com","password":"Correct-Horse-7-Battery"}`))
	must(s.ask(t, token, "POST", issuer+"api/v2/resource-servers", `{"identifier":"https://api.example/","allow_offline_access":true}`))
	client := must(s.ask(t, token, "POST", issuer+"api/v2/clients", `{"name":"cli","app_type":"regular_web","grant_types":["password","refresh_token"],`+
		`"refresh_token":{"rotation_type":"non-rotating","expiration_type":"expiring","token_lifetime":2592000,"infinite_idle_token_lifetime":true}}`))
	exchange := func(form url.Values) (int, map[string]any) {
		t.Helper()
		form.Set("client_id", client["client_id"].(string))
		form.Set("client_secret", client["client_secret"].(string))
		return s.ask(t, "", "POST", issuer+"oauth/token", form.Encode())
	}
	must(s.ask(t, token, "PATCH", issuer+"api/v2/tenants/settings", `{"default_directory":"`+tenant.DefaultConnection+`"}`))
	tokens := must(exchange(url.Values{"grant_type": {"password"}, "username": {"ann@example.com"}, "password": {"Correct-Horse-7-Battery"},
		"audience": {"https://api.example/"}, "scope": {"openid offline_access"}}))
	refresh, _ := tokens["refresh_token"].(string)
	if refresh == "" {
		t.Fatalf("no refresh token: %v", tokens)
	}
	advance := func(token, seconds string) (int, map[string]any) {
		t.Helper()
		return s.ask(t, token, "POST", issuer+"api/v2/test/clock", `{"advance_seconds":`+seconds+`}`)
	}
	must(advance(token, "2591000"))
	must(exchange(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}))
	token = s.machine(t, issuer, made["client_id"].(string), secret) // the old one has expired
	must(advance(token, "1000"))
	if status, out := exchange(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}); status != 403 && status != 400 || out["error"] != "invalid_grant" {
		t.Errorf("a refresh token at its deadline: %d %v", status, out)
	}

	for what, x := range map[string]struct {
		token, method, target, body string
		status                      int
	}{
		"clock set back":           {token, "POST", issuer + "api/v2/test/clock", `{"advance_seconds":-1}`, 400},
		"clock without a number":   {token, "POST", issuer + "api/v2/test/clock", `{}`, 400},
		"clock beyond every life":  {token, "POST", issuer + "api/v2/test/clock", `{"advance_seconds":400000000}`, 400},
		"a production clock":       {admin, "POST", main + "api/v2/test/clock", `{"advance_seconds":1}`, 403},
		"made by a test tenant":    {token, "POST", issuer + "api/v2/test/tenants", `{}`, 403},
		"dropped by a test tenant": {token, "DELETE", issuer + "api/v2/test/tenants/" + id, ``, 403},
		"a production tenant":      {admin, "DELETE", main + "api/v2/test/tenants/" + s.data.tenants[0].ID, ``, 204}, // as if it were not there
	} {
		if status, out := s.ask(t, x.token, x.method, x.target, x.body); status != x.status {
			t.Errorf("%s: %d %v, want %d", what, status, out, x.status)
		}
	}
	if status, _ := s.ask(t, admin, "GET", main+"api/v2/clients", ""); status != 200 {
		t.Fatalf("the production tenant after all that: %d", status)
	}
	// By the main server's clock nothing of the test tenant is served.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, main+".well-known/openid-configuration", nil)
	req.Host = strings.TrimSuffix(strings.TrimPrefix(issuer, "https://"), "/")
	if resp, err := s.client.Do(req); err != nil || resp.StatusCode == http.StatusOK {
		t.Errorf("a test tenant's host at the main port: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}

	dir := s.opts.Config
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, func(o *Options) {
		on(o)
		closeAll(o.Listeners)
		o.Listeners = nil
		o.Config.Data, o.Config.MasterKeyFile, o.Config.Domain = dir.Data, dir.MasterKeyFile, dir.Domain
		o.Config.Listen = dir.Domain
	})
	token = s.machine(t, issuer, made["client_id"].(string), secret)
	out := must(advance(token, "0"))
	if now, err := time.Parse(time.RFC3339, out["now"].(string)); err != nil || now.Sub(s.opts.Clock.Now()) < 2592000*time.Second-time.Minute {
		t.Errorf("after a restart the clock says %v", out)
	}
	admin = s.administrator(t)
	if status, out := s.ask(t, admin, "DELETE", main+"api/v2/test/tenants/"+id, ""); status != 204 {
		t.Errorf("drop: %d %v", status, out)
	}
	if resp, err := s.client.Get(issuer + "healthz"); err == nil {
		resp.Body.Close()
		t.Error("the dropped tenant's port is open")
	}
	if all, err := s.data.store.Tenants(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d tenants are left (%v)", len(all), err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// Where test tenants are off their operations do not exist.
func TestNoTestTenants(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	admin := s.administrator(t)
	for _, path := range []string{"api/v2/test/tenants", "api/v2/test/clock"} {
		if status, out := s.ask(t, admin, "POST", s.opts.Config.Issuer()+path, `{"advance_seconds":1}`); status != 404 {
			t.Errorf("%s: %d %v", path, status, out)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}
