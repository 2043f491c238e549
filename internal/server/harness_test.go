package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/management"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/server"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

const (
	tenantID = "t1"
	// The user that every site has.
	ada         = "ada@example.com"
	adaPassword = "Tr0ub4dor-and-3"
)

// The configuration of every site: one client of each kind that the front
// channel tells apart, and an API.
var (
	clientDocuments = []string{
		`{"client_id":"spa","name":"Planner","app_type":"spa","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["https://app.example.com/cb","https://app.example.com/other"],"web_origins":["https://app.example.com"],
		  "allowed_logout_urls":["https://app.example.com/bye"],"grant_types":["authorization_code","implicit","refresh_token"],
		  "refresh_token":{"rotation_type":"rotating","expiration_type":"expiring","leeway":0,"token_lifetime":2592000,"idle_token_lifetime":1296000}}`,
		`{"client_id":"strict","name":"Strict","app_type":"spa","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["https://strict.example.com/cb"],"grant_types":["authorization_code"]}`,
		`{"client_id":"third","name":"Mail <Merge>","app_type":"spa","is_first_party":false,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["https://third.example.net/cb"],"grant_types":["authorization_code"]}`,
		`{"client_id":"native","name":"Desk","app_type":"native","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["http://127.0.0.1/cb"],"grant_types":["authorization_code"]}`,
		`{"client_id":"wild","name":"Wild","app_type":"spa","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["https://*.wild.example.com/cb"],"grant_types":["authorization_code"]}`,
		`{"client_id":"tv","name":"Television","app_type":"native","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "grant_types":["urn:ietf:params:oauth:grant-type:device_code","refresh_token"],
		  "refresh_token":{"rotation_type":"rotating","expiration_type":"expiring","leeway":0,"token_lifetime":2592000,"idle_token_lifetime":1296000}}`,
		`{"client_id":"nodb","name":"No database","app_type":"spa","is_first_party":true,"oidc_conformant":true,"token_endpoint_auth_method":"none",
		  "callbacks":["https://nodb.example.com/cb"],"grant_types":["authorization_code"]}`,
	}
	connectionDocument = `{"id":"con_0000000000000001","name":"Username-Password-Authentication","strategy":"auth0",
		"enabled_clients":["spa","strict","third","native","wild","tv"],"options":{"passwordPolicy":"good"}}`
	apiDocument = `{"id":"0123456789abcdef01234567","name":"Calendar","identifier":"https://calendar.example","allow_offline_access":true,
		"skip_consent_for_verifiable_first_party_clients":true,"token_lifetime":86400,"token_lifetime_for_web":7200,
		"scopes":[{"value":"read:events","description":"Read your events"},{"value":"write:events"}]}`
)

// site is a whole server on a real store and a clock that the test moves.
type site struct {
	*httptest.Server
	issuer string
	clock  *clock.Fake
	store  *store.Store
	tenant tenant.Tenant
	hasher *password.Hasher
	ticket string
	log    *logBuffer
}

// change is what a test wants otherwise.
type change struct {
	settings   tenant.Settings
	connection string
	options    func(*server.Options)
}

