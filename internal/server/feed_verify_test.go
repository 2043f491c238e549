package server_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/verify"
)

// atHost sends requests to the site's listener under its tenant's name.
type atHost struct {
	host string
	base http.RoundTripper
}

func (a atHost) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = a.host
	return a.base.RoundTrip(r)
}

// SEC-130, D5: a revocation reaches a resource server that verifies with our SDK.
func TestFeedReachesVerifier(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	s.calendarClient(t)
	b := s.newBrowser(t)
	v := params("spa", "audience", "https://calendar.example", "scope", "openid read:events offline_access")
	code := b.login(t, v, ada, adaPassword).response(t, "https://app.example.com/cb").Get("code")
	got := b.post(t, "/oauth/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {"spa"}, "code": {code},
		"redirect_uri": {"https://app.example.com/cb"}, "code_verifier": {verifier}}).tokens(t)

	client := &http.Client{Transport: atHost{s.tenant.Domain, s.Client().Transport}}
	feed, err := verify.NewFeed(verify.FeedOptions{
		Issuer: s.issuer, URL: s.URL + "/oauth/revocations", ClientID: "calendar", ClientSecret: verify.Secret(apiSecret), HTTPClient: client, Now: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = feed.Run(ctx) // says only that it was stopped
	}()
	defer func() { stop(); <-ended }()
	<-feed.Synced()
	checker, err := verify.New(verify.Options{
		Issuer: s.issuer, Audience: []string{"https://calendar.example"}, Keys: []byte(b.get(t, "/.well-known/jwks.json").body), Feed: feed, Now: s.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checker.Verify(t.Context(), got.AccessToken); err != nil {
		t.Fatalf("before the end: %v", err)
	}
	if a := b.post(t, "/oauth/revoke", url.Values{"client_id": {"spa"}, "token": {got.RefreshToken}}); a.StatusCode != http.StatusOK {
		t.Fatalf("revoke: %s %s", a.Status, a.body)
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for range look.C { // until it is refused, or the test's time is up
		if _, err := checker.Verify(t.Context(), got.AccessToken); err != nil {
			break
		}
	}
}
