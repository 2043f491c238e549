package scsstore_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/alexedwards/scs/v2"

	"github.com/bulla-auth/bulla/tokensource"
	"github.com/bulla-auth/bulla/tokensource/scsstore"
)

// A web application that keeps its users' tokens with their sessions.
func Example() {
	sessions := scs.New()
	sessions.Cookie.Secure = true
	secret := make([]byte, 32) // from where the application has its secrets
	sealer, err := tokensource.NewSealer(secret)
	if err != nil {
		log.Fatal(err)
	}
	store, err := scsstore.New(sessions, sealer)
	if err != nil {
		log.Fatal(err)
	}
	users, err := tokensource.NewUsers(tokensource.Config{
		Issuer:       "https://tenant.example.com/",
		ClientID:     "my-web-app",
		ClientSecret: tokensource.NewSecret(os.Getenv("CLIENT_SECRET")),
		Store:        store,
	})
	if err != nil {
		log.Fatal(err)
	}

	messages := func(w http.ResponseWriter, r *http.Request) {
		// Who has just signed in calls src.Replace(ctx, refreshToken) instead,
		// and who signs out src.Forget(ctx) before sessions.Destroy(ctx).
		src, err := users.Source("auth0|7", tokensource.Secret{})
		if err != nil {
			http.Error(w, "no user", http.StatusInternalServerError)
			return
		}
		_, err = src.Token(r.Context())
		switch {
		case errors.Is(err, tokensource.ErrLoginRequired):
			http.Redirect(w, r, "/login", http.StatusFound)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	}
	app := sessions.LoadAndSave(http.HandlerFunc(messages))

	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest("GET", "https://app.example.com/messages", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 302 /login
}
