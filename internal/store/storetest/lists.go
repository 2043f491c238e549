package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var listTests = map[string]func(*testing.T, *world){
	"pages of clients, oldest first": func(t *testing.T, w *world) {
		for n := range 6 {
			c := inTenant(client(fmt.Sprintf("c%d", n)), w.a.ID)
			c.CreatedAt = noon.Add(time.Duration(n/2) * time.Second) // two of each age
			must(t, w.CreateClient(w.ctx, c, event("sapi")))
		}
		want := []string{"c0", "c1", "client", "c2", "c3", "c4", "c5"}
		page := func(p tenant.Page) ([]string, tenant.List[tenant.Client]) {
			l, err := w.Clients(w.ctx, w.a.ID, tenant.ClientFilter{}, p)
			must(t, err)
			ids := []string{}
			for _, c := range l.Items {
				ids = append(ids, c.ID)
			}
			return ids, l
		}
		ids, _ := page(tenant.Page{})
		equal(t, "everything", ids, want)
		ids, l := page(tenant.Page{Limit: 3, Offset: 2, Total: true})
		equal(t, "a page", ids, want[2:5])
		equal(t, "total", l.Total, 7)
		ids, l = page(tenant.Page{Offset: 5, Total: true})
		equal(t, "offset without limit", ids, want[5:])
		ids, l = page(tenant.Page{Empty: true, Total: true})
		equal(t, "no items", []any{ids, l.Total}, []any{[]string{}, 7})
		ids, l = page(tenant.Page{Limit: 3, Offset: 9, Total: true})
		equal(t, "beyond the end", []any{ids, l.Total}, []any{[]string{}, 7})

		var walked []string
		after := ""
		for {
			ids, l := page(tenant.Page{Limit: 2, Checkpoint: true, After: after})
			walked = append(walked, ids...)
			if after = l.Next; after == "" {
				break
			}
		}
		equal(t, "walked", walked, want)
		_, l = page(tenant.Page{Limit: 7, Checkpoint: true})
		equal(t, "position after the last", l.Next, "")
	},
	"a position of no list is stale (SEC-191)": func(t *testing.T, w *world) {
		for _, after := range []string{"x", "1", "1.", ".a", "1.\x00", "1.\xff", "9999999999999999999999.a", "' OR 1=1 --", string(make([]byte, 400))} {
			_, err := w.Clients(w.ctx, w.a.ID, tenant.ClientFilter{}, tenant.Page{Limit: 1, Checkpoint: true, After: after})
			is(t, fmt.Sprintf("clients after %q", after), err, tenant.ErrStale)
			_, err = w.Events(w.ctx, w.a.ID, tenant.EventQuery{Ascending: true}, tenant.Page{Limit: 1, Checkpoint: true, After: after})
			is(t, fmt.Sprintf("events after %q", after), err, tenant.ErrStale)
		}
	},
	"filters": func(t *testing.T, w *world) {
		g := client("All")
		g.Document = []byte(`{"client_id":"All","name":"All Applications","global":true,"is_first_party":false}`)
		g, err := tenant.ParseClient(w.a.ID, g.Document)
		must(t, err)
		g.CreatedAt = noon
		must(t, w.CreateClient(w.ctx, g, event("sapi")))
		yes, no := true, false
		for name, x := range map[string]struct {
			f    tenant.ClientFilter
			want []string
		}{
			"global":       {tenant.ClientFilter{Global: &yes}, []string{"All"}},
			"not global":   {tenant.ClientFilter{Global: &no}, []string{"client"}},
			"first party":  {tenant.ClientFilter{FirstParty: &yes}, []string{"client"}},
			"app types":    {tenant.ClientFilter{AppTypes: []string{"native", "spa"}}, []string{"client"}},
			"no such type": {tenant.ClientFilter{AppTypes: []string{"native"}}, nil},
			"name":         {tenant.ClientFilter{Name: "All Applications"}, []string{"All"}},
		} {
			l, err := w.Clients(w.ctx, w.a.ID, x.f, tenant.Page{})
			must(t, err)
			var got []string
			for _, c := range l.Items {
				got = append(got, c.ID)
			}
			equal(t, name, got, x.want)
		}
		apis, err := w.ResourceServers(w.ctx, w.a.ID, []string{"https://none.test/", "https://api.test/"}, tenant.Page{Total: true})
		must(t, err)
		equal(t, "resource servers by identifier", []int{len(apis.Items), apis.Total}, []int{1, 1})
		must(t, w.CreateClientGrant(w.ctx, clientGrant(w.a.ID, "cgr_1", "client", "https://api.test/", "x"), event("sapi")))
		for want, f := range map[int]tenant.ClientGrantFilter{1: {ClientID: "client", Audience: "https://api.test/", SubjectType: "client"}, 0: {SubjectType: "user"}} {
			l, err := w.ClientGrants(w.ctx, w.a.ID, f, tenant.Page{})
			must(t, err)
			equal(t, fmt.Sprintf("client grants %+v", f), len(l.Items), want)
		}
		for want, f := range map[int]tenant.ConnectionFilter{1: {Name: "Users", Strategies: []string{"auth0"}}, 0: {Strategies: []string{"google-oauth2"}}} {
			l, err := w.Connections(w.ctx, w.a.ID, f, tenant.Page{})
			must(t, err)
			equal(t, fmt.Sprintf("connections %+v", f), len(l.Items), want)
		}
		for want, f := range map[int]tenant.ConsentFilter{1: {UserID: "auth0|u1", ClientID: "client", Audience: "https://api.test/"}, 0: {UserID: "auth0|u2"}} {
			l, err := w.Consents(w.ctx, w.a.ID, f, tenant.Page{})
			must(t, err)
			equal(t, fmt.Sprintf("consents %+v", f), len(l.Items), want)
		}
		for name, x := range map[string]struct {
			f    tenant.RefreshTokenFilter
			want int
		}{
			"rotating":           {tenant.RefreshTokenFilter{Rotating: &yes, SessionID: "sid", IDs: []tenant.FamilyID{seed, "rt_x"}}, 1},
			"reusable":           {tenant.RefreshTokenFilter{Rotating: &no}, 0},
			"on its deadline":    {tenant.RefreshTokenFilter{Now: noon.Add(15 * 24 * time.Hour)}, 0},
			"ended ones as well": {tenant.RefreshTokenFilter{Now: noon.Add(15 * 24 * time.Hour), Ended: true}, 1},
		} {
			equal(t, "families: "+name, len(w.ids(t, x.f)), x.want)
		}
	},
	"searching users": func(t *testing.T, w *world) {
		for n, name := range []string{"Bob", "100%_sure", `back\slash`} {
			u := user(w.a.ID, fmt.Sprintf("auth0|s%d", n), fmt.Sprintf("s%d@Mail.Example.org", n))
			u.Name, u.CreatedAt, u.EmailVerified, u.LoginsCount = name, noon.Add(time.Duration(n+1)*time.Hour), n == 0, int64(n)
			must(t, w.CreateUser(w.ctx, u, "", event("ss")))
		}
		leaf := func(op, field, value string) tenant.Condition {
			return tenant.Condition{Op: op, Field: field, Value: value}
		}
		both := func(op string, nodes ...tenant.Condition) tenant.Condition {
			return tenant.Condition{Op: op, Nodes: nodes}
		}
		for name, x := range map[string]struct {
			c    tenant.Condition
			want []string
		}{
			"equal, in any case":        {leaf("eq", "name", "bOB"), []string{"s0"}},
			"exact case elsewhere":      {leaf("eq", "user_id", "AUTH0|s0"), nil},
			"prefix":                    {leaf("prefix", "email", "S1@"), []string{"s1"}},
			"prefix, exact case":        {leaf("prefix", "user_id", "AUTH0|"), nil},
			"suffix":                    {leaf("suffix", "email", "example.ORG"), []string{"s0", "s1", "s2"}},
			"contains a pattern sign":   {leaf("contains", "name", "%_"), []string{"s1"}},
			"contains a backslash":      {leaf("contains", "name", `k\s`), []string{"s2"}},
			"domain":                    {leaf("eq", "email.domain", "mail.example.org"), []string{"s0", "s1", "s2"}},
			"no part of a domain":       {leaf("eq", "email.domain", "example.org"), nil},
			"provider":                  {leaf("eq", "identities.provider", "auth0"), []string{"u1", "s0", "s1", "s2"}},
			"id without provider":       {leaf("eq", "identities.user_id", "s1"), []string{"s1"}},
			"boolean":                   {leaf("eq", "email_verified", "false"), []string{"s1", "s2"}},
			"number":                    {leaf("gte", "logins_count", "1"), []string{"u1", "s1", "s2"}},
			"instant":                   {leaf("gt", "created_at", "2026-03-01T13:00:00Z"), []string{"s1", "s2"}},
			"day":                       {leaf("lt", "created_at", "2026-03-02"), []string{"u1", "s0", "s1", "s2"}},
			"exists":                    {leaf("exists", "last_login", ""), []string{"u1"}},
			"not, where it is unknown":  {both("not", leaf("gt", "last_login", "2020-01-01")), []string{"s0", "s1", "s2"}},
			"and, or":                   {both("and", leaf("contains", "email", "@mail."), both("or", leaf("eq", "name", "bob"), leaf("eq", "logins_count", "2"))), []string{"s0", "s2"}},
			"an injection is a value":   {leaf("eq", "name", "' OR '1'='1"), nil},
			"text compares as it reads": {leaf("gt", "user_id", "auth0|s1"), []string{"u1", "s2"}},
		} {
			l, err := w.Users(w.ctx, w.a.ID, tenant.UserQuery{Where: &x.c}, tenant.Page{Total: true})
			must(t, err)
			var got []string
			for _, u := range l.Items {
				got = append(got, u.ID[len("auth0|"):])
			}
			equal(t, name, got, x.want)
			equal(t, name+", total", l.Total, len(x.want))
		}
		deep := leaf("eq", "name", "x")
		for range 20 {
			deep = both("not", deep)
		}
		for name, c := range map[string]tenant.Condition{
			"unknown field": leaf("eq", "password_hash", "x"), "unknown operator": leaf("like", "name", "x"), "no number": leaf("eq", "logins_count", "x"),
			"no instant": leaf("gt", "created_at", "soon"), "order of booleans": leaf("gt", "blocked", "true"), "zero byte": leaf("eq", "name", "\x00"),
			"and of nothing": both("and"), "too deep": deep,
		} {
			_, err := w.Users(w.ctx, w.a.ID, tenant.UserQuery{Where: &c}, tenant.Page{})
			is(t, name, err, tenant.ErrQuery)
		}
		for _, descending := range []bool{false, true} {
			l, err := w.Users(w.ctx, w.a.ID, tenant.UserQuery{Sort: "email", Descending: descending}, tenant.Page{Limit: 3})
			must(t, err)
			var got []string
			for _, u := range l.Items {
				got = append(got, u.ID[len("auth0|"):])
			}
			want := []string{"s0", "s1", "s2"}
			if descending {
				want = []string{"u1", "s2", "s1"}
			}
			equal(t, fmt.Sprintf("sorted, descending %v", descending), got, want)
		}
		_, err := w.Users(w.ctx, w.a.ID, tenant.UserQuery{Sort: "name; DROP TABLE users"}, tenant.Page{})
		is(t, "sort by what is no column", err, tenant.ErrQuery)
	},
	"a name that no engine can hold is in no row": func(t *testing.T, w *world) {
		for _, id := range []string{"\x00", "\xff\xfe", "client\x00"} {
			_, err := w.Client(w.ctx, w.a, id)
			is(t, fmt.Sprintf("client %q", id), err, tenant.ErrNotFound)
			_, err = w.TenantByHost(w.ctx, id)
			is(t, fmt.Sprintf("host %q", id), err, tenant.ErrNotFound)
		}
	},
	"every field that can be searched has a column": func(t *testing.T, w *world) {
		for _, field := range []string{"user_id", "username", "phone_number", "picture", "last_ip", "email", "name", "given_name", "family_name", "nickname",
			"identities.connection", "email_verified", "phone_verified", "blocked", "logins_count", "created_at", "updated_at", "last_login", "last_password_reset"} {
			_, err := w.Users(w.ctx, w.a.ID, tenant.UserQuery{Where: &tenant.Condition{Op: "exists", Field: field}, Sort: field}, tenant.Page{Limit: 1})
			must(t, err)
		}
		fields := []string{"type", "description", "reason", "client_id", "client_name", "connection", "connection_id", "user_id", "user_name", "audience",
			"scope", "strategy", "strategy_type", "ip", "hostname", "user_agent", "log_id", "session_id", "date"}
		for _, field := range slices.Sorted(slices.Values(fields)) {
			_, err := w.Events(w.ctx, w.a.ID, tenant.EventQuery{Where: &tenant.Condition{Op: "exists", Field: field}}, tenant.Page{Limit: 1})
			must(t, err)
		}
	},
}
