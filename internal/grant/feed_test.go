package grant_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func (f *fixture) follow(t testing.TB, c tenant.Client, cursor string) *grant.Feed {
	t.Helper()
	a := credentials(c)
	a.Method = oauth.AuthSecretBasic
	feed, err := f.Follow(t.Context(), f.tenant(t), oauth.FeedRequest{Client: a, Cursor: cursor}, origin)
	if err != nil {
		t.Fatalf("follow: %v", err)
	}
	return feed
}

// next are the events that are there, or come.
func next(t testing.TB, feed *grant.Feed) []grant.FeedEvent {
	t.Helper()
	events, err := feed.Next(t.Context(), time.Minute)
	if err != nil || len(events) == 0 {
		t.Fatalf("next: %v, %v", events, err)
	}
	return events
}

// none fails the test if something comes at once.
func none(t testing.TB, feed *grant.Feed) {
	t.Helper()
	if events, err := feed.Next(t.Context(), 0); err != nil || len(events) != 0 {
		t.Errorf("got %v, %v; want nothing", events, err)
	}
}

// told are events in short: their names, with the hash or the mark.
func told(events []grant.FeedEvent) string {
	var out []string
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		if err != nil {
			panic(err)
		}
		var d struct{ Hash, Kind, ID string }
		if err := json.Unmarshal(data, &d); err != nil {
			panic(err)
		}
		out = append(out, strings.TrimSpace(e.Name+" "+d.Hash+d.Kind+" "+d.ID))
	}
	return strings.Join(out, ", ")
}

func (f *fixture) deny(t testing.TB, hash string) {
	t.Helper()
	if err := f.store.DenyAuthorization(t.Context(), f.tenantID, hash, f.clock.Now().Add(time.Hour), f.event()); err != nil {
		t.Fatal(err)
	}
}

