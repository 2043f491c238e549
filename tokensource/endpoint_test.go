package tokensource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method          AuthMethod
		secret          string
		basic           string
		id, secretField string
	}{
		{"", "s:e c", "", "client", "s:e c"},
		{ClientSecretPost, "s", "", "client", "s"},
		{ClientSecretBasic, "s:e c", "client s%3Ae+c", "", ""},
		{"", "", "", "client", ""},
		{None, "ignored", "", "client", ""},
	} {
		f := newFakeIssuer()
		c := f.config()
		c.AuthMethod, c.ClientSecret = tt.method, NewSecret(tt.secret)
		want(t, machine(t, c), "access-1")
		form, header := f.requests[0], f.headers[0]
		if form.Get("client_id") != tt.id || form.Get("client_secret") != tt.secretField {
			t.Errorf("%q: body has %q %q", tt.method, form.Get("client_id"), form.Get("client_secret"))
		}
		id, secret, _ := (&http.Request{Header: header}).BasicAuth()
		if got := strings.TrimSpace(id + " " + secret); got != tt.basic {
			t.Errorf("%q: Basic %q, want %q", tt.method, got, tt.basic)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := newFakeIssuer().config()
	for name, change := range map[string]func(*Config){
		"no issuer":               func(c *Config) { c.Issuer = "" },
		"plain issuer (SEC-220)":  func(c *Config) { c.Issuer = "http://issuer.example/" },
		"plain address (SEC-220)": func(c *Config) { c.TokenURL = "http://10.0.0.1/token" },
		"no scheme":               func(c *Config) { c.Issuer = "issuer.example" },
		"no client":               func(c *Config) { c.ClientID = "" },
		"Basic without secret":    func(c *Config) { c.AuthMethod = ClientSecretBasic; c.ClientSecret = Secret{} },
		"unknown method":          func(c *Config) { c.AuthMethod = "tls_client_auth" },
	} {
		c := good
		change(&c)
		if _, err := ClientCredentials(c); err == nil || !strings.HasPrefix(err.Error(), "tokensource: ") {
			t.Errorf("%s: %v, want an error that says what to change", name, err)
		}
	}
	if _, err := RefreshToken(good, "", NewSecret("x")); err == nil {
		t.Error("a refresh token of nobody was accepted")
	}
	local := good
	local.Issuer, local.TokenURL = "", "http://127.0.0.1:1/token"
	if _, err := ClientCredentials(local); err != nil {
		t.Errorf("loopback: %v", err)
	}
}

// SEC-102, SEC-220: secrets go only where the configured issuer says, over https.
func TestDiscoveryRefuses(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]string{
		"another issuer":    `{"issuer":"https://evil.example/","token_endpoint":"https://evil.example/token"}`,
		"no slash":          `{"issuer":"https://issuer.example","token_endpoint":"https://issuer.example/token"}`,
		"plain endpoint":    `{"issuer":"` + testIssuer + `","token_endpoint":"http://issuer.example/token"}`,
		"no token endpoint": `{"issuer":"` + testIssuer + `"}`,
		"not JSON":          `<html>`,
	} {
		f := newFakeIssuer()
		f.metadata = metadata
		c := f.config()
		c.Patience = time.Millisecond
		if _, err := machine(t, c).Token(t.Context()); err == nil || f.count() != 0 {
			t.Errorf("%s: %v after %d token requests, want an error and none", name, err, f.count())
		}
	}
}

// SEC-248, SEC-230: neither printed forms nor errors hold a token or a secret.
func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer("s3cret-refresh")
	f.also = map[string]any{"access_token": "s3cret-access", "id_token": "s3cret-id", "refresh_token": "s3cret-next"}
	c := f.config()
	store := new(MemoryStore)
	c.Store = store
	s := user(t, c, "ann", "s3cret-refresh")
	tok := want(t, s, "s3cret-access")
	entry, err := store.Load(t.Context(), c.key("ann"))
	if err != nil || entry.RefreshToken.Reveal() != "s3cret-next" {
		t.Fatalf("stored %q, %v", entry.RefreshToken.Reveal(), err)
	}
	nested := struct {
		hidden Token // fmt cannot call methods of what is in here
		secret Secret
		ptr    *Entry
	}{tok, tok.AccessToken, &entry}

	var out bytes.Buffer
	values := []any{tok, &tok, tok.AccessToken, entry, &entry, c, &c, s, store, nested, []Token{tok}, map[string]Secret{"a": tok.IDToken}, f.config()}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c"} {
			fmt.Fprintf(&out, verb, v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	for _, v := range []any{tok, entry, tok.IDToken} {
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
	}
	f.then(nil, status(400, `{"error":"invalid_request","error_description":"line\nbreak \u001b[0m"}`))
	c.Patience, c.Scopes = time.Second, nil
	_, err = user(t, c, "ann", "s3cret-refresh").Token(t.Context())
	answer, ok := errors.AsType[*Error](err)
	if !ok || answer.Description != "line?break ?[0m" {
		t.Errorf("error %v, want a printable description (SEC-231)", err)
	}
	fmt.Fprintf(&out, "%v %+v", err, err)
	for _, leak := range []string{"s3cret", fmt.Sprintf("%x", "s3cret"), fmt.Sprintf("%X", "s3cret"), "115 51 99"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed forms contain %q", leak)
		}
	}
}

// A real server behind TLS: what the in-process issuer cannot show.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, server.URL+"/", server.URL+"/oauth/token")
	})
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("client_secret") != "s" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"access_token":"over-tls","token_type":"Bearer","expires_in":60}`)
	})
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	})
	c := Config{Issuer: server.URL + "/", ClientID: "c", ClientSecret: NewSecret("s"), HTTPClient: server.Client()}
	s := machine(t, c)
	want(t, s, "over-tls")
	resp, err := HTTPClient(s, server.Client()).Get(server.URL + "/api")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 64)
	n, _ := resp.Body.Read(body)
	if got := string(body[:n]); got != "Bearer over-tls" {
		t.Errorf("the API saw %q", got)
	}
	c.HTTPClient, c.Patience = nil, time.Millisecond
	if _, err := machine(t, c).Token(t.Context()); err == nil {
		t.Error("the certificate of a stranger was accepted (SEC-220)")
	}
}
