package management_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// families makes n refresh tokens of a user, spread over clients: each user and
// client has at most 200.
func (f *fixture) families(userID string, n int) (clients []string) {
	f.t.Helper()
	for i := range n {
		if i%150 == 0 {
			clients = append(clients, f.client(fmt.Sprintf(`{"name":"c%d","app_type":"spa"}`, i)))
		}
		f.family(userID, clients[len(clients)-1], true)
	}
	return clients
}

func (f *fixture) liveFamilies(filter tenant.RefreshTokenFilter) int {
	f.t.Helper()
	l, err := f.store.RefreshTokens(f.t.Context(), f.tenant().ID, filter, tenant.Page{Total: true, Empty: true})
	if err != nil {
		f.t.Fatal(err)
	}
	return l.Total
}

// A bulk revocation is a job: what fits into one batch is done when answered, the
// rest goes on in batches, is seen as it goes, survives the process that began it
// and leaves alone what was issued after it.
func TestRevocationJob(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann, bob := f.user("ann@example.com"), f.user("bob@example.com")
	clients := f.families(ann, 450)
	f.families(bob, 1)
	a := f.want(http.StatusAccepted, f.do("POST", "refresh-tokens/revoke", `{"user_id":"`+ann+`"}`))
	id := a.text("id")
	want := `{"id":"` + id + `","type":"refresh_tokens_revoke","status":"processing","created_at":"2026-03-01T12:01:00.000Z","percentage_done":44,"summary":{"total":450,"revoked":200}}`
	if a.body != want || !strings.HasPrefix(id, "job_") || len(id) != 20 {
		t.Errorf("job\n got %s\nwant %s", a.body, want)
	}
	if got := f.want(200, f.do("GET", "jobs/"+id, "")).body; got != want {
		t.Errorf("the job later\n got %s\nwant %s", got, want)
	}
	f.clock.Advance(time.Second)
	f.family(ann, clients[0], true) // a login after the request

	next := f.restarted() // the process that answered is gone
	if err := next.api.FinishJobs(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := next.want(200, next.do("GET", "jobs/"+id, "")).text("status"); got != "processing" {
		t.Errorf("a job that moved a moment ago was taken over: %s", got)
	}
	f.clock.Advance(time.Minute)
	if err := next.api.FinishJobs(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	want = `{"id":"` + id + `","type":"refresh_tokens_revoke","status":"completed","created_at":"2026-03-01T12:01:00.000Z","percentage_done":100,"summary":{"total":450,"revoked":450}}`
	if got := next.want(200, next.do("GET", "jobs/"+id, "")).body; got != want {
		t.Errorf("the job at the end\n got %s\nwant %s", got, want)
	}
	if ann, bob := f.liveFamilies(tenant.RefreshTokenFilter{UserID: ann}), f.liveFamilies(tenant.RefreshTokenFilter{UserID: bob}); ann != 1 || bob != 1 {
		t.Errorf("%d of ann and %d of bob live, want the later one and bob's", ann, bob)
	}
	events := f.do("GET", "logs?q=type:srrt&include_totals=true", "")
	if got := events.get("total"); got != "450" {
		t.Errorf("%s events, want one for each", got)
	}

	// Again: nothing is left but the later one, and the first job is as it was.
	again := next.want(http.StatusAccepted, next.do("POST", "refresh-tokens/revoke", `{"user_id":"`+ann+`"}`))
	if got := again.get("summary"); got != `{"total":1,"revoked":1}` || again.text("status") != "completed" {
		t.Errorf("a second job %s", again.body)
	}
	next.at(other).do("GET", "jobs/"+id, "").refuses(404, "", "Job not found.") // SEC-186
	next.do("GET", "jobs/job_unknown", "").refuses(404, "", "Job not found.")
}

// RunJobs hears of a job at once and stops with its context.
func TestRunJobs(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann := f.user("ann@example.com")
	f.families(ann, 201)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.api.RunJobs(ctx) }()
	id := f.want(http.StatusAccepted, f.do("POST", "refresh-tokens/revoke", `{"user_id":"`+ann+`"}`)).text("id")
	status := ""
	for range 5000 { // each look is a request: it waits for the work and not for a clock
		if status = f.want(200, f.do("GET", "jobs/"+id, "")).text("status"); status == "completed" {
			break
		}
	}
	stop()
	<-done
	if live := f.liveFamilies(tenant.RefreshTokenFilter{UserID: ann}); status != "completed" || live != 0 {
		t.Errorf("status %s, %d live", status, live)
	}
}

// An empty filter is never all, nor is one of nobody; nothing is written.
func TestRevocationOfNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	ann := f.user("ann@example.com")
	client := f.families(ann, 1)[0]
	for body, message := range map[string]string{
		`{}`:                                             "Invalid combination of parameters.",
		`{"client_id":"` + client + `"}`:                 "Invalid combination of parameters.",
		`{"audience":"https://api.example/"}`:            "Invalid combination of parameters.",
		`{"ids":["a"],"user_id":"` + ann + `"}`:          "Invalid combination of parameters.",
		`{"ids":["a"],"audience":"x"}`:                   "Invalid combination of parameters.",
		`{"user_id":"` + ann + `","audience":"x"}`:       "Invalid combination of parameters.",
		`{"ids":[]}`:                                     "Payload validation error: 'Array is too short (0), minimum 1' on property ids (These tokens, 100 at most).",
		`{"user_id":"auth0|absent"}`:                     "User not found.",
		`{"user_id":"` + ann + `","client_id":"absent"}`: "Client not found.",
		`{"user_id":"` + ann + `","client_id":"` + client + `","audience":"https://absent.example/"}`: "Resource server not found.",
		`[]`: "Payload validation error: 'Expected type object but found type array'.",
	} {
		f.do("POST", "refresh-tokens/revoke", body).refuses(400, "invalid_body", message)
	}
	if live := f.liveFamilies(tenant.RefreshTokenFilter{UserID: ann}); live != 1 {
		t.Errorf("%d live, want all", live)
	}
}

// restarted is the API of another process over the same store.
func (f *fixture) restarted() *fixture {
	g := *f
	g.api = f.newAPI()
	return &g
}