// D5, D6, SEC-130: a follower hears what counts, then what comes, of its own API alone.
func TestFeed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	f.api(t, "https://other.example/", nil)
	c, u := f.client(t, nil), f.user(t)
	mine, other := f.resourceServerClient(t, audience), f.resourceServerClient(t, "https://other.example/")
	first := f.loginTo(t, c, u, audience)
	if err := f.revoke(t, c, first.RefreshToken); err != nil {
		t.Fatal(err)
	}
	claims, err := f.Authenticate(t.Context(), f.tenant(t), f.loginTo(t, c, u, audience).AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	feed, elsewhere := f.follow(t, mine, ""), f.follow(t, other, "")
	snapshot := next(t, feed)
	if len(snapshot) != 2 || snapshot[0].Name != "deny" || snapshot[1].Name != "live" {
		t.Fatalf("snapshot is %s", told(snapshot))
	}
	data, err := json.Marshal(snapshot[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	var denied struct {
		Hash string
		Exp  int64
	}
	if err := json.Unmarshal(data, &denied); err != nil || len(denied.Hash) != 22 || denied.Exp < noon.Add(30*24*time.Hour).Unix() {
		t.Errorf("entry is %s", data)
	}
	if got := told(next(t, elsewhere)); got != "live" {
		t.Errorf("another API's snapshot is %s", got)
	}
	none(t, feed)
	none(t, elsewhere)

	f.deny(t, claims.Authorization) // nobody says for which API
	if got, want := told(next(t, feed)), "deny "+claims.Authorization; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := told(next(t, elsewhere)), "deny "+claims.Authorization; got != want {
		t.Errorf("elsewhere: got %s, want %s", got, want)
	}
	f.changeUser(t, u.ID, func(u *tenant.User) { u.Blocked = true })
	for _, feed := range []*grant.Feed{feed, elsewhere} {
		if got, want := told(next(t, feed)), "mark user "+u.ID; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// D6: with a cursor the feed goes on behind it; what is gone or foreign begins anew.
func TestFeedCursor(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.resourceServerClient(t, audience)
	empty := next(t, f.follow(t, c, ""))
	if told(empty) != "live" || empty[0].ID == "" {
		t.Fatalf("the feed of a tenant without an end is %s", told(empty))
	}
	f.deny(t, "one")
	f.deny(t, "two")
	all := next(t, f.follow(t, c, ""))
	if told(all) != "deny one, deny two, live" {
		t.Fatalf("all is %s", told(all))
	}
	for cursor, want := range map[string]string{
		empty[0].ID: "deny one, deny two, live", all[0].ID: "deny two, live", all[1].ID: "live", all[2].ID: "live",
		"AAAAAAAAAAEAAAAAAAAAAQ": "reset, deny one, deny two, live", // of other numbers
	} {
		if got := told(next(t, f.follow(t, c, cursor))); got != want {
			t.Errorf("from %s: %s, want %s", cursor, got, want)
		}
	}
	beyond := all[2].ID[:len(all[2].ID)-2] + "9A" // far beyond what there is
	if got := told(next(t, f.follow(t, c, beyond))); got != "reset, deny one, deny two, live" {
		t.Errorf("from beyond the end: %s", got)
	}
	f.clock.Advance(time.Hour) // what has expired is not told
	if got := told(next(t, f.follow(t, c, all[0].ID))); got != "live" {
		t.Errorf("an hour later: %s", got)
	}
	for _, cursor := range []string{"x", all[0].ID + "A", all[0].ID[:21], strings.Repeat("_", 22), strings.Repeat("A", 21) + "B", strings.Repeat("A", 21) + "\n"} {
		a := credentials(c)
		_, err := f.Follow(t.Context(), f.tenant(t), oauth.FeedRequest{Client: a, Cursor: cursor}, origin)
		wantError(t, err, 400, oauth.InvalidRequest, "The cursor is not one of this feed.", "malformed_cursor")
	}
}

// SEC-130, SEC-131: whose feed it is, and when it ends.
func TestFeedCallers(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	public := f.client(t, func(c *tenant.Client) { c.AuthMethod, c.AppType = oauth.AuthNone, "native" })
	wrong := credentials(f.resourceServerClient(t, audience))
	wrong.Secret = "wrong"
	for name, a := range map[string]oauth.ClientAuthentication{
		"public": credentials(public), "wrong secret": wrong, "unknown": {Method: oauth.AuthSecretBasic, ClientID: "unknown", Secret: secret},
	} {
		_, err := f.Follow(t.Context(), f.tenant(t), oauth.FeedRequest{Client: a}, origin)
		if e := oauth.AsError(err); err == nil || e.Status != 401 || e.Code != oauth.InvalidClient {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := f.Follow(t.Context(), f.tenant(t), oauth.FeedRequest{Client: credentials(f.client(t, nil))}, origin)
	wantError(t, err, 403, oauth.AccessDenied, "The client is not linked to an API.", "not_linked")

	for name, end := range map[string]func(*tenant.Client){
		"another secret": func(c *tenant.Client) {
			s, err := f.vault.NewClientSecret(t.Context(), f.tenant(t), c.ID, "another secret of the client")
			if err != nil {
				t.Fatal(err)
			}
			c.Secrets = []tenant.ClientSecret{s}
		},
		"another API": func(c *tenant.Client) { c.ResourceServerIdentifier = "https://other.example/" },
		"no API":      func(c *tenant.Client) { c.AppType = "regular_web" },
	} {
		c := f.resourceServerClient(t, audience)
		feed := f.follow(t, c, "")
		stands := func() bool {
			t.Helper()
			ok, err := feed.Stands(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !stands() {
			t.Errorf("%s: it ends at once", name)
		}
		f.changeClient(t, c.ID, func(c *tenant.Client) { c.Name = "renamed" })
		if !stands() {
			t.Errorf("%s: another name ends it", name)
		}
		f.changeClient(t, c.ID, end)
		if stands() {
			t.Errorf("%s: it goes on", name)
		}
	}
}

// D6: what another node commits is heard of too, and nothing is heard twice or missed.
func TestFeedHearsAll(t *testing.T) {
	t.Parallel()
	for name, deaf := range map[string]bool{"this node": false, "another node": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t)
			f.faults.deaf = deaf
			f.api(t, audience, nil)
			c := f.resourceServerClient(t, audience)
			const writers, each = 4, 300 // more than one page
			for n := range 600 {
				f.deny(t, fmt.Sprint("before ", n))
			}
			feed := f.follow(t, c, "")
			done := make(chan error, writers)
			for w := range writers {
				go func() {
					for n := range each {
						if err := f.store.DenyAuthorization(t.Context(), f.tenantID, fmt.Sprint(w, " ", n), noon.Add(time.Hour), tenant.Event{}); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			seen := map[string]int{}
			live := 0
			for len(seen) < 600+writers*each {
				for _, e := range next(t, feed) {
					if e.Name == "live" {
						live++
						continue
					}
					seen[told([]grant.FeedEvent{e})]++
				}
			}
			for range writers {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			none(t, feed)
			for what, times := range seen {
				if times != 1 {
					t.Errorf("%s was told %d times", what, times)
				}
			}
			if live != 1 {
				t.Errorf("live was told %d times", live)
			}
		})
	}
}

// SEC-2: a fault ends the feed with an error, and the cursor goes on where it was.
func TestFeedFault(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.resourceServerClient(t, audience)
	feed := f.follow(t, c, "")
	cursor := next(t, feed)[0].ID
	f.deny(t, "one")
	f.faults.fail("Notices", "")
	if events, err := feed.Next(t.Context(), time.Minute); err == nil || len(events) > 0 {
		t.Errorf("got %v, %v; want a fault", events, err)
	}
	f.faults.fail("", "")
	if got := told(next(t, f.follow(t, c, cursor))); !slices.Contains(strings.Split(got, ", "), "deny one") {
		t.Errorf("afterwards: %s", got)
	}
}
