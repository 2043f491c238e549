package authorize

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// wants builds a request as judge would leave it.
func wants(change func(*request)) *request {
	q := &request{
		client:      tenant.Client{ID: "app", FirstParty: true, AuthMethod: "none", AppType: "spa"},
		redirectURI: "https://app.example.com/cb", types: responseTypes{code: true}, maxAge: -1, scopes: oauth.Scopes{"openid", "email"},
	}
	change(q)
	return q
}

func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	yes, no := true, false
	api := func(skip bool) *tenant.ResourceServer {
		return &tenant.ResourceServer{Identifier: "https://api", SkipConsent: skip}
	}
	signedIn := facts{session: true, authenticatedAt: now.Add(-time.Hour)}
	fresh := facts{session: true, authenticatedAt: now, interactive: true}
	recorded := func(f facts, scopes ...string) facts { f.recorded = scopes; return f }
	allowed := func(f facts) facts { f.allowed = true; return f }

	tests := map[string]struct {
		change func(*request)
		facts  facts
		want   step
	}{
		"nobody is signed in":                {func(*request) {}, facts{}, stepLogin},
		"single sign-on":                     {func(*request) {}, signedIn, stepAnswer},
		"prompt=login, SEC-37":               {func(q *request) { q.prompts.login = true }, signedIn, stepLogin},
		"prompt=login, just done":            {func(q *request) { q.prompts.login = true }, fresh, stepAnswer},
		"prompt=select_account":              {func(q *request) { q.prompts.account = true }, signedIn, stepLogin},
		"max_age has elapsed, SEC-37":        {func(q *request) { q.maxAge = time.Hour }, signedIn, stepLogin},
		"max_age, last second":               {func(q *request) { q.maxAge = time.Hour + time.Second }, signedIn, stepAnswer},
		"max_age=0 with a session":           {func(q *request) { q.maxAge = 0 }, recorded(facts{session: true, authenticatedAt: now}), stepLogin},
		"max_age=0, just done":               {func(q *request) { q.maxAge = 0 }, fresh, stepAnswer},
		"prompt=consent":                     {func(q *request) { q.prompts.consent = true }, recorded(signedIn, "openid", "email"), stepConsent},
		"prompt=consent, allowed":            {func(q *request) { q.prompts.consent = true }, allowed(fresh), stepAnswer},
		"third party, first time, SEC-41":    {func(q *request) { q.client.FirstParty = false }, fresh, stepConsent},
		"third party, recorded":              {func(q *request) { q.client.FirstParty = false }, recorded(signedIn, "email", "openid"), stepAnswer},
		"third party, wider":                 {func(q *request) { q.client.FirstParty = false }, recorded(signedIn, "openid"), stepConsent},
		"third party, allowed":               {func(q *request) { q.client.FirstParty = false }, allowed(fresh), stepAnswer},
		"third party cannot skip for itself": {func(q *request) { q.client.FirstParty, q.client.SkipLocalConsent = false, &yes }, fresh, stepConsent},
		"API that skips consent":             {func(q *request) { q.api = api(true) }, signedIn, stepAnswer},
		"API that does not":                  {func(q *request) { q.api = api(false) }, signedIn, stepConsent},
		"API that does not, recorded":        {func(q *request) { q.api = api(false) }, recorded(signedIn, "openid", "email"), stepAnswer},
		"localhost page, API that skips":     {func(q *request) { q.api, q.redirectURI = api(true), "http://localhost:3000" }, signedIn, stepConsent},
		"localhost page, recorded":           {func(q *request) { q.api, q.redirectURI = api(true), "http://localhost:3000" }, recorded(signedIn, "openid", "email"), stepAnswer},
		"localhost page, no API":             {func(q *request) { q.redirectURI = "http://localhost:3000" }, signedIn, stepAnswer},
		"localhost page, operator vouches": {func(q *request) {
			q.api, q.redirectURI, q.client.SkipLocalConsent = api(true), "http://localhost:3000", &yes
		}, signedIn, stepAnswer},
		"localhost page, operator insists": {func(q *request) {
			q.api, q.redirectURI, q.client.SkipLocalConsent = api(true), "http://localhost:3000", &no
		}, signedIn, stepConsent},
		"localhost, confidential": {func(q *request) {
			q.api, q.redirectURI, q.client.AuthMethod = api(true), "http://localhost:3000", "client_secret_post"
		}, signedIn, stepAnswer},
		"localhost, confidential, token": {func(q *request) {
			q.api, q.redirectURI, q.client.AuthMethod, q.types = api(true), "http://localhost:3000", "", responseTypes{token: true}
		}, signedIn, stepConsent},
		"loopback program, silently, SEC-41":     {func(q *request) { q.redirectURI, q.client.AppType = "http://127.0.0.1:5000/cb", "native" }, recorded(signedIn, "openid", "email"), stepConsent},
		"loopback program, login just done":      {func(q *request) { q.redirectURI, q.client.AppType = "http://127.0.0.1:5000/cb", "native" }, fresh, stepAnswer},
		"custom scheme, silently, SEC-41":        {func(q *request) { q.redirectURI = "com.example.app:/cb" }, recorded(signedIn, "openid", "email"), stepConsent},
		"custom scheme, API, login just done":    {func(q *request) { q.redirectURI, q.api = "com.example.app:/cb", api(true) }, fresh, stepConsent},
		"custom scheme, API, login and recorded": {func(q *request) { q.redirectURI, q.api = "com.example.app:/cb", api(true) }, recorded(fresh, "openid", "email"), stepAnswer},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := decide(wants(tt.change), tt.facts, now); got != tt.want {
				t.Errorf("decide = %v, want %v", got, tt.want)
			}
		})
	}
}

// SEC-153: idle and absolute limits; lowered settings hold at once.
func TestAlive(t *testing.T) {
	t.Parallel()
	born := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := tenant.Session{CreatedAt: born, IdleExpiresAt: born.Add(72 * time.Hour), ExpiresAt: born.Add(168 * time.Hour)}
	tests := map[string]struct {
		settings tenant.Settings
		after    time.Duration
		want     bool
	}{
		"new":                      {tenant.Settings{}, 0, true},
		"last millisecond of idle": {tenant.Settings{}, 72*time.Hour - time.Millisecond, true},
		"idle deadline":            {tenant.Settings{}, 72 * time.Hour, false},
		"lifetime lowered to 1 h":  {tenant.Settings{SessionLifetimeHours: 1}, time.Hour, false},
		"lifetime lowered, before": {tenant.Settings{SessionLifetimeHours: 1}, time.Hour - time.Millisecond, true},
		"lifetime raised":          {tenant.Settings{SessionLifetimeHours: 1000}, 168 * time.Hour, false},
	}
	for name, tt := range tests {
		if got := alive(s, tt.settings, born.Add(tt.after)); got != tt.want {
			t.Errorf("%s: alive = %v, want %v", name, got, tt.want)
		}
	}
}
