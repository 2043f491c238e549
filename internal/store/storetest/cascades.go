package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// cascadeTests: each end takes with it what hangs on it, in the same commit
// (management-api.md §14, SEC-134, SEC-236).
var cascadeTests = map[string]func(*testing.T, *world){
	"user": func(t *testing.T, w *world) {
		must(t, w.CreateUser(w.ctx, user(w.a.ID, "auth0|u2", "u2@example.com"), "", event("ss")))
		old := family(w.a.ID, "rt_old")
		must(t, w.IssueRefreshToken(w.ctx, issue(old), w.guard(t, w.a.ID), event("sepft")))
		must(t, w.RevokeFamily(w.ctx, tenant.Revocation{TenantID: w.a.ID, ID: old.ID, At: noon, Reason: "reused"}))
		d := deletion(w.a.ID, "auth0|u1", "sdu")
		must(t, w.DeleteUser(w.ctx, d))

		for _, x := range []struct {
			id     tenant.FamilyID
			reason string
		}{{seed, "user_deleted"}, {"rt_old", "reused"}} {
			f, err := w.RefreshToken(w.ctx, w.a.ID, x.id)
			must(t, err)
			equal(t, "family "+string(x.id), []any{f.RevokedAt, f.RevokedReason, f.UserID, f.SessionID, f.Device, len(f.Metadata)},
				[]any{noon, x.reason, "", "", tenant.Device{}, 0})
		}
		w.gone(t, "user", errOf(w.User(w.ctx, w.a.ID, "auth0|u1")))
		w.gone(t, "session", errOf(w.Session(w.ctx, w.a.ID, "sid")))
		w.gone(t, "code", errOf(w.Code(w.ctx, w.a.ID, "code")))
		w.gone(t, "consent", errOf(w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")))
		w.marked(t, "user", "auth0|u1")
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash(seed), noon)
		must(t, err)
		equal(t, "denied", denied, true)
		must(t, errOf(w.User(w.ctx, w.a.ID, "auth0|u2")))
		is(t, "deleting again", w.DeleteUser(w.ctx, d), tenant.ErrNotFound)
		equal(t, "events", w.count(t, "sdu"), 1)
	},
	"client": func(t *testing.T, w *world) {
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", "x"), event("sapi")))
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_2", "other", "https://api.test/", "x"), event("sapi")))
		c := connection("con_2", "More", "other", "client")
		c.TenantID = w.a.ID
		must(t, w.CreateConnection(w.ctx, c, event("sapi")))
		before, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		must(t, errOf(w.Client(w.ctx, before, "client"))) // now in the cache
		must(t, w.DeleteClient(w.ctx, deletion(w.a.ID, "client", "sapi")))

		now, err := w.Tenant(w.ctx, w.a.ID)
		must(t, err)
		w.gone(t, "client", errOf(w.Client(w.ctx, now, "client")))
		w.gone(t, "client grant", errOf(w.ClientGrantByID(w.ctx, w.a.ID, "cgr_1")))
		w.gone(t, "code", errOf(w.Code(w.ctx, w.a.ID, "code")))
		w.gone(t, "consent", errOf(w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")))
		must(t, errOf(w.ClientGrantByID(w.ctx, w.a.ID, "cgr_2")))
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{})
		more, err := w.ConnectionByID(w.ctx, w.a.ID, "con_2")
		must(t, err)
		equal(t, "enabled clients", more.EnabledClients, []string{"other"})
		equal(t, "what only the document knows", string(more.Document) != "" && more.Options.PasswordPolicy == "good", true)
		w.marked(t, "client", "client")
	},
	"resource server": func(t *testing.T, w *world) {
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", "x"), event("sapi")))
		elsewhere := family(w.a.ID, "rt_elsewhere")
		elsewhere.Audience = ""
		must(t, w.IssueRefreshToken(w.ctx, issue(elsewhere), w.guard(t, w.a.ID), event("sepft")))
		must(t, w.DeleteResourceServer(w.ctx, deletion(w.a.ID, "aaaaaaaaaaaaaaaaaaaaaaa1", "sapi")))
		w.gone(t, "resource server", errOf(w.ResourceServerByID(w.ctx, w.a.ID, "aaaaaaaaaaaaaaaaaaaaaaa1")))
		w.gone(t, "client grant", errOf(w.ClientGrantByID(w.ctx, w.a.ID, "cgr_1")))
		w.gone(t, "consent", errOf(w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")))
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{"rt_elsewhere"})
		w.marked(t, "audience", "https://api.test/")
	},
	"scope of an API": func(t *testing.T, w *world) {
		api := "https://api.test/"
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_1", "client", api, "keep:x", "read:x"), event("sapi")))
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_2", "other", api, "keep:x"), event("sapi")))
		everything := clientGrant(w.a.ID, "cgr_3", "third", api)
		everything.Document = json.RawMessage(`{"id":"cgr_3","client_id":"third","audience":"https://api.test/","scope":[],"allow_all_scopes":true}`)
		must(t, w.CreateClientGrant(w.ctx, everything, event("sapi")))
		setScopes := func(scopes string) {
			t.Helper()
			must(t, errOf(w.UpdateResourceServer(w.ctx, w.a.ID, "aaaaaaaaaaaaaaaaaaaaaaa1", func(r tenant.ResourceServer) (tenant.ResourceServer, error) {
				doc := fmt.Sprintf(`{"id":%q,"identifier":%q,"scopes":%s}`, r.ID, r.Identifier, scopes)
				return tenant.ParseResourceServer(w.a.ID, json.RawMessage(doc))
			}, event("sapi"))))
		}
		setScopes(`[{"value":"read:x"},{"value":"keep:x"}]`)
		for _, id := range []string{"cgr_1", "cgr_2", "cgr_3"} {
			g, err := w.ClientGrantByID(w.ctx, w.a.ID, id)
			must(t, err)
			equal(t, id+" after a wider list", g.Epoch, int64(0))
		}
		setScopes(`[{"value":"keep:x"}]`)
		for id, want := range map[string][]any{
			"cgr_1": {int64(1), []string{"keep:x"}}, // lost one
			"cgr_2": {int64(0), []string{"keep:x"}}, // had nothing to lose
			"cgr_3": {int64(1), []string{}},         // had every one
		} {
			g, err := w.ClientGrantByID(w.ctx, w.a.ID, id)
			must(t, err)
			equal(t, id, []any{g.Epoch, g.Scope}, want)
		}
		g, err := w.ClientGrantByID(w.ctx, w.a.ID, "cgr_1")
		must(t, err)
		equal(t, "document", string(g.Document),
			`{"audience":"https://api.test/","client_id":"client","id":"cgr_1","organization_usage":"deny","scope":["keep:x"],"subject_type":"client"}`)
		c, err := w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", api)
		must(t, err)
		equal(t, "consent", c.Scopes, []string{})
		w.marked(t, "client_grant", "client "+api)
		w.marked(t, "client_grant", "third "+api)
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{seed})
	},
	"client grant": func(t *testing.T, w *world) {
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", "x"), event("sapi")))
		must(t, w.DeleteClientGrant(w.ctx, deletion(w.a.ID, "cgr_1", "sapi")))
		w.gone(t, "client grant", errOf(w.ClientGrantByID(w.ctx, w.a.ID, "cgr_1")))
		w.marked(t, "client_grant", "client https://api.test/")
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{seed})
	},
	"connection": func(t *testing.T, w *world) {
		other := user(w.a.ID, "google|1", "g@example.com")
		other.Identities = []tenant.Identity{{Connection: "google", UserID: "1", Provider: "google"}}
		must(t, w.CreateUser(w.ctx, other, "", event("ss")))
		must(t, w.DeleteConnection(w.ctx, deletion(w.a.ID, "con_1", "sapi")))
		w.gone(t, "connection", errOf(w.ConnectionByID(w.ctx, w.a.ID, "con_1")))
		w.gone(t, "user", errOf(w.User(w.ctx, w.a.ID, "auth0|u1")))
		w.gone(t, "session", errOf(w.Session(w.ctx, w.a.ID, "sid")))
		must(t, errOf(w.User(w.ctx, w.a.ID, "google|1")))
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{})
		w.marked(t, "user", "auth0|u1")
	},
	"consents of a user": func(t *testing.T, w *world) {
		elsewhere := family(w.a.ID, "rt_elsewhere")
		elsewhere.Audience = "https://other.test/"
		must(t, w.IssueRefreshToken(w.ctx, issue(elsewhere), w.guard(t, w.a.ID), event("sepft")))
		is(t, "unknown id", w.DeleteConsents(w.ctx, w.a.ID, tenant.ConsentFilter{ID: "unknown"}, deletion(w.a.ID, "", "sapi")), tenant.ErrNotFound)
		is(t, "all of the tenant", w.DeleteConsents(w.ctx, w.a.ID, tenant.ConsentFilter{}, deletion(w.a.ID, "", "sapi")), tenant.ErrQuery)
		must(t, w.DeleteConsents(w.ctx, w.a.ID, tenant.ConsentFilter{UserID: "auth0|u1"}, deletion(w.a.ID, "", "sapi")))
		w.gone(t, "consent", errOf(w.Consent(w.ctx, w.a.ID, "auth0|u1", "client", "https://api.test/")))
		equal(t, "live families", w.ids(t, tenant.RefreshTokenFilter{}), []tenant.FamilyID{"rt_elsewhere"})
		denied, err := w.Denied(w.ctx, w.a.ID, familyHash(seed), noon)
		must(t, err)
		equal(t, "denied", denied, true)
	},
	"a mark only moves forward": func(t *testing.T, w *world) {
		block := func(on bool) {
			_, err := w.UpdateUser(w.ctx, w.a.ID, "auth0|u1", func(u tenant.User) (tenant.User, error) { u.Blocked = on; return u, nil }, "", event("sapi"))
			must(t, err)
		}
		w.clock.Advance(time.Hour)
		block(true)
		block(false)
		d := deletion(w.a.ID, "auth0|u1", "sdu") // at noon, an hour ago
		must(t, w.DeleteUser(w.ctx, d))
		mark, err := w.Mark(w.ctx, w.a.ID, []tenant.MarkSubject{{Kind: "user", ID: "auth0|u1"}})
		must(t, err)
		equal(t, "mark", mark, noon.Add(time.Hour+time.Second))
		mark, err = w.Mark(w.ctx, w.a.ID, nil)
		must(t, err)
		equal(t, "mark of nothing", mark.IsZero(), true)
	},
}

func deletion(tenantID, id, code string) tenant.Deletion {
	return tenant.Deletion{TenantID: tenantID, ID: id, At: noon, DeniedUntil: noon.Add(time.Hour), FamilyHash: familyHash, Event: event(code)}
}

func errOf[T any](_ T, err error) error { return err }

func (w *world) gone(t *testing.T, what string, err error) {
	t.Helper()
	is(t, what, err, tenant.ErrNotFound)
}

func (w *world) marked(t *testing.T, kind, id string) {
	t.Helper()
	mark, err := w.Mark(w.ctx, w.a.ID, []tenant.MarkSubject{{Kind: kind, ID: id}})
	must(t, err)
	equal(t, "mark on "+kind, mark, noon.Add(time.Second))
}
