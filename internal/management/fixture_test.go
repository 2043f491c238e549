package management_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is the API of two tenants over a real store, with real tokens.
type fixture struct {
	t       testing.TB
	api     *management.API
	store   *store.Store
	clock   *clock.Fake
	vault   *seal.Vault
	grants  *grant.Service
	minter  *token.Minter
	refresh *token.Refresh
	ring    *token.Ring
	hasher  *password.Hasher
	// host is the tenant requests go to.
	host string
	// all is a token with every scope.
	all string
}

const (
	home  = "home.example"
	other = "other.example"
	pass  = "Correct-Horse-7-Battery"
)

// founded is what every test begins with; a key pair is slow to make.
var founded = sync.OnceValues(func() ([]tenant.Founding, seal.Master) {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	key := make([]byte, 32)
	_, err := rand.Read(key)
	must(err)
	master, err := seal.NewMaster(key)
	must(err)
	vault := seal.NewVault(master)
	var out []tenant.Founding
	for id, domain := range map[string]string{"tnt_home": home, "tnt_other": other} {
		t := tenant.Tenant{ID: id, Domain: domain, CreatedAt: noon, Settings: tenant.Settings{Document: []byte(`{}`)}}
		t.DataKey, err = seal.NewDataKey(master, t.ID)
		must(err)
		signing, err := token.NewSigningKey(ctx, vault, t, "RS256", tenant.KeyCurrent, noon)
		must(err)
		mac, err := token.NewRefreshSecret(ctx, vault, t, 1, noon)
		must(err)
		out = append(out, tenant.Founding{
			Tenant: t, Keys: []tenant.SigningKey{signing}, Secrets: []tenant.Secret{mac},
			ResourceServers: []tenant.ResourceServer{management.SystemAPI(t)},
			Connections:     []tenant.Connection{management.DefaultConnection(t)},
			Event:           tenant.Event{TenantID: t.ID, At: noon, Type: "sapi"},
		})
	}
	return out, master
})

