package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var nounTests = map[string]func(*testing.T, *world){
	"a tenant is found by host and founded once": func(t *testing.T, w *world) {
		got, err := w.TenantByHost(w.ctx, "a.test")
		must(t, err)
		equal(t, "tenant", got, w.a)
		equal(t, "settings document", string(got.Settings.Document), `{"friendly_name":"Acme","x":1}`)
		_, err = w.TenantByHost(w.ctx, "unknown.test")
		is(t, "unknown host", err, tenant.ErrNotFound)
		err = w.CreateTenant(w.ctx, tenant.Founding{Tenant: tenant.Tenant{ID: "ten_c", Domain: "a.test", CreatedAt: noon},
			Clients: []tenant.Client{client("x")}})
		is(t, "domain taken", err, tenant.ErrExists)
		_, err = w.Tenant(w.ctx, "ten_c")
		is(t, "half a tenant", err, tenant.ErrNotFound)
		every, err := w.Tenants(w.ctx)
		must(t, err)
		equal(t, "tenants", []string{every[0].ID, every[1].ID}, []string{"ten_a", "ten_b"})
	},
	"settings change under a new configuration version (SEC-129)": func(t *testing.T, w *world) {
		changed, err := w.UpdateSettings(w.ctx, w.a.ID, func(s tenant.Settings) (tenant.Settings, error) {
			return settings(`{"friendly_name":"Other"}`), nil
		}, event("sapi"))
		must(t, err)
		equal(t, "returned", changed, settings(`{"friendly_name":"Other"}`))
		got, err := w.TenantByHost(w.ctx, "a.test")
		must(t, err)
		equal(t, "settings", got.Settings, changed)
		if got.ConfigVersion <= w.a.ConfigVersion {
			t.Errorf("configuration version %d, was %d", got.ConfigVersion, w.a.ConfigVersion)
		}
	},
	"a change is seen by every request that begins after it was acknowledged (SEC-129)": func(t *testing.T, w *world) {
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 { // they keep what is cached warm, and race with the commits
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := w.TenantByHost(w.ctx, "a.test"); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		last := w.a.ConfigVersion
		for i := range 50 {
			name := fmt.Sprintf(`{"friendly_name":"n%d"}`, i)
			_, err := w.UpdateSettings(w.ctx, w.a.ID, func(tenant.Settings) (tenant.Settings, error) { return settings(name), nil }, event("sapi"))
			must(t, err)
			got, err := w.TenantByHost(w.ctx, "a.test")
			must(t, err)
			if got.ConfigVersion <= last || string(got.Settings.Document) != name {
				t.Errorf("after change %d: version %d (was %d), settings %s", i, got.ConfigVersion, last, got.Settings.Document)
			}
			last = got.ConfigVersion
		}
		close(stop)
		readers.Wait()
	},
	"an error of change is passed through and nothing is written": func(t *testing.T, w *world) {
		boom := errors.New("boom")
		_, err := w.UpdateClient(w.ctx, w.a.ID, "client", func(c tenant.Client) (tenant.Client, error) { return client("client"), boom }, event("sapi"))
		is(t, "update", err, boom)
		got, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "tenant", got, w.a)
	},
	"a panic of change is an error and the store goes on": func(t *testing.T, w *world) {
		_, err := w.UpdateClient(w.ctx, w.a.ID, "client", func(tenant.Client) (tenant.Client, error) { panic("boom") }, event("sapi"))
		if err == nil {
			t.Error("no error")
		}
		must(t, w.CreateClient(w.ctx, inTenant(client("next"), w.a.ID), event("sapi")))
	},
	"client": func(t *testing.T, w *world) {
		want := inTenant(client("client"), w.a.ID)
		got, err := w.Client(w.ctx, w.a, "client")
		must(t, err)
		equal(t, "client", got, want)
		is(t, "same id", w.CreateClient(w.ctx, want, event("sapi")), tenant.ErrExists)
		_, err = w.Client(w.ctx, w.a, "unknown")
		is(t, "unknown", err, tenant.ErrNotFound)

		want.Document = json.RawMessage(`{"client_id":"client","name":"Renamed","grant_types":[]}`)
		want, err = tenant.ParseClient(w.a.ID, want.Document)
		must(t, err)
		want.Secrets, want.CreatedAt = []tenant.ClientSecret{{Hash: "new"}}, noon
		changed, err := w.UpdateClient(w.ctx, w.a.ID, "client", func(tenant.Client) (tenant.Client, error) { return want, nil }, event("sapi"))
		must(t, err)
		equal(t, "returned", changed, want)
		now, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		got, err = w.Client(w.ctx, now, "client")
		must(t, err)
		equal(t, "changed client", got, want)
	},
	"resource server": func(t *testing.T, w *world) {
		want := resourceServer("aaaaaaaaaaaaaaaaaaaaaaa1", "https://api.test/")
		want.TenantID = w.a.ID
		got, err := w.ResourceServer(w.ctx, w.a, "https://api.test/")
		must(t, err)
		equal(t, "by identifier", got, want)
		got, err = w.ResourceServerByID(w.ctx, w.a.ID, want.ID)
		must(t, err)
		equal(t, "by id", got, want)
		other := want
		other.ID = "aaaaaaaaaaaaaaaaaaaaaaa2"
		is(t, "same identifier", w.CreateResourceServer(w.ctx, other, event("sapi")), tenant.ErrExists)
		changed, err := w.UpdateResourceServer(w.ctx, w.a.ID, want.ID, func(r tenant.ResourceServer) (tenant.ResourceServer, error) {
			r.Document = json.RawMessage(`{"id":"aaaaaaaaaaaaaaaaaaaaaaa1","identifier":"https://api.test/","token_lifetime":60}`)
			r.SigningSecret = "new"
			return r, nil
		}, event("sapi"))
		must(t, err)
		got, err = w.ResourceServerByID(w.ctx, w.a.ID, want.ID)
		must(t, err)
		equal(t, "changed", got, changed)
		equal(t, "lifetime and secret", []any{got.TokenLifetimeSeconds, got.SigningSecret}, []any{int64(60), "new"})
	},
	"client grant": func(t *testing.T, w *world) {
		want := clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", "read:x", "write:x")
		must(t, w.CreateClientGrant(w.ctx, want, event("sapi")))
		got, err := w.ClientGrant(w.ctx, w.a, "client", "https://api.test/", "client")
		must(t, err)
		equal(t, "client grant", got, want)
		_, err = w.ClientGrant(w.ctx, w.a, "client", "https://api.test/", "user")
		is(t, "other subject type", err, tenant.ErrNotFound)
		twin := want
		twin.ID = "cgr_2"
		is(t, "twin", w.CreateClientGrant(w.ctx, twin, event("sapi")), tenant.ErrExists)

		narrow := func(scopes ...string) int64 {
			next := clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", scopes...)
			g, err := w.UpdateClientGrant(w.ctx, w.a.ID, "cgr_1", func(tenant.ClientGrant) (tenant.ClientGrant, error) { return next, nil }, event("sapi"))
			must(t, err)
			return g.Epoch
		}
		equal(t, "epoch after more, the same and fewer scopes (D5)",
			[]int64{narrow("read:x", "write:x", "a"), narrow("a", "write:x", "read:x"), narrow("a"), narrow("b")}, []int64{0, 0, 1, 2})
		subject := []tenant.MarkSubject{{Kind: "client_grant", ID: "client https://api.test/"}}
		mark, err := w.Mark(w.ctx, w.a.ID, subject)
		must(t, err)
		if !mark.After(noon) {
			t.Errorf("mark %v after scopes were taken away at %v", mark, noon)
		}
	},
	"connection": func(t *testing.T, w *world) {
		want := connection("con_1", "Users", "client")
		want.TenantID = w.a.ID
		got, err := w.Connection(w.ctx, w.a, "Users")
		must(t, err)
		equal(t, "by name", got, want)
		got, err = w.ConnectionByID(w.ctx, w.a.ID, "con_1")
		must(t, err)
		equal(t, "by id", got, want)
		for client, n := range map[string]int{"client": 1, "other": 0} {
			l, err := w.ConnectionsFor(w.ctx, w.a, client)
			must(t, err)
			equal(t, "connections for "+client, len(l), n)
		}
		next := connection("con_1", "Users", "client", "other")
		changed, err := w.UpdateConnection(w.ctx, w.a.ID, "con_1", func(tenant.Connection) (tenant.Connection, error) { return next, nil }, event("sapi"))
		must(t, err)
		now, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		got, err = w.Connection(w.ctx, now, "Users")
		must(t, err)
		equal(t, "changed", got, changed)
		equal(t, "enabled", got.EnabledFor("other"), true)
	},
	"user": func(t *testing.T, w *world) {
		want := user(w.a.ID, "auth0|u2", "Second@Example.com")
		want.LastPasswordResetAt = noon
		must(t, w.CreateUser(w.ctx, want, "hash 2", event("ss")))
		got, err := w.User(w.ctx, w.a.ID, "auth0|u2")
		must(t, err)
		equal(t, "user", got, want)
		for _, identifier := range []string{"SECOND@example.COM", "name-auth0|u2"} {
			got, hash, err := w.UserForPassword(w.ctx, w.a.ID, "Users", identifier)
			must(t, err)
			equal(t, "for password", []any{got, hash}, []any{want, "hash 2"})
		}
		for _, identifier := range []string{"NAME-auth0|u2", "", "second@example.com2"} {
			_, _, err = w.UserForPassword(w.ctx, w.a.ID, "Users", identifier)
			is(t, "identifier "+identifier, err, tenant.ErrNotFound)
		}
		_, _, err = w.UserForPassword(w.ctx, w.a.ID, "Other", "second@example.com")
		is(t, "other connection", err, tenant.ErrNotFound)

		taken := user(w.a.ID, "auth0|u3", "SECOND@EXAMPLE.COM")
		is(t, "address taken in another case (SEC-164)", w.CreateUser(w.ctx, taken, "", event("ss")), tenant.ErrExists)
		taken.Email, taken.Username = "third@example.com", want.Username
		is(t, "user name taken", w.CreateUser(w.ctx, taken, "", event("ss")), tenant.ErrExists)
		taken.Identities = []tenant.Identity{{Connection: "google", UserID: "3", Provider: "google-oauth2"}}
		must(t, w.CreateUser(w.ctx, taken, "", event("ss"))) // another provider's names are its own

		byEmail, err := w.UsersByEmail(w.ctx, w.a.ID, "Second@Example.com")
		must(t, err)
		equal(t, "by e-mail", byEmail, []tenant.User{want})
	},
	"updating a user raises its version; what it signs in with ends its sessions": func(t *testing.T, w *world) {
		update := func(hash string, change func(*tenant.User)) tenant.User {
			u, err := w.UpdateUser(w.ctx, w.a.ID, "auth0|u1", func(u tenant.User) (tenant.User, error) { change(&u); return u, nil }, hash, event("sapi"))
			must(t, err)
			return u
		}
		u := update("", func(u *tenant.User) { u.Name = "Augusta" })
		equal(t, "version and name", []any{u.Version, u.Name}, []any{int64(2), "Augusta"})
		got, err := w.User(w.ctx, w.a.ID, "auth0|u1")
		must(t, err)
		equal(t, "stored", got, u)
		_, err = w.Session(w.ctx, w.a.ID, "sid")
		must(t, err)
		for name, change := range map[string]func(){
			"password": func() { update("new hash", func(*tenant.User) {}) },
			"address":  func() { update("", func(u *tenant.User) { u.Email = "new@example.com" }) },
			"username": func() { update("", func(u *tenant.User) { u.Username = "new" }) },
			"phone":    func() { update("", func(u *tenant.User) { u.PhoneNumber = "+2" }) },
		} {
			id := "sid " + name
			u, err := w.User(w.ctx, w.a.ID, "auth0|u1")
			must(t, err)
			must(t, w.CompleteLogin(w.ctx, tenant.Login{Session: session(w.a.ID, id, "auth0|u1"), UserVersion: u.Version}))
			change()
			_, err = w.Session(w.ctx, w.a.ID, id)
			is(t, "session after a new "+name, err, tenant.ErrNotFound)
		}
		_, hash, err := w.UserForPassword(w.ctx, w.a.ID, "Users", "new@example.com")
		must(t, err)
		equal(t, "password hash", hash, "new hash")
	},
	"blocking marks the user and keeps the families (SEC-134)": func(t *testing.T, w *world) {
		_, err := w.UpdateUser(w.ctx, w.a.ID, "auth0|u1", func(u tenant.User) (tenant.User, error) { u.Blocked = true; return u, nil }, "", event("sapi"))
		must(t, err)
		mark, err := w.Mark(w.ctx, w.a.ID, []tenant.MarkSubject{{Kind: "client", ID: "client"}, {Kind: "user", ID: "auth0|u1"}})
		must(t, err)
		equal(t, "mark, a second ahead (D5)", mark, noon.Add(time.Second))
		f, err := w.RefreshToken(w.ctx, w.a.ID, "rt_seed")
		must(t, err)
		equal(t, "revoked", f.RevokedAt.IsZero(), true)
		u, err := w.User(w.ctx, w.a.ID, "auth0|u1")
		must(t, err)
		is(t, "login while blocked", w.CompleteLogin(w.ctx, tenant.Login{Session: session(w.a.ID, "s2", u.ID), UserVersion: u.Version}), tenant.ErrConflict)
	},
	"session": func(t *testing.T, w *world) {
		want := session(w.a.ID, "sid", "auth0|u1")
		got, err := w.SessionByHash(w.ctx, w.a.ID, "hash of sid")
		must(t, err)
		equal(t, "by hash", got, want)
		u, err := w.User(w.ctx, w.a.ID, "auth0|u1")
		must(t, err)
		equal(t, "login statistics", []any{u.LoginsCount, u.LastIP, u.LastLoginAt, u.Version}, []any{int64(1), "192.0.2.1", noon, int64(1)})

		must(t, w.CompleteLogin(w.ctx, tenant.Login{Session: session(w.a.ID, "next", "auth0|u1"), Replaces: "sid", UserVersion: 1, NewPasswordHash: "rehashed"}))
		_, err = w.Session(w.ctx, w.a.ID, "sid")
		is(t, "replaced session (SEC-161)", err, tenant.ErrNotFound)
		_, hash, err := w.UserForPassword(w.ctx, w.a.ID, "Users", "u1@example.com")
		must(t, err)
		equal(t, "password hash", hash, "rehashed")
		must(t, w.EndSession(w.ctx, w.a.ID, "next", event("slo")))
		must(t, w.EndSession(w.ctx, w.a.ID, "next", event("slo")))
		_, err = w.SessionByHash(w.ctx, w.a.ID, "hash of next")
		is(t, "ended session", err, tenant.ErrNotFound)
		equal(t, "events of ending twice", w.count(t, "slo"), 1)
		is(t, "login at another version", w.CompleteLogin(w.ctx, tenant.Login{Session: session(w.a.ID, "s3", "auth0|u1"), UserVersion: 7}), tenant.ErrConflict)
	},
	"transaction": func(t *testing.T, w *world) {
		want := tenant.Transaction{TenantID: w.a.ID, ID: "tx", Binding: "b", Request: json.RawMessage(`{"client_id":"client"}`), CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}
		must(t, w.CreateTransaction(w.ctx, want))
		is(t, "same id", w.CreateTransaction(w.ctx, want), tenant.ErrExists)
		got, err := w.Transaction(w.ctx, w.a.ID, "tx")
		must(t, err)
		equal(t, "transaction", got, want)
		next := want
		next.UserID, next.SessionID = "auth0|u1", "sid"
		must(t, w.SaveTransaction(w.ctx, next))
		is(t, "saved at an old revision", w.SaveTransaction(w.ctx, next), tenant.ErrConflict)
		next.Revision++
		got, err = w.Transaction(w.ctx, w.a.ID, "tx")
		must(t, err)
		equal(t, "saved", got, next)
		must(t, w.DeleteTransaction(w.ctx, w.a.ID, "tx", event("f")))
		_, err = w.Transaction(w.ctx, w.a.ID, "tx")
		is(t, "deleted", err, tenant.ErrNotFound)
	},
	"code": func(t *testing.T, w *world) {
		got, err := w.Code(w.ctx, w.a.ID, "code")
		must(t, err)
		equal(t, "code", got, *code(w.a.ID, "code"))
		f := family(w.a.ID, "rt_code")
		i := issue(f)
		must(t, w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "code", At: noon, Guard: w.guard(t, w.a.ID), Issue: &i, Event: event("seacft")}))
		got, err = w.Code(w.ctx, w.a.ID, "code")
		must(t, err)
		equal(t, "redeemed", []any{got.RedeemedAt, got.FamilyID}, []any{noon, f.ID})
		stored, err := w.RefreshToken(w.ctx, w.a.ID, f.ID)
		must(t, err)
		equal(t, "family", stored, f)

		must(t, w.Answer(w.ctx, tenant.Grant{TenantID: w.a.ID, At: noon, Guard: w.guard(t, w.a.ID), Code: code(w.a.ID, "spent")}))
		must(t, w.SpendCode(w.ctx, w.a.ID, "spent", noon, event("feacft")))
		is(t, "redeeming a spent code (SEC-51)", w.RedeemCode(w.ctx, tenant.Redemption{TenantID: w.a.ID, CodeHash: "spent", At: noon, Guard: w.guard(t, w.a.ID)}), tenant.ErrConflict)
	},
	"an answer is one commit": func(t *testing.T, w *world) {
		must(t, w.CreateTransaction(w.ctx, tenant.Transaction{TenantID: w.a.ID, ID: "tx", CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}))
		wider := consent(w.a.ID)
		wider.ID, wider.Scopes, wider.UpdatedAt = "ccc2", []string{"write:x", "read:x"}, noon.Add(time.Second)
		g := tenant.Grant{TenantID: w.a.ID, At: noon.Add(time.Second), Guard: w.guard(t, w.a.ID), Code: code(w.a.ID, "c2"), Consent: wider, SessionID: "sid",
			ClientID: "other", IdleExpiresAt: noon.Add(time.Hour), TransactionID: "tx", Event: event("s")}
		must(t, w.Answer(w.ctx, g))
		kept, err := w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")
		must(t, err)
		equal(t, "consent", []any{kept.ID, kept.Scopes, kept.UpdatedAt}, []any{"ccc1", []string{"read:x", "write:x"}, noon.Add(time.Second)})
		c, err := w.Code(w.ctx, w.a.ID, "c2")
		must(t, err)
		equal(t, "consent of the code", c.ConsentID, "ccc1")
		s, err := w.Session(w.ctx, w.a.ID, "sid")
		must(t, err)
		equal(t, "session", []any{s.Clients, s.LastUsedAt, s.IdleExpiresAt}, []any{[]string{"client", "other"}, noon.Add(time.Second), noon.Add(time.Hour)})
		g.Code = code(w.a.ID, "c3")
		is(t, "answered twice", w.Answer(w.ctx, g), tenant.ErrConflict)
		_, err = w.Code(w.ctx, w.a.ID, "c3")
		is(t, "code of the second answer", err, tenant.ErrNotFound)
	},
	"keys and secrets": func(t *testing.T, w *world) {
		k := tenant.SigningKey{TenantID: w.a.ID, Kid: "kid2", Algorithm: "ES256", State: tenant.KeyNext, Private: "p", Public: "q", CreatedAt: noon.Add(time.Second)}
		must(t, w.AddSigningKey(w.ctx, k, event("sapi")))
		is(t, "kid again (SEC-145)", w.AddSigningKey(w.ctx, k, event("sapi")), tenant.ErrExists)
		keys, err := w.SigningKeys(w.ctx, w.a.ID)
		must(t, err)
		equal(t, "newest key", keys[0], k)
		equal(t, "number of keys", len(keys), 2)
		for name, k := range map[string]tenant.SigningKey{
			"second next key of an algorithm (SEC-141)":    {Kid: "kid3", Algorithm: "ES256", State: tenant.KeyNext},
			"second current key of an algorithm (SEC-141)": {Kid: "kid4", Algorithm: "RSA", State: tenant.KeyCurrent},
		} {
			k.TenantID, k.Private, k.Public, k.CreatedAt = w.a.ID, "p", "q", noon
			is(t, name, w.AddSigningKey(w.ctx, k, event("sapi")), tenant.ErrExists)
		}
		must(t, w.AddSecret(w.ctx, tenant.Secret{TenantID: w.a.ID, Purpose: "refresh_token", Version: 2, Sealed: "s2", CreatedAt: noon}, event("sapi")))
		secrets, err := w.Secrets(w.ctx, w.a.ID, "refresh_token")
		must(t, err)
		equal(t, "versions", []uint16{secrets[0].Version, secrets[1].Version}, []uint16{2, 1})
	},
	"ticket": func(t *testing.T, w *world) {
		late := noon.Add(time.Hour)
		_, err := w.Ticket(w.ctx, w.a.ID, "ticket", late)
		is(t, "on the deadline", err, tenant.ErrNotFound)
		_, err = w.Ticket(w.ctx, w.a.ID, "ticket", late.Add(-time.Millisecond))
		must(t, err)
		u := user(w.a.ID, "auth0|admin", "admin@example.com")
		u.Administrator = true
		is(t, "late", w.UseTicket(w.ctx, w.a.ID, "ticket", late, u, "h", event("ss")), tenant.ErrNotFound)
		must(t, w.UseTicket(w.ctx, w.a.ID, "ticket", noon, u, "h", event("ss")))
		got, err := w.User(w.ctx, w.a.ID, u.ID)
		must(t, err)
		equal(t, "administrator", got, u)
		u.ID, u.Email, u.Username = "auth0|admin2", "two@example.com", "two"
		is(t, "used", w.UseTicket(w.ctx, w.a.ID, "ticket", noon, u, "h", event("ss")), tenant.ErrNotFound)
		_, err = w.User(w.ctx, w.a.ID, u.ID)
		is(t, "second administrator", err, tenant.ErrNotFound)
	},
	"denylist and assertions": func(t *testing.T, w *world) {
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h", noon.Add(time.Minute), event("srrt")))
		must(t, w.DenyAuthorization(w.ctx, w.a.ID, "h", noon, event("srrt"))) // does not shorten
		for at, want := range map[time.Duration]bool{0: true, time.Minute - time.Millisecond: true, time.Minute: false} {
			got, err := w.Denied(w.ctx, w.a.ID, "h", noon.Add(at))
			must(t, err)
			equal(t, "denied after "+at.String(), got, want)
		}
		must(t, w.UseAssertion(w.ctx, w.a.ID, "client", "jti", noon.Add(time.Minute)))
		is(t, "same assertion (SEC-11)", w.UseAssertion(w.ctx, w.a.ID, "client", "jti", noon.Add(time.Minute)), tenant.ErrExists)
		must(t, w.UseAssertion(w.ctx, w.a.ID, "other", "jti", noon.Add(time.Minute)))
	},
	"readiness writes (REL-14)": func(t *testing.T, w *world) { must(t, w.Ping(w.ctx)) },
}

func inTenant(c tenant.Client, id string) tenant.Client { c.TenantID = id; return c }

// count is how many events of a type tenant a has.
func (w *world) count(t *testing.T, code string) int {
	t.Helper()
	l, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{Where: &tenant.Condition{Op: "eq", Field: "type", Value: code}}, tenant.Page{Total: true, Empty: true})
	must(t, err)
	return l.Total
}
