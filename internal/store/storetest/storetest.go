// Package storetest is the contract of a store: what every engine must do, as
// tests. There is no fake store to run it on; it runs on the real ones.
//
// Run promises that whatever passes it can be put under the use cases. It wants
// each test to have an empty store of its own and refuses to share one.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Open makes an empty store for one test and closes it after it. It says where
// the data is; the other options are the test's.
type Open func(t *testing.T, o store.Options) *store.Store

// Run runs the contract.
func Run(t *testing.T, open Open) {
	groups := map[string]map[string]func(*testing.T, *world){
		"nouns":       nounTests,
		"lists":       listTests,
		"families":    familyTests,
		"devices":     deviceTests,
		"notices":     noticeTests,
		"cascades":    cascadeTests,
		"guards":      guardTests,
		"events":      eventTests,
		"sessions":    sessionTests,
		"jobs":        jobTests,
		"tenants":     tenantTests,
		"sweep":       sweepTests,
		"keys":        keyTests,
		"concurrency": concurrencyTests,
	}
	for group, tests := range groups {
		for name, test := range tests {
			t.Run(group+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, newWorld(t, open))
			})
		}
	}
}

// noon is when every test begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a store with two tenants whose rows have the same ids: whatever a
// test does to one must leave the other alone (SEC-213).
type world struct {
	*store.Store
	ctx   context.Context
	clock *clock.Fake
	a, b  tenant.Tenant
	// before is the other tenant's state at the beginning.
	before string
	// aged says that the other tenant changed by growing old.
	aged bool
}

func newWorld(t *testing.T, open Open) *world {
	t.Helper()
	c := clock.NewFake(noon)
	w := &world{ctx: t.Context(), clock: c}
	w.Store = open(t, store.Options{Clock: c, EventInterval: time.Millisecond, EventLimit: 200})
	w.a, w.b = w.found(t, "ten_a", "a.test"), w.found(t, "ten_b", "b.test")
	for _, x := range []tenant.Tenant{w.a, w.b} {
		w.seed(t, x.ID)
	}
	w.before = w.picture(t, w.b.ID)
	t.Cleanup(func() {
		if t.Failed() || w.aged {
			return
		}
		if got := w.picture(t, w.b.ID); got != w.before {
			t.Errorf("the other tenant changed:\n got %s\nwant %s", got, w.before)
		}
	})
	return w
}

// found makes a tenant with one of each thing that a founding holds.
func (w *world) found(t *testing.T, id, domain string) tenant.Tenant {
	t.Helper()
	f := tenant.Founding{
		Tenant:          tenant.Tenant{ID: id, Domain: domain, CreatedAt: noon, DataKey: "sealed data key", Settings: settings(`{"friendly_name":"Acme","x":1}`)},
		ResourceServers: []tenant.ResourceServer{resourceServer("aaaaaaaaaaaaaaaaaaaaaaa1", "https://api.test/")},
		Connections:     []tenant.Connection{connection("con_1", "Users", "client")},
		Clients:         []tenant.Client{client("client")},
		Keys: []tenant.SigningKey{{Kid: "kid", Algorithm: "RSA", State: tenant.KeyCurrent, Private: "sealed", Certificate: "cert",
			Public: "pub", CreatedAt: noon, CurrentSince: noon}},
		Secrets: []tenant.Secret{{Purpose: "refresh_token", Version: 1, Sealed: "sealed", CreatedAt: noon}},
		Tickets: []tenant.Ticket{{Hash: "ticket", Purpose: "administrator", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}},
		Event:   event("founded"),
	}
	must(t, w.CreateTenant(w.ctx, f))
	got, err := w.Tenant(w.ctx, id)
	must(t, err)
	return got
}

// seed gives a tenant a user with all that hangs on one.
func (w *world) seed(t *testing.T, id string) {
	t.Helper()
	must(t, w.CreateUser(w.ctx, user(id, "auth0|u1", "u1@example.com"), "hash", event("ss")))
	must(t, w.CompleteLogin(w.ctx, tenant.Login{Session: session(id, "sid", "auth0|u1"), UserVersion: 1, IP: "192.0.2.1"}))
	must(t, w.Answer(w.ctx, tenant.Grant{TenantID: id, At: noon, Guard: w.guard(t, id), Code: code(id, "code"), Consent: consent(id)}))
	must(t, w.IssueRefreshToken(w.ctx, issue(family(id, "rt_seed")), w.guard(t, id), event("sepft")))
}

// guard is what a request of the tenant's first user has judged now.
func (w *world) guard(t *testing.T, tenantID string) tenant.Guard {
	t.Helper()
	x, err := w.Tenant(w.ctx, tenantID)
	must(t, err)
	u, err := w.User(w.ctx, tenantID, "auth0|u1")
	must(t, err)
	return tenant.Guard{ConfigVersion: x.ConfigVersion, UserID: u.ID, UserVersion: u.Version}
}