func start(t *testing.T, c change) *site {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	s := &site{clock: clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), log: &logBuffer{}}
	logger := slog.New(slog.NewJSONHandler(s.log, nil))
	st, err := store.Open(ctx, store.Options{Path: filepath.Join(dir, "bulla.db"), Clock: s.clock, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	k := keys(t)
	vault := seal.NewVault(k.master)
	s.store, s.Server = st, httptest.NewUnstartedServer(nil)
	_, port, _ := strings.Cut(s.Listener.Addr().String(), ":")
	s.tenant = tenant.Tenant{ID: tenantID, Domain: "localhost:" + port, CreatedAt: s.clock.Now(), Settings: c.settings}
	s.issuer = s.tenant.Issuer()
	s.found(t, k, c)

	ring := token.NewRing(st, vault)
	minter := token.NewMinter(ring, rand.Reader)
	s.hasher = password.NewHasher(password.Options{Rand: rand.Reader, Memory: 64})
	grants := grant.New(grant.Options{
		Store: st, Minter: minter, Ring: ring, Refresh: token.NewRefresh(st, vault), Secrets: vault, Passwords: s.hasher,
		Clock: s.clock, Rand: rand.Reader, Logger: logger,
	})
	o := server.Options{
		Directory: st,
		Authorize: authorize.New(authorize.Options{Store: st, Minter: minter, Ring: ring, Passwords: s.hasher, Clock: s.clock, Rand: rand.Reader}),
		Grants:    grants,
		Management: management.New(management.Options{
			Store: st, Authenticator: grants, Vault: vault, Passwords: s.hasher, Hashes: ring, Keyring: token.NewKeyring(st, vault, s.clock), Thumbprint: jose.Thumbprint,
			Clock: s.clock, Rand: rand.Reader, Logger: logger,
		}),
		Keys: ring, Wall: s.clock, Rand: rand.Reader, Logger: logger,
	}
	if c.options != nil {
		c.options(&o)
	}
	s.Config.Handler = server.New(o)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	s.addUser(t, ada, adaPassword)
	return s
}

// keyMaterial is what all sites share, because an RSA key takes longer to make
// than everything else of a test.
type keyMaterial struct {
	master seal.Master
	tenant tenant.Tenant
	key    tenant.SigningKey
	secret tenant.Secret
}

var makeKeys = sync.OnceValues(func() (keyMaterial, error) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	master, err := seal.NewMaster(raw[:])
	if err != nil {
		return keyMaterial{}, err
	}
	ctx, now := context.Background(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := keyMaterial{master: master, tenant: tenant.Tenant{ID: tenantID, Domain: "localhost"}}
	if k.tenant.DataKey, err = seal.NewDataKey(master, tenantID); err != nil {
		return k, err
	}
	vault := seal.NewVault(master)
	if k.key, err = token.NewSigningKey(ctx, vault, k.tenant, "RS256", tenant.KeyCurrent, now); err != nil {
		return k, err
	}
	k.secret, err = token.NewRefreshSecret(ctx, vault, k.tenant, 1, now)
	return k, err
})

func keys(t *testing.T) keyMaterial {
	t.Helper()
	k, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *site) found(t *testing.T, k keyMaterial, c change) {
	t.Helper()
	now := s.clock.Now()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.tenant.Settings.Document, err = json.Marshal(c.settings)
	check(err)
	s.tenant.DataKey = k.tenant.DataKey
	s.ticket, err = token.Random(rand.Reader)
	check(err)
	document := connectionDocument
	if c.connection != "" {
		document = c.connection
	}
	connection, err := tenant.ParseConnection(tenantID, []byte(document))
	check(err)
	api, err := tenant.ParseResourceServer(tenantID, []byte(apiDocument))
	check(err)
	connection.CreatedAt, api.CreatedAt = now, now
	f := tenant.Founding{
		Tenant: s.tenant, Keys: []tenant.SigningKey{k.key}, Secrets: []tenant.Secret{k.secret}, Connections: []tenant.Connection{connection},
		ResourceServers: []tenant.ResourceServer{api}, Event: tenant.Event{TenantID: tenantID, At: now, Type: "sapi"},
		Tickets: []tenant.Ticket{{TenantID: tenantID, Hash: token.Hash(s.ticket), Purpose: authorize.TicketAdministrator, CreatedAt: now, ExpiresAt: now.Add(authorize.TicketLifetime)}},
	}
	for _, document := range clientDocuments {
		cl, err := tenant.ParseClient(tenantID, []byte(document))
		check(err)
		cl.CreatedAt = now
		f.Clients = append(f.Clients, cl)
	}
	check(s.store.CreateTenant(t.Context(), f))
}

func (s *site) addUser(t *testing.T, email, pw string) tenant.User {
	t.Helper()
	hash, err := s.hasher.Hash(t.Context(), pw)
	if err != nil {
		t.Fatal(err)
	}
	id := hexOf(email)
	u := tenant.User{
		TenantID: tenantID, ID: "auth0|" + id, Email: email, Name: email, CreatedAt: s.clock.Now(), UpdatedAt: s.clock.Now(),
		Identities: []tenant.Identity{{Connection: tenant.DefaultConnection, UserID: id, Provider: "auth0"}},
	}
	if err := s.store.CreateUser(t.Context(), u, hash, tenant.Event{TenantID: tenantID, At: s.clock.Now(), Type: "sapi"}); err != nil {
		t.Fatal(err)
	}
	return u
}

func hexOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range sum[:12] {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// events are the tenant's events, the oldest first. What was recorded without a
// write joins the next commit (D13), so there is one.
func (s *site) events(t *testing.T) []tenant.Event {
	t.Helper()
	tx := tenant.Transaction{TenantID: tenantID, ID: rand.Text(), Binding: "x", Request: json.RawMessage(`{}`), CreatedAt: s.clock.Now(), ExpiresAt: s.clock.Now()}
	if err := s.store.CreateTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	list, err := s.store.Events(t.Context(), tenantID, tenant.EventQuery{Ascending: true}, tenant.Page{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// hasEvent fails the test unless there is an event of the type and reason.
func (s *site) hasEvent(t *testing.T, kind, reason string) {
	t.Helper()
	var seen []string
	for _, e := range s.events(t) {
		if e.Type == kind && (reason == "" || e.Reason == reason) {
			return
		}
		seen = append(seen, e.Type+"/"+e.Reason)
	}
	t.Errorf("no event %s/%s among %v", kind, reason, seen)
}

// logBuffer takes the server's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// browser keeps cookies and hands redirects back.
type browser struct {
	*site
	client *http.Client
}

func (s *site) newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *s.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{s, &c}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (b *browser) do(t *testing.T, method, target string, form url.Values, headers ...string) answer {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.URL + target
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = b.tenant.Domain
	req.Header.Set("Accept", "text/html")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(text)}
}

func (b *browser) get(t *testing.T, target string, headers ...string) answer {
	t.Helper()
	return b.do(t, http.MethodGet, target, nil, headers...)
}

func (b *browser) post(t *testing.T, target string, form url.Values, headers ...string) answer {
	t.Helper()
	return b.do(t, http.MethodPost, target, form, headers...)
}

// follow opens where a redirect to our own pages leads.
func (b *browser) follow(t *testing.T, a answer) answer {
	t.Helper()
	location := a.Header.Get("Location")
	if !strings.HasPrefix(location, "/u/") {
		t.Fatalf("%s leads to %q, want one of our pages: %s", a.Status, location, a.body)
	}
	return b.get(t, location)
}

var hidden = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)

// action is where the page's form goes.
func (a answer) action(t *testing.T) string {
	t.Helper()
	m := hidden.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no form in the page: %s", a.body)
	}
	return html.UnescapeString(m[1])
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 Appendix B

// params is a good request of a client; pairs change it, an empty value removes.
func params(client string, pairs ...string) url.Values {
	callbacks := map[string]string{
		"spa": "https://app.example.com/cb", "strict": "https://strict.example.com/cb", "third": "https://third.example.net/cb",
		"native": "http://127.0.0.1:5000/cb", "wild": "https://a.wild.example.com/cb", "nodb": "https://nodb.example.com/cb",
	}
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{
		"client_id": {client}, "redirect_uri": {callbacks[client]}, "response_type": {"code"}, "scope": {"openid email"}, "state": {"st"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v
}

func authorizeURL(v url.Values) string { return "/authorize?" + v.Encode() }

// login begins a request, gives the password and returns what followed.
func (b *browser) login(t *testing.T, v url.Values, email, pw string) answer {
	t.Helper()
	page := b.follow(t, b.get(t, authorizeURL(v)))
	return b.post(t, page.action(t), url.Values{"identifier": {email}, "password": {pw}})
}

// response is what came back to the client.
func (a answer) response(t *testing.T, redirectURI string) url.Values {
	t.Helper()
	location := a.Header.Get("Location")
	rest, ok := strings.CutPrefix(location, redirectURI)
	if !ok || rest == "" || !strings.Contains("?#", rest[:1]) {
		t.Fatalf("%s leads to %q, want %s: %s", a.Status, location, redirectURI, a.body)
	}
	v, err := url.ParseQuery(rest[1:])
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// payload are the claims of a JWT.
func payload(t *testing.T, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT of three parts: %d", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// object is a JSON object.
func object(t *testing.T, body string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}
