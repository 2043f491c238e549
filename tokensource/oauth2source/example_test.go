package oauth2source_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/bulla-auth/bulla/tokensource"
	"github.com/bulla-auth/bulla/tokensource/oauth2source"
)

// A library that wants an oauth2.TokenSource gets one whose tokens are stored
// and shared.
func ExampleFromSource() {
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"…","token_type":"Bearer","expires_in":86400}`)
	}))
	defer issuer.Close()
	src, err := tokensource.ClientCredentials(tokensource.Config{
		TokenURL:   issuer.URL + "/oauth/token",
		ClientID:   "my-client",
		HTTPClient: issuer.Client(),
	})
	if err != nil {
		log.Fatal(err)
	}
	library := func(ts oauth2.TokenSource) {
		token, err := ts.Token()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.Valid())
	}
	library(oauth2source.FromSource(context.Background(), src))
	// Output: true
}