// picture is all that the store shows of a tenant, but its events' ids.
func (w *world) picture(t *testing.T, id string) string {
	t.Helper()
	ctx := context.Background()
	x, err := w.Tenant(ctx, id)
	must(t, err)
	clients, err := w.Clients(ctx, id, tenant.ClientFilter{}, tenant.Page{})
	must(t, err)
	apis, err := w.ResourceServers(ctx, id, nil, tenant.Page{})
	must(t, err)
	grants, err := w.ClientGrants(ctx, id, tenant.ClientGrantFilter{}, tenant.Page{})
	must(t, err)
	connections, err := w.Connections(ctx, id, tenant.ConnectionFilter{}, tenant.Page{})
	must(t, err)
	users, err := w.Users(ctx, id, tenant.UserQuery{}, tenant.Page{})
	must(t, err)
	consents, err := w.Consents(ctx, id, tenant.ConsentFilter{}, tenant.Page{})
	must(t, err)
	families, err := w.RefreshTokens(ctx, id, tenant.RefreshTokenFilter{Ended: true}, tenant.Page{})
	must(t, err)
	keys, err := w.SigningKeys(ctx, id)
	must(t, err)
	secrets, err := w.Secrets(ctx, id, "refresh_token")
	must(t, err)
	session, err := w.Session(ctx, id, "sid")
	must(t, err)
	code, err := w.Code(ctx, id, "code")
	must(t, err)
	mark, err := w.Mark(ctx, id, []tenant.MarkSubject{{Kind: "user", ID: "auth0|u1"}, {Kind: "client", ID: "client"}, {Kind: "audience", ID: "https://api.test/"}})
	must(t, err)
	return fmt.Sprintf("%+v", []any{x, clients, apis, grants, connections, users, consents, families, keys, secrets, session, code, mark})
}

func settings(doc string) tenant.Settings {
	s := tenant.Settings{Document: json.RawMessage(doc)}
	if err := json.Unmarshal([]byte(doc), &s); err != nil {
		panic(err)
	}
	return s
}

func event(code string) tenant.Event { return tenant.Event{Type: code, At: noon} }

// client is a client with a member that only its document knows.
func client(id string) tenant.Client {
	doc := fmt.Sprintf(`{"client_id":%q,"name":"App %s","app_type":"spa","global":false,"is_first_party":true,"oidc_conformant":true,
		"grant_types":["refresh_token"],"jwt_configuration":{"secret_encoded":false},"client_metadata":{"team":"blue"}}`, id, id)
	c, err := tenant.ParseClient("", json.RawMessage(doc))
	if err != nil {
		panic(err)
	}
	c.CreatedAt = noon
	c.Secrets = []tenant.ClientSecret{{Hash: "keyed hash", Sealed: "sealed", ExpiresAt: noon.Add(time.Hour)}}
	c.Keys = []tenant.ClientKey{{ID: "cred_1", Kid: "k", PEM: "pem", CreatedAt: noon, UpdatedAt: noon}}
	return c
}

func resourceServer(id, identifier string) tenant.ResourceServer {
	doc := fmt.Sprintf(`{"id":%q,"identifier":%q,"name":"API","scopes":[{"value":"read:x"}],"allow_offline_access":true,"consent_policy":null}`, id, identifier)
	r, err := tenant.ParseResourceServer("", json.RawMessage(doc))
	if err != nil {
		panic(err)
	}
	r.CreatedAt, r.SigningSecret = noon, "sealed"
	return r
}

func clientGrant(tenantID, id, clientID, audience string, scope ...string) tenant.ClientGrant {
	doc, err := json.Marshal(map[string]any{"id": id, "client_id": clientID, "audience": audience, "scope": scope, "subject_type": "client", "organization_usage": "deny"})
	if err != nil {
		panic(err)
	}
	g, err := tenant.ParseClientGrant(tenantID, doc)
	if err != nil {
		panic(err)
	}
	g.CreatedAt = noon
	return g
}

func connection(id, name string, clients ...string) tenant.Connection {
	doc, err := json.Marshal(map[string]any{"id": id, "name": name, "strategy": "auth0", "enabled_clients": clients, "options": map[string]any{"passwordPolicy": "good", "mfa": true}})
	if err != nil {
		panic(err)
	}
	c, err := tenant.ParseConnection("", doc)
	if err != nil {
		panic(err)
	}
	c.CreatedAt = noon
	return c
}

func user(tenantID, id, email string) tenant.User {
	return tenant.User{
		TenantID: tenantID, ID: id, Email: email, EmailVerified: true, Username: "name-" + id, PhoneNumber: "+1", PhoneVerified: true,
		Name: "Ada", Nickname: "ada", GivenName: "Ada", FamilyName: "Lovelace", Picture: "https://img.test/", Version: 1,
		UserMetadata: json.RawMessage(`{"a":1}`), AppMetadata: json.RawMessage(`{"b":[2]}`),
		Identities: []tenant.Identity{{Connection: "Users", UserID: id, Provider: "auth0"}},
		Attributes: map[string]json.RawMessage{"locale": json.RawMessage(`"en"`)},
		CreatedAt:  noon, UpdatedAt: noon,
	}
}

