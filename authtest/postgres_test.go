package authtest_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5" //nolint:depguard // each test needs an empty database, which nobody but the server's operator makes

	"github.com/bulla-auth/bulla/authtest"
)

// emptyDatabase makes a database on the server that TEST_POSTGRES names, and
// drops it when the test is over.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES")
	if server == "" {
		t.Skip("TEST_POSTGRES names no PostgreSQL")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("TEST_POSTGRES is no URL")
	}
	name := "authtest_" + strings.ToLower(rand.Text())
	execute := func(ctx context.Context, statement string) {
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	execute(t.Context(), "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	return u.String()
}

// The main job again, with PostgreSQL as the store.
func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, job := range map[string]func(*testing.T, ...authtest.Option){"main job": mainJob, "restart": restart, "advance": advance} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job(t, authtest.Database(emptyDatabase(t)))
		})
	}
}