func start(t testing.TB) *fixture {
	t.Helper()
	foundings, master := founded()
	f := &fixture{t: t, clock: clock.NewFake(noon.Add(time.Minute)), host: home, vault: seal.NewVault(master)}
	var err error
	f.store, err = store.Open(t.Context(), store.Options{
		Path: filepath.Join(t.TempDir(), "bulla.db"), Clock: f.clock, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	for _, founding := range foundings {
		if err := f.store.CreateTenant(t.Context(), founding); err != nil {
			t.Fatal(err)
		}
	}
	ring := token.NewRing(f.store, f.vault)
	f.minter, f.refresh = token.NewMinter(ring, rand.Reader), token.NewRefresh(f.store, f.vault)
	hasher := password.NewHasher(password.Options{Memory: 64, Passes: 1})
	f.grants = grant.New(grant.Options{
		Store: f.store, Minter: f.minter, Ring: ring, Refresh: f.refresh, Secrets: f.vault,
		Passwords: hasher, Rules: noRules{}, Clock: f.clock, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	})
	f.ring, f.hasher = ring, hasher
	f.api = f.newAPI()
	id, secret, err := f.api.MachineClient(t.Context(), f.tenant(), "everything")
	if err != nil {
		t.Fatal(err)
	}
	f.all = f.exchange(id, secret, f.tenant().ManagementAudience())
	return f
}

// newAPI is the API over the fixture's parts.
func (f *fixture) newAPI() *management.API {
	return management.New(management.Options{
		Store: f.store, Authenticator: f.grants, Vault: f.vault, Passwords: f.hasher, Hashes: f.ring, Keyring: token.NewKeyring(f.store, f.vault, f.clock),
		Thumbprint: jose.Thumbprint, Clock: f.clock, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
	})
}

type noRules struct{}

func (noRules) Run(context.Context, tenant.RuleContext) (tenant.RuleResult, error) {
	return tenant.RuleResult{}, nil
}

// at is the same fixture at another tenant.
func (f *fixture) at(host string) *fixture {
	f.t.Helper()
	g := *f
	g.host = host
	id, secret, err := g.api.MachineClient(f.t.Context(), g.tenant(), "everything")
	if err != nil {
		f.t.Fatal(err)
	}
	g.all = g.exchange(id, secret, g.tenant().ManagementAudience())
	return &g
}

func (f *fixture) tenant() tenant.Tenant {
	f.t.Helper()
	t, err := f.store.TenantByHost(f.t.Context(), f.host)
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

// exchange is a machine's token.
func (f *fixture) exchange(clientID, secret, audience string) string {
	f.t.Helper()
	resp, err := f.grants.Exchange(f.t.Context(), f.tenant(), oauth.TokenRequest{
		GrantType: oauth.GrantClientCredentials, Audience: audience,
		Client: oauth.ClientAuthentication{Method: oauth.AuthSecretPost, ClientID: clientID, Secret: secret},
	}, tenant.Origin{})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.AccessToken
}

// token is a machine's token for the API with exactly these scopes.
func (f *fixture) token(scopes ...string) string {
	f.t.Helper()
	return f.tokenFor(f.tenant().ManagementAudience(), scopes...)
}

func (f *fixture) tokenFor(audience string, scopes ...string) string {
	f.t.Helper()
	if scopes == nil {
		scopes = []string{}
	}
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	f.want(http.StatusCreated, f.do("POST", "clients", `{"name":"limited","app_type":"non_interactive","grant_types":["client_credentials"]}`)).decode(&client)
	// The store, and not the API: that one gives no scope its caller lacks (SEC-188).
	doc, _ := json.Marshal(map[string]any{"id": "cgr_" + client.ID, "client_id": client.ID, "audience": audience, "scope": scopes, "subject_type": "client"})
	g, err := tenant.ParseClientGrant(f.tenant().ID, doc)
	if err != nil {
		f.t.Fatal(err)
	}
	g.CreatedAt = f.clock.Now()
	if err := f.store.CreateClientGrant(f.t.Context(), g, tenant.Event{TenantID: g.TenantID, At: f.clock.Now(), Type: "sapi"}); err != nil {
		f.t.Fatal(err)
	}
	return f.exchange(client.ID, client.Secret, audience)
}

// userToken is a user's token for the API, as a page gets it.
func (f *fixture) userToken(userID, clientID string, scopes ...string) string {
	f.t.Helper()
	t := f.tenant()
	api, err := f.store.ResourceServer(f.t.Context(), t, t.ManagementAudience())
	if err != nil {
		f.t.Fatal(err)
	}
	raw, err := f.minter.AccessToken(f.t.Context(), t, token.AccessToken{
		Client: tenant.Client{ID: clientID}, ResourceServer: &api, Subject: userID, Scopes: scopes, Authorization: "login",
		IssuedAt: f.clock.Now(), ExpiresAt: f.clock.Now().Add(time.Hour),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

// answer is what came back.
type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   string
}

// do sends a request with the token of every scope; path is what follows
// /api/v2/. A body that does not look like JSON is a form.
func (f *fixture) do(method, path, body string) answer {
	f.t.Helper()
	return f.as(f.all, method, path, body)
}

func (f *fixture) as(raw, method, path, body string) answer {
	f.t.Helper()
	r := httptest.NewRequest(method, "https://"+f.host+"/api/v2/"+path, strings.NewReader(body))
	if raw != "" {
		r.Header.Set("Authorization", "Bearer "+raw)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return f.send(r)
}

func (f *fixture) send(r *http.Request) answer {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.api.ServeTenant(w, r, f.tenant(), tenant.Origin{IP: "192.0.2.1", UserAgent: r.UserAgent(), Host: f.host})
	return answer{f.t, r.Method + " " + r.URL.String(), w.Code, w.Header(), w.Body.String()}
}

// want fails the test unless the status is as expected.
func (f *fixture) want(status int, a answer) answer {
	f.t.Helper()
	if a.status != status {
		f.t.Fatalf("%s: status %d, want %d: %s", a.what, a.status, status, a.body)
	}
	return a
}

func (a answer) decode(into any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		a.t.Fatalf("%s: %v: %s", a.what, err, a.body)
	}
}

// get is one member of an object, as it is written.
func (a answer) get(name string) string {
	a.t.Helper()
	var o map[string]json.RawMessage
	a.decode(&o)
	return string(o[name])
}

// text is a member that is a string.
func (a answer) text(name string) string {
	a.t.Helper()
	var s string
	if v := a.get(name); v == "" || json.Unmarshal([]byte(v), &s) != nil {
		a.t.Fatalf("%s: no text %s in %s", a.what, name, a.body)
	}
	return s
}

// refuses compares a whole error.
func (a answer) refuses(status int, code, message string) {
	a.t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(message)
	want := `"message":` + strings.TrimSpace(b.String())
	if code != "" {
		want += `,"errorCode":"` + code + `"`
	}
	if a.status != status || !strings.HasSuffix(a.body, want+"}") {
		a.t.Errorf("%s\n got %d %s\nwant %d …%s}", a.what, a.status, a.body, status, want)
	}
}

// user makes a user and answers the id.
func (f *fixture) user(email string) string {
	f.t.Helper()
	return f.want(http.StatusCreated, f.do("POST", "users",
		`{"connection":"`+tenant.DefaultConnection+`","email":"`+email+`","password":"`+pass+`"}`)).text("user_id")
}

// client makes a client of a body and answers the id.
func (f *fixture) client(body string) string {
	f.t.Helper()
	return f.want(http.StatusCreated, f.do("POST", "clients", body)).text("client_id")
}

// family makes a refresh token of a user.
func (f *fixture) family(userID, clientID string, rotating bool) tenant.FamilyID {
	f.t.Helper()
	t := f.tenant()
	_, id, version, err := f.refresh.New(f.t.Context(), t, rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	now := f.clock.Now()
	err = f.store.IssueRefreshToken(f.t.Context(), tenant.Issue{
		Family: tenant.RefreshToken{
			TenantID: t.ID, ID: id, ClientID: clientID, UserID: userID, Audience: "https://api.example/",
			Scopes: []string{"openid", "offline_access"}, Rotating: rotating, KeyVersion: version, CreatedAt: now,
			AuthTime: now, GrantType: "authorization_code", Device: tenant.Device{Name: "phone", InitialIP: "192.0.2.7"},
		},
		Limit: 200,
	}, tenant.Guard{ConfigVersion: t.ConfigVersion}, tenant.Event{TenantID: t.ID, At: now, Type: "sepft"})
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}
