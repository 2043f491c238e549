package verify_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/bulla-auth/bulla/verify"
)

// An API with an open page, one for everybody with a token, and one for those
// whose token has a scope.
func Example() {
	verifier, err := verify.New(verify.Options{
		Issuer:   "https://tenant.example.com/",
		Audience: []string{"https://api.example.com/"},
	})
	if err != nil {
		log.Fatal(err)
	}
	signedIn := verifier.Middleware(nil)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /public", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})
	mux.Handle("GET /private", signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := verify.FromContext(r.Context())
		fmt.Fprintln(w, "hello", claims.Subject())
	})))
	mux.Handle("GET /messages", signedIn(verify.RequireScope("read:messages")(http.NotFoundHandler())))

	for _, path := range []string{"/public", "/private"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 200 ""
	// 401 "Bearer"
}

// Without the middleware: 401 for what is wrong with the token, 503 for the rest.
func ExampleVerifier_Verify() {
	verifier, err := verify.New(verify.Options{
		Issuer:   "https://tenant.example.com/",
		Audience: []string{"https://api.example.com/"},
	})
	if err != nil {
		log.Fatal(err)
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		claims, err := verifier.Verify(r.Context(), r.Header.Get("X-Token"))
		switch {
		case errors.Is(err, verify.ErrInvalidToken):
			http.Error(w, "token refused", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "hello", claims.Subject())
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Token", "not.a.token")
	w := httptest.NewRecorder()
	handle(w, r)
	fmt.Println(w.Code)
	// Output: 401
}

// An issuer with a certificate of your own authority.
func ExampleOptions_hTTPClient() {
	pem, err := os.ReadFile("ca.pem")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	verifier, err := verify.New(verify.Options{
		Issuer:     "https://localhost:8443/",
		Audience:   []string{"https://api.example.com/"},
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}

// Tokens that were revoked are refused within seconds, and while nobody can
// tell, all are for the moment. The figures go to whatever collects them.
func ExampleFeed() {
	feed, err := verify.NewFeed(verify.FeedOptions{
		Issuer:       "https://tenant.example.com/",
		ClientID:     "my-api",
		ClientSecret: verify.Secret("only-for-this-example"),
		OnError:      func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := verify.New(verify.Options{
		Issuer:     "https://tenant.example.com/",
		Audience:   []string{"https://api.example.com/"},
		Feed:       feed,
		MaxFeedAge: time.Minute,
		OldFeed:    verify.FailClosed, // or FailOpen: tokens pass until they expire
		TokenCache: 10_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop() // a server calls it when it ends
	fmt.Println(feed.Run(ctx))

	stats := verifier.Stats()
	fmt.Println(stats.Revoked, stats.Feed.Live)
	// Output:
	// context canceled
	// 0 false
}

// The issuer is asked about each token, at most every ten seconds.
func ExampleIntrospection() {
	verifier, err := verify.New(verify.Options{
		Issuer:   "https://tenant.example.com/",
		Audience: []string{"https://api.example.com/"},
		Introspection: &verify.Introspection{
			ClientID:     "my-api",
			ClientSecret: verify.Secret("only-for-this-example"),
			CacheFor:     10 * time.Second,
			OnFailure:    verify.FailClosed,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = verifier
}