func session(tenantID, id, userID string) tenant.Session {
	return tenant.Session{
		TenantID: tenantID, ID: id, Hash: "hash of " + id, UserID: userID, Connection: "Users", AuthenticatedAt: noon, AMR: []string{"pwd"},
		CreatedAt: noon, LastUsedAt: noon, IdleExpiresAt: noon.Add(72 * time.Hour), ExpiresAt: noon.Add(168 * time.Hour),
		Clients: []string{"client"}, Device: tenant.Device{InitialIP: "192.0.2.1"},
	}
}

func code(tenantID, hash string) *tenant.Code {
	return &tenant.Code{
		TenantID: tenantID, Hash: hash, ClientID: "client", RedirectURI: "https://app.test/cb", RedirectURISent: true, CodeChallenge: "challenge",
		CodeChallengeMethod: "S256", Audience: "https://api.test/", Scopes: []string{"openid", "read:x"}, RequestedScope: "openid read:x", Nonce: "n",
		UserID: "auth0|u1", SessionID: "sid", ConsentID: "ccc1", Connection: "Users", AuthTime: noon, WithAuthTime: true, AMR: []string{"pwd"},
		CreatedAt: noon, ExpiresAt: noon.Add(time.Minute),
	}
}

func consent(tenantID string) *tenant.Consent {
	return &tenant.Consent{TenantID: tenantID, ID: "ccc1", UserID: "auth0|u1", ClientID: "client", Audience: "https://api.test/",
		Scopes: []string{"read:x"}, CreatedAt: noon, UpdatedAt: noon}
}

// family has every column set that a new family can have.
func family(tenantID string, id tenant.FamilyID) tenant.RefreshToken {
	return tenant.RefreshToken{
		TenantID: tenantID, ID: id, ClientID: "client", UserID: "auth0|u1", SessionID: "sid", ConsentID: "ccc1", Audience: "https://api.test/",
		Scopes: []string{"openid", "offline_access"}, ResourceServers: []tenant.ResourcePolicy{{Audience: "https://other.test/", Scope: []string{"x"}}},
		Rotating: true, KeyVersion: 1, Attempt: "first", CreatedAt: noon, IdleExpiresAt: noon.Add(15 * 24 * time.Hour), ExpiresAt: noon.Add(30 * 24 * time.Hour),
		AuthTime: noon, WithAuthTime: true, AMR: []string{"pwd", "otp"}, Connection: "Users", GrantType: "password",
		Device: tenant.Device{Name: "phone", InitialIP: "192.0.2.1"}, Metadata: map[string]string{"k": "v"}, Confirmation: "jkt", Organization: "org_1",
	}
}

func familyHash(id tenant.FamilyID) string { return "keyed " + string(id) }

func issue(f tenant.RefreshToken) tenant.Issue {
	return tenant.Issue{Family: f, Limit: 200, Evicted: event("resource_cleanup"), FamilyHash: familyHash, DeniedUntil: noon.Add(24 * time.Hour)}
}

// rotation exchanges the family as it is now.
func (w *world) rotation(t *testing.T, id tenant.FamilyID, kind tenant.RotationKind) tenant.Rotation {
	t.Helper()
	f, err := w.RefreshToken(w.ctx, w.a.ID, id)
	must(t, err)
	return tenant.Rotation{
		TenantID: w.a.ID, ID: id, Guard: w.guard(t, w.a.ID), Kind: kind, Generation: f.Generation, WasRotating: f.Rotating, Used: f.Used,
		At: w.clock.Now(), IdleExpiresAt: w.clock.Now().Add(15 * 24 * time.Hour), ExpiresAt: f.ExpiresAt, NewKeyVersion: 2, Attempt: "attempt",
		NowRotating: kind == tenant.Rotate || kind == tenant.Replay && f.Rotating, Event: event("sertft"),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// together runs n calls at once and counts what they answered.
func together(n int, call func(i int) error) map[string]int {
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		start   = make(chan struct{})
		answers = make(map[string]int)
	)
	for i := range n {
		wg.Go(func() {
			<-start
			err := call(i)
			answer := "ok"
			switch {
			case errors.Is(err, tenant.ErrConflict):
				answer = "conflict"
			case errors.Is(err, tenant.ErrExists):
				answer = "exists"
			case err != nil:
				answer = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			answers[answer]++
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// events are the types of the tenant's events of one family, oldest first.
func (w *world) timeline(t *testing.T, id tenant.FamilyID) []string {
	t.Helper()
	l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{FamilyID: id, Ascending: true}, tenant.Page{})
	must(t, err)
	var types []string
	for _, e := range l.Items {
		types = append(types, e.Type)
	}
	return types
}
