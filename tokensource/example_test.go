package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/bulla-auth/bulla/tokensource"
)

// A program that calls an API as itself. One token serves all calls until
// shortly before it expires.
func ExampleClientCredentials() {
	requests := 0
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		fmt.Fprint(w, `{"access_token":"…","token_type":"Bearer","expires_in":86400}`)
	}))
	defer issuer.Close()

	src, err := tokensource.ClientCredentials(tokensource.Config{
		TokenURL:     issuer.URL + "/oauth/token", // or Issuer, for discovery
		ClientID:     "my-client",
		ClientSecret: tokensource.NewSecret(os.Getenv("CLIENT_SECRET")),
		Audience:     "https://api.example.com/",
		HTTPClient:   issuer.Client(), // only for a private authority
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		token, err := src.Token(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.AccessToken)
	}
	fmt.Println(requests, "request")
	// Output:
	// [redacted]
	// [redacted]
	// [redacted]
	// 1 request
}

// A web application that calls an API for its users: one store for all of
// them, and a source a user.
func ExampleRefreshToken() {
	config := tokensource.Config{
		Issuer:       "https://tenant.example.com/",
		ClientID:     "my-web-app",
		ClientSecret: tokensource.NewSecret(os.Getenv("CLIENT_SECRET")),
		Store:        new(tokensource.MemoryStore),
	}
	src, err := tokensource.RefreshToken(config, "auth0|7", tokensource.Secret{}) // nobody signed in yet
	if err != nil {
		log.Fatal(err)
	}
	_, err = tokensource.HTTPClient(src, nil).Get("https://api.example.com/messages")
	if errors.Is(err, tokensource.ErrLoginRequired) {
		fmt.Println("send the user to sign in")
	}
	// Output: send the user to sign in
}

// A program of the command line: its tokens outlive it, and two of it that run
// at once share them.
func ExampleFileStore() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	secret := make([]byte, 32) // of the system's key ring; never beside the files
	sealer, err := tokensource.NewSealer(secret)
	if err != nil {
		log.Fatal(err)
	}
	store, err := tokensource.OpenFileStore(filepath.Join(dir, "tokens"), sealer)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	src, err := tokensource.RefreshToken(tokensource.Config{
		Issuer:   "https://tenant.example.com/",
		ClientID: "my-command",
		Store:    store,
	}, "auth0|7", tokensource.Secret{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := src.Token(context.Background()); errors.Is(err, tokensource.ErrLoginRequired) {
		fmt.Println("sign in, then call src.Replace")
	}
	// Output: sign in, then call src.Replace
}
