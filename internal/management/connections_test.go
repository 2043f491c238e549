package management_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// A client's connections come in pages, and with their options only for who may
// read connections.
func TestClientConnections(t *testing.T) {
	t.Parallel()
	f := start(t)
	client := f.client(`{"name":"page","app_type":"spa"}`) // has the default connection
	for _, name := range []string{"second", "third"} {
		f.clock.Advance(time.Second) // lists are ordered by age
		f.want(http.StatusCreated, f.do("POST", "connections", `{"name":"`+name+`","strategy":"auth0","enabled_clients":["`+client+`"]}`))
	}
	f.want(http.StatusCreated, f.do("POST", "connections", `{"name":"foreign","strategy":"auth0"}`))
	list := func(token, query string) (names []string, next, body string) {
		var page struct {
			Connections []struct{ Name string }
			Next        string
		}
		a := f.want(200, f.as(token, "GET", "clients/"+client+"/connections?"+query, ""))
		a.decode(&page)
		for _, c := range page.Connections {
			names = append(names, c.Name)
		}
		return names, page.Next, a.body
	}
	first, next, _ := list(f.all, "take=2")
	rest, end, _ := list(f.all, "take=2&from="+next)
	if got := strings.Join(append(first, rest...), " "); got != tenant.DefaultConnection+" second third" || len(first) != 2 || end != "" {
		t.Errorf("pages %v and %v, next %q", first, rest, end)
	}
	if names, _, _ := list(f.all, "strategy=oidc"); len(names) != 0 {
		t.Errorf("of another kind: %v", names)
	}
	if _, _, body := list(f.all, ""); !strings.Contains(body, `"options":{`) {
		t.Errorf("options are hidden from read:connections: %s", body)
	}
	if _, _, body := list(f.token("read:clients"), ""); strings.Contains(body, `"options"`) {
		t.Errorf("options are shown to read:clients: %s", body)
	}
}

// Only the user of that connection leaves, in whatever case the address is given.
func TestDeleteConnectionUser(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann := f.user("ann@example.com")
	id := f.want(http.StatusCreated, f.do("POST", "connections", `{"name":"second","strategy":"auth0"}`)).text("id")
	other := f.want(http.StatusCreated, f.do("POST", "users", `{"connection":"second","email":"ann@example.com","password":"`+pass+`"}`)).text("user_id")
	f.family(other, f.client(`{"name":"page","app_type":"spa"}`), true)

	f.want(204, f.do("DELETE", "connections/"+id+"/users?email=Ann@Example.com", ""))
	f.want(200, f.do("GET", "users/"+escape(ann), ""))
	f.do("GET", "users/"+escape(other), "").refuses(404, "inexistent_user", "The user does not exist.")
	if live := f.liveFamilies(tenant.RefreshTokenFilter{}); live != 0 {
		t.Errorf("%d refresh tokens of the deleted user live", live)
	}
	outside := f.want(http.StatusCreated, f.do("POST", "connections", `{"name":"outside","strategy":"oidc"}`)).text("id")
	f.do("DELETE", "connections/"+outside+"/users?email=ann@example.com", "").refuses(400, "invalid_body", "Connection must be a database connection")
}
