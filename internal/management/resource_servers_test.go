package management_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// A scope that leaves an API leaves client grants and consents in the same
// commit, and the machine tokens that carry it are refused at once; one that
// comes back is nobody's until it is given anew (management-endpoints.md §2, D5).
func TestScopesLeaveWithTheAPI(t *testing.T) {
	t.Parallel()
	f := start(t)
	const audience = "https://orders.example/"
	api := f.want(http.StatusCreated, f.do("POST", "resource-servers",
		`{"identifier":"`+audience+`","scopes":[{"value":"read:orders"},{"value":"write:orders"}]}`)).text("id")
	machine := func(scopes string) (grant, raw string) {
		a := f.want(http.StatusCreated, f.do("POST", "clients", `{"name":"machine","app_type":"non_interactive","grant_types":["client_credentials"]}`))
		id, secret := a.text("client_id"), a.text("client_secret")
		grant = f.want(http.StatusCreated, f.do("POST", "client-grants", `{"client_id":"`+id+`","audience":"`+audience+`",`+scopes+`}`)).text("id")
		return grant, f.exchange(id, secret, audience)
	}
	both, losing := machine(`"scope":["read:orders","write:orders"]`)
	_, keeping := machine(`"scope":["read:orders"]`)
	_, everything := machine(`"allow_all_scopes":true`)
	ann, page := f.user("ann@example.com"), f.client(`{"name":"page","app_type":"spa"}`)
	f.consent(ann, page, audience, "read:orders", "write:orders")
	f.clock.Advance(2 * time.Second)

	f.want(200, f.do("PATCH", "resource-servers/"+api, `{"scopes":[{"value":"read:orders"}]}`))
	if got := f.want(200, f.do("GET", "client-grants/"+both, "")).get("scope"); got != `["read:orders"]` {
		t.Errorf("client grant keeps %s", got)
	}
	consents := f.want(200, f.do("GET", "grants?user_id="+escape(ann), ""))
	if !strings.HasSuffix(consents.body, `"audience":"`+audience+`","scope":["read:orders"]}]`) {
		t.Errorf("consents %s", consents.body)
	}
	for name, x := range map[string]struct {
		raw  string
		good bool
	}{"of a grant that lost a scope": {losing, false}, "of a grant that lost none": {keeping, true}, "of a grant of every scope": {everything, false}} {
		if _, err := f.grants.Authenticate(t.Context(), f.tenant(), x.raw); (err == nil) != x.good {
			t.Errorf("token %s: %v", name, err)
		}
	}
	f.want(200, f.do("PATCH", "resource-servers/"+api, `{"scopes":[{"value":"read:orders"},{"value":"write:orders"}]}`))
	if got := f.want(200, f.do("GET", "client-grants/"+both, "")).get("scope"); got != `["read:orders"]` {
		t.Errorf("a scope that came back was given by itself: %s", got)
	}
}

// consent is what a user allowed a client, as the consent page writes it.
func (f *fixture) consent(userID, clientID, audience string, scopes ...string) {
	f.t.Helper()
	t, now := f.tenant(), f.clock.Now()
	err := f.store.Answer(f.t.Context(), tenant.Grant{
		TenantID: t.ID, At: now, Guard: tenant.Guard{ConfigVersion: t.ConfigVersion},
		Consent: &tenant.Consent{TenantID: t.ID, ID: fmt.Sprintf("%024x", len(clientID+audience)), UserID: userID, ClientID: clientID, Audience: audience, Scopes: scopes, CreatedAt: now, UpdatedAt: now},
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func escape(userID string) string { return strings.ReplaceAll(userID, "|", "%7C") }
