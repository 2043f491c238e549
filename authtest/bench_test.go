package authtest_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/authtest"
)

// BenchmarkClientCredentials is a machine's token over HTTPS, client and server in
// one process. It is for profiles; the figure that counts is that of
// experiments/bench, which gives each side a processor of its own.
func BenchmarkClientCredentials(b *testing.B) {
	srv := authtest.Start(b)
	api := srv.CreateAPI(b, "https://bench.example", "read:things")
	client := srv.CreateClient(b, map[string]any{"name": "bench", "app_type": "non_interactive"})
	srv.Grant(b, client.ID, api.Identifier, "read:things")
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}, "client_secret": {client.Secret}, "audience": {api.Identifier}}.Encode()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := srv.Client().Post(srv.URL+"/oauth/token", "application/x-www-form-urlencoded", strings.NewReader(form))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s, %v", resp.Status, err)
		}
		resp.Body.Close()
	}
}
