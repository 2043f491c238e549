package grant_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	secret    = "a-secret-of-a-client-that-nobody-guesses"
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	callback  = "https://app.example/callback"
	audience  = "https://api.example/"
)

// fixture is the back channel over a real store of its own.
type fixture struct {
	*grant.Service
	store    *store.Store
	clock    *clock.Fake
	vault    *seal.Vault
	hasher   *password.Hasher
	refresh  *token.Refresh
	tenantID string
	rules    *ruleSet
	faults   *faulty
	names    int
}

// founded is one tenant with its keys, made once: a key pair is slow to make.
var founded = sync.OnceValues(func() (tenant.Founding, seal.Master) { return found("tnt", "localhost:8443") })

// found makes a tenant with its keys, under a master key of its own.
func found(id, domain string) (tenant.Founding, seal.Master) {
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
	t := tenant.Tenant{ID: id, Domain: domain, CreatedAt: noon}
	t.Settings.Document = []byte(`{"default_directory":"users","flags":{}}`)
	t.Settings.DefaultDirectory = "users"
	t.DataKey, err = seal.NewDataKey(master, t.ID)
	must(err)
	vault := seal.NewVault(master)
	signing, err := token.NewSigningKey(ctx, vault, t, "RS256", tenant.KeyCurrent, noon)
	must(err)
	fast, err := token.NewSigningKey(ctx, vault, t, "ES256", tenant.KeyCurrent, noon)
	must(err)
	mac, err := token.NewRefreshSecret(ctx, vault, t, 1, noon)
	must(err)
	return tenant.Founding{
		Tenant: t, Keys: []tenant.SigningKey{signing, fast}, Secrets: []tenant.Secret{mac},
		Event: tenant.Event{TenantID: t.ID, At: noon, Type: "sapi"},
	}, master
}

// start is a fixture on the embedded store.
func start(t testing.TB) *fixture {
	t.Helper()
	founding, master := founded()
	return startOn(t, store.Options{Path: filepath.Join(t.TempDir(), "bulla.db")}, founding, master)
}

