package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// SEC-131, SEC-132: the wire of introspection.
func TestIntrospectWire(t *testing.T) {
	t.Parallel()
	s := start(t, change{})
	b := s.newBrowser(t)
	for name, tt := range map[string]struct {
		form   url.Values
		header []string
		status int
		want   string
	}{
		"nobody":          {url.Values{"token": {"x"}}, nil, 400, `"error":"invalid_request"`},
		"a public client": {url.Values{"token": {"x"}, "client_id": {"spa"}}, nil, 401, `"error":"invalid_client"`},
		"a wrong secret":  {url.Values{"token": {"x"}}, []string{"Authorization", "Basic c3BhOng="}, 401, `"error":"invalid_client"`},
	} {
		a := b.post(t, "/oauth/introspect", tt.form, tt.header...)
		if a.StatusCode != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
		a.wantTokenHeaders(t)
		if challenge := a.Header.Get("WWW-Authenticate"); (challenge != "") != (tt.header != nil) {
			t.Errorf("%s: challenge is %q", name, challenge)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: a page may read the answer", name)
		}
	}
	if a := b.get(t, "/oauth/introspect?token=x"); a.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", a.Status)
	}
}
