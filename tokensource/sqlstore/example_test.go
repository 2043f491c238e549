package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	_ "modernc.org/sqlite" // or github.com/jackc/pgx/v5/stdlib, or another

	"github.com/bulla-auth/bulla/tokensource"
	"github.com/bulla-auth/bulla/tokensource/sqlstore"
)

// The machines of a service that share the tokens of its users.
func Example() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)      // only for a database in memory
	secret := make([]byte, 32) // from where the service has its secrets
	sealer, err := tokensource.NewSealer(secret)
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.New(db, sqlstore.Options{Sealer: sealer})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateTable(context.Background()); err != nil {
		log.Fatal(err)
	}
	users, err := tokensource.NewUsers(tokensource.Config{
		TokenURL: "https://tenant.example.com/oauth/token",
		ClientID: "my-service",
		Store:    store,
	})
	if err != nil {
		log.Fatal(err)
	}
	src, err := users.Source("auth0|7", tokensource.Secret{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := src.Token(context.Background()); errors.Is(err, tokensource.ErrLoginRequired) {
		fmt.Println("send the user to sign in, then call src.Replace")
	}
	// Output: send the user to sign in, then call src.Replace
}