// startOnPostgres is a fixture on a tenant of its own in the PostgreSQL that
// TEST_POSTGRES names.
func startOnPostgres(t testing.TB) *fixture {
	t.Helper()
	url := os.Getenv("TEST_POSTGRES")
	if url == "" {
		t.Skip("TEST_POSTGRES is not set")
	}
	id, err := token.Random(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	founding, master := found("tnt_"+id, strings.ToLower(id)+".example")
	return startOn(t, store.Options{URL: url}, founding, master)
}

func startOn(t testing.TB, where store.Options, founding tenant.Founding, master seal.Master) *fixture {
	t.Helper()
	f := &fixture{clock: clock.NewFake(noon), tenantID: founding.Tenant.ID, rules: &ruleSet{}}
	where.Clock, where.Logger = f.clock, slog.New(slog.DiscardHandler)
	var err error
	if f.store, err = store.Open(t.Context(), where); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	if err := f.store.CreateTenant(t.Context(), founding); err != nil {
		t.Fatal(err)
	}
	f.vault = seal.NewVault(master)
	ring := token.NewRing(f.store, f.vault)
	f.refresh = token.NewRefresh(f.store, f.vault)
	f.hasher = password.NewHasher(password.Options{Memory: 64, Passes: 1})
	f.faults = &faulty{Store: f.store}
	f.Service = grant.New(grant.Options{
		Store: f.faults, Minter: token.NewMinter(ring, rand.Reader), Ring: ring, Refresh: f.refresh,
		Secrets: f.vault, Passwords: f.hasher, Rules: f.rules, Clock: f.clock, Rand: rand.Reader,
		Logger: slog.New(slog.DiscardHandler),
	})
	return f
}

// ruleSet is the tenant's rules: what run says, or nothing.
type ruleSet struct {
	mu   sync.Mutex
	run  func(tenant.RuleContext) (tenant.RuleResult, error)
	runs int
}

func (r *ruleSet) set(run func(tenant.RuleContext) (tenant.RuleResult, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run = run
}

func (r *ruleSet) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs
}

func (r *ruleSet) Run(_ context.Context, c tenant.RuleContext) (tenant.RuleResult, error) {
	r.mu.Lock()
	run := r.run
	r.runs++
	r.mu.Unlock()
	if run == nil {
		return tenant.RuleResult{}, nil
	}
	return run(c)
}

// errDisk is a fault of the disk.
var errDisk = errors.New("input/output error")

// faulty is the store on a disk that fails: the outside world. before fails a
// call that then does nothing, after fails one that has happened (a commit of
// unknown outcome).
type faulty struct {
	*store.Store
	mu            sync.Mutex
	before, after map[string]error
	deaf          bool
}

func (s *faulty) fail(before, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = nil, nil
	if before != "" {
		s.before = map[string]error{before: errDisk}
	}
	if after != "" {
		s.after = map[string]error{after: errDisk}
	}
}

// conflict makes a call find its row changed, each time.
func (s *faulty) conflict(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = map[string]error{name: tenant.ErrConflict}
}

func (s *faulty) do(name string, fn func() error) error {
	s.mu.Lock()
	before, after := s.before[name], s.after[name]
	s.mu.Unlock()
	if before != nil {
		return before
	}
	if err := fn(); err != nil {
		return err
	}
	return after
}

func (s *faulty) Client(ctx context.Context, t tenant.Tenant, id string) (c tenant.Client, err error) {
	err = s.do("Client", func() error { c, err = s.Store.Client(ctx, t, id); return err })
	return c, err
}

func (s *faulty) ResourceServer(ctx context.Context, t tenant.Tenant, a string) (r tenant.ResourceServer, err error) {
	err = s.do("ResourceServer", func() error { r, err = s.Store.ResourceServer(ctx, t, a); return err })
	return r, err
}

func (s *faulty) ClientGrant(ctx context.Context, t tenant.Tenant, c, a, k string) (g tenant.ClientGrant, err error) {
	err = s.do("ClientGrant", func() error { g, err = s.Store.ClientGrant(ctx, t, c, a, k); return err })
	return g, err
}

func (s *faulty) Connection(ctx context.Context, t tenant.Tenant, name string) (c tenant.Connection, err error) {
	err = s.do("Connection", func() error { c, err = s.Store.Connection(ctx, t, name); return err })
	return c, err
}

func (s *faulty) User(ctx context.Context, t, id string) (u tenant.User, err error) {
	err = s.do("User", func() error { u, err = s.Store.User(ctx, t, id); return err })
	return u, err
}

func (s *faulty) UserForPassword(ctx context.Context, t, c, id string) (u tenant.User, hash string, err error) {
	err = s.do("UserForPassword", func() error { u, hash, err = s.Store.UserForPassword(ctx, t, c, id); return err })
	return u, hash, err
}

func (s *faulty) Session(ctx context.Context, t, id string) (x tenant.Session, err error) {
	err = s.do("Session", func() error { x, err = s.Store.Session(ctx, t, id); return err })
	return x, err
}

func (s *faulty) Consent(ctx context.Context, t, u, c, a string) (x tenant.Consent, err error) {
	err = s.do("Consent", func() error { x, err = s.Store.Consent(ctx, t, u, c, a); return err })
	return x, err
}

func (s *faulty) Code(ctx context.Context, t, hash string) (c tenant.Code, err error) {
	err = s.do("Code", func() error { c, err = s.Store.Code(ctx, t, hash); return err })
	return c, err
}

func (s *faulty) RefreshToken(ctx context.Context, t string, id tenant.FamilyID) (r tenant.RefreshToken, err error) {
	err = s.do("RefreshToken", func() error { r, err = s.Store.RefreshToken(ctx, t, id); return err })
	return r, err
}

func (s *faulty) RedeemCode(ctx context.Context, r tenant.Redemption) error {
	return s.do("RedeemCode", func() error { return s.Store.RedeemCode(ctx, r) })
}

func (s *faulty) RedeemDeviceCode(ctx context.Context, r tenant.Redemption) error {
	return s.do("RedeemDeviceCode", func() error { return s.Store.RedeemDeviceCode(ctx, r) })
}

func (s *faulty) SpendCode(ctx context.Context, t, hash string, at time.Time, e tenant.Event) error {
	return s.do("SpendCode", func() error { return s.Store.SpendCode(ctx, t, hash, at, e) })
}

func (s *faulty) IssueRefreshToken(ctx context.Context, i tenant.Issue, g tenant.Guard, e tenant.Event) error {
	return s.do("IssueRefreshToken", func() error { return s.Store.IssueRefreshToken(ctx, i, g, e) })
}

func (s *faulty) RotateRefreshToken(ctx context.Context, r tenant.Rotation) error {
	return s.do("RotateRefreshToken", func() error { return s.Store.RotateRefreshToken(ctx, r) })
}

func (s *faulty) RevokeFamily(ctx context.Context, r tenant.Revocation) error {
	return s.do("RevokeFamily", func() error { return s.Store.RevokeFamily(ctx, r) })
}

func (s *faulty) DenyAuthorization(ctx context.Context, t, hash string, until time.Time, e tenant.Event) error {
	return s.do("DenyAuthorization", func() error { return s.Store.DenyAuthorization(ctx, t, hash, until, e) })
}

func (s *faulty) Denied(ctx context.Context, t, hash string, now time.Time) (found bool, err error) {
	err = s.do("Denied", func() error { found, err = s.Store.Denied(ctx, t, hash, now); return err })
	return found, err
}

// NoticesChanged never tells where deaf is set: as if another node had committed.
func (s *faulty) NoticesChanged(t string) <-chan struct{} {
	if s.deaf {
		return nil
	}
	return s.Store.NoticesChanged(t)
}

func (s *faulty) Notices(ctx context.Context, t string, after int64, now time.Time, limit int) (l []tenant.Notice, err error) {
	err = s.do("Notices", func() error { l, err = s.Store.Notices(ctx, t, after, now, limit); return err })
	return l, err
}

func (s *faulty) Mark(ctx context.Context, t string, subjects []tenant.MarkSubject) (at time.Time, err error) {
	err = s.do("Mark", func() error { at, err = s.Store.Mark(ctx, t, subjects); return err })
	return at, err
}

// tenant is the tenant as a request would read it now.
func (f *fixture) tenant(t testing.TB) tenant.Tenant {
	t.Helper()
	got, err := f.store.Tenant(t.Context(), f.tenantID)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (f *fixture) event() tenant.Event {
	return tenant.Event{TenantID: f.tenantID, At: f.clock.Now(), Type: "sapi"}
}

func (f *fixture) name(prefix string) string {
	f.names++
	return prefix + strconv.Itoa(f.names)
}

// client makes a client; by default a confidential web application whose refresh
// tokens rotate.
func (f *fixture) client(t testing.TB, change func(*tenant.Client)) tenant.Client {
	t.Helper()
	c := tenant.Client{
		TenantID: f.tenantID, ID: f.name("client"), Name: "An application", AppType: "regular_web", FirstParty: true, OIDCConformant: true,
		Callbacks: []string{callback}, AuthMethod: oauth.AuthSecretPost,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantPasswordRealm, oauth.GrantClientCredentials},
		Refresh: tenant.RefreshPolicy{
			RotationType: "rotating", ExpirationType: "expiring", TokenLifetimeSeconds: 2592000, IdleTokenLifetimeSeconds: 1296000,
		},
		CreatedAt: noon,
	}
	if change != nil {
		change(&c)
	}
	if !c.Public() && !c.ByKey() {
		s, err := f.vault.NewClientSecret(t.Context(), f.tenant(t), c.ID, secret)
		if err != nil {
			t.Fatal(err)
		}
		c.Secrets = []tenant.ClientSecret{s}
	}
	if err := f.store.CreateClient(t.Context(), c, f.event()); err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fixture) changeClient(t testing.TB, id string, change func(*tenant.Client)) {
	t.Helper()
	_, err := f.store.UpdateClient(t.Context(), f.tenantID, id, func(c tenant.Client) (tenant.Client, error) {
		change(&c)
		c.Document = nil
		return c, nil
	}, f.event())
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) api(t testing.TB, identifier string, change func(*tenant.ResourceServer)) tenant.ResourceServer {
	t.Helper()
	r := tenant.ResourceServer{
		TenantID: f.tenantID, ID: f.name("65a0"), Name: "An API", Identifier: identifier, AllowOfflineAccess: true, SigningAlg: "ES256",
		Scopes: []tenant.Scope{{Value: "read:x"}, {Value: "write:x"}}, TokenLifetimeSeconds: 600, CreatedAt: noon,
	}
	if change != nil {
		change(&r)
	}
	if err := f.store.CreateResourceServer(t.Context(), r, f.event()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (f *fixture) grantTo(t testing.TB, clientID, audience string, scope ...string) tenant.ClientGrant {
	t.Helper()
	g := tenant.ClientGrant{
		TenantID: f.tenantID, ID: f.name("cgr_"), ClientID: clientID, Audience: audience, Scope: scope, SubjectType: "client", CreatedAt: noon,
	}
	if err := f.store.CreateClientGrant(t.Context(), g, f.event()); err != nil {
		t.Fatal(err)
	}
	return g
}

const userPassword = "correct horse battery staple"

func (f *fixture) user(t testing.TB) tenant.User {
	t.Helper()
	id := f.name("u")
	u := tenant.User{
		TenantID: f.tenantID, ID: "auth0|" + id, Email: id + "@example.com", EmailVerified: true, Name: "Ada",
		Identities: []tenant.Identity{{Connection: "users", UserID: id, Provider: "auth0"}},
		CreatedAt:  noon, UpdatedAt: noon, Version: 1,
	}
	hash, err := f.hasher.Hash(t.Context(), userPassword)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.store.CreateUser(t.Context(), u, hash, f.event()); err != nil {
		t.Fatal(err)
	}
	return u
}

func (f *fixture) changeUser(t testing.TB, id string, change func(*tenant.User)) {
	t.Helper()
	_, err := f.store.UpdateUser(t.Context(), f.tenantID, id, func(u tenant.User) (tenant.User, error) { change(&u); return u, nil }, "", f.event())
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) connection(t testing.TB, name string, enabled ...string) {
	t.Helper()
	c := tenant.Connection{
		TenantID: f.tenantID, ID: f.name("con_"), Name: name, Strategy: "auth0", EnabledClients: enabled, CreatedAt: noon,
	}
	if err := f.store.CreateConnection(t.Context(), c, f.event()); err != nil {
		t.Fatal(err)
	}
}

// session is a login of the user in a browser.
func (f *fixture) session(t testing.TB, u tenant.User) tenant.Session {
	t.Helper()
	id := f.name("session")
	s := tenant.Session{
		TenantID: f.tenantID, ID: id, Hash: token.Hash(id), UserID: u.ID, Connection: "users",
		AuthenticatedAt: f.clock.Now(), CreatedAt: f.clock.Now(), LastUsedAt: f.clock.Now(),
		IdleExpiresAt: f.clock.Now().Add(time.Hour), ExpiresAt: f.clock.Now().Add(2 * time.Hour),
	}
	if err := f.store.CompleteLogin(t.Context(), tenant.Login{Session: s, UserVersion: u.Version, Event: f.event()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// code is an authorization code for the user and client.
func (f *fixture) code(t testing.TB, c tenant.Client, u tenant.User, change func(*tenant.Code)) string {
	t.Helper()
	value, err := token.Random(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := f.clock.Now()
	code := tenant.Code{
		TenantID: f.tenantID, Hash: token.Hash(value), ClientID: c.ID, RedirectURI: callback, RedirectURISent: true,
		CodeChallenge: challenge, CodeChallengeMethod: "S256", Scopes: []string{"openid", "email", "offline_access"},
		Nonce: "n-1", UserID: u.ID, Connection: "users", AuthTime: now, CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}
	if change != nil {
		change(&code)
	}
	err = f.store.Answer(t.Context(), tenant.Grant{
		TenantID: f.tenantID, At: now, Guard: tenant.Guard{ConfigVersion: f.tenant(t).ConfigVersion}, Code: &code, Event: f.event(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func credentials(c tenant.Client) oauth.ClientAuthentication {
	if c.Public() {
		return oauth.ClientAuthentication{Method: oauth.AuthNone, ClientID: c.ID}
	}
	return oauth.ClientAuthentication{Method: oauth.AuthSecretPost, ClientID: c.ID, Secret: secret}
}

func codeRequest(c tenant.Client, code string) oauth.TokenRequest {
	return oauth.TokenRequest{
		GrantType: oauth.GrantAuthorizationCode, Client: credentials(c), Code: code, RedirectURI: callback, CodeVerifier: verifier,
	}
}

func refreshRequest(c tenant.Client, value string) oauth.TokenRequest {
	return oauth.TokenRequest{GrantType: oauth.GrantRefreshToken, Client: credentials(c), RefreshToken: value}
}

var origin = tenant.Origin{IP: "192.0.2.1", UserAgent: "test"}

func (f *fixture) exchange(t testing.TB, req oauth.TokenRequest) (oauth.TokenResponse, error) {
	t.Helper()
	return f.Exchange(t.Context(), f.tenant(t), req, origin)
}

func (f *fixture) mustExchange(t testing.TB, req oauth.TokenRequest) oauth.TokenResponse {
	t.Helper()
	resp, err := f.exchange(t, req)
	if err != nil {
		t.Fatalf("%s: %v", req.GrantType, err)
	}
	return resp
}

// login is the answer to a code of a new login.
func (f *fixture) login(t testing.TB, c tenant.Client, u tenant.User) oauth.TokenResponse {
	t.Helper()
	return f.mustExchange(t, codeRequest(c, f.code(t, c, u, nil)))
}

// wantError checks an error and returns it.
func wantError(t testing.TB, err error, status int, code, description, reason string) {
	t.Helper()
	e := oauth.AsError(err)
	if err == nil || e.Status != status || e.Code != code || e.Description != description || e.Reason != reason {
		t.Errorf("error is %v (status %d, reason %q), want %d %s: %s (reason %q)", err, e.Status, e.Reason, status, code, description, reason)
	}
}

func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	if err == nil || oauth.AsError(err).Status != 503 || errors.Is(err, tenant.ErrConflict) {
		t.Errorf("error is %v, want unavailable", err)
	}
}

func (f *fixture) family(t testing.TB, value string) tenant.RefreshToken {
	t.Helper()
	p, err := f.refresh.Parse(t.Context(), f.tenant(t), value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.store.RefreshToken(t.Context(), f.tenantID, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// active tells whether an access token is accepted at our endpoints.
func (f *fixture) active(t testing.TB, raw string) bool {
	t.Helper()
	_, err := f.Authenticate(t.Context(), f.tenant(t), raw)
	if err != nil && !errors.Is(err, tenant.ErrTokenInactive) {
		t.Fatalf("Authenticate: %v", err)
	}
	return err == nil
}

// events are the log's lines of the given types, the oldest first, after what
// waits has been written.
func (f *fixture) events(t testing.TB, types ...string) []tenant.Event {
	t.Helper()
	// Any write takes the waiting events along (D13).
	if err := f.store.DenyAuthorization(t.Context(), f.tenantID, "nothing", noon, tenant.Event{TenantID: f.tenantID, At: noon, Type: "sapi"}); err != nil {
		t.Fatal(err)
	}
	list, err := f.store.Events(t.Context(), f.tenantID, tenant.EventQuery{Ascending: true}, tenant.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var out []tenant.Event
	for _, e := range list.Items {
		for _, want := range types {
			if e.Type == want {
				out = append(out, e)
			}
		}
	}
	return out
}

// wantEvents checks types and reasons, in order.
func (f *fixture) wantEvents(t testing.TB, types []string, want ...string) {
	t.Helper()
	var got []string
	for _, e := range f.events(t, types...) {
		got = append(got, e.Type+" "+e.Reason)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("events are %q, want %q", got, want)
	}
}
