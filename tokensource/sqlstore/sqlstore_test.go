package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/bulla-auth/bulla/tokensource"
)

var ann = tokensource.Key{Issuer: "https://issuer.example/", ClientID: "client", User: "ann", Scopes: "a b"}

func sealer(t testing.TB) *tokensource.Sealer {
	t.Helper()
	s, err := tokensource.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// engine opens handles of one empty table, as several processes would.
type engine struct {
	name string
	open func(t *testing.T) func() *Store
}

func engines() []engine {
	return []engine{
		{"SQLite", func(t *testing.T) func() *Store { return sqlite(t, false) }},
		{"SQLite with question marks", func(t *testing.T) func() *Store { return sqlite(t, true) }},
		{"PostgreSQL", postgres},
	}
}

func sqlite(t *testing.T, questionMarks bool) func() *Store {
	path := filepath.Join(t.TempDir(), "tokens.db")
	return func() *Store {
		return store(t, "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
			Options{QuestionMarks: questionMarks})
	}
}

func postgres(t *testing.T) func() *Store {
	url := os.Getenv("TEST_POSTGRES")
	if url == "" {
		t.Skip("TEST_POSTGRES is not set")
	}
	table := "oauth_tokens_" + strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(random()))
	t.Cleanup(func() {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			t.Error(err)
		}
	})
	return func() *Store { return store(t, "pgx", url, Options{Table: table}) }
}

func store(t *testing.T, driver, source string, o Options) *Store {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	o.Sealer, o.Poll = sealer(t), 2*time.Millisecond
	s, err := New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTable(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

func entry(rt string) tokensource.Entry {
	return tokensource.Entry{
		Token:        tokensource.Token{AccessToken: tokensource.NewSecret("access-of-" + rt), ExpiresAt: time.Unix(1e9, 0)},
		RefreshToken: tokensource.NewSecret(rt), Attempt: tokensource.NewSecret("attempt-of-" + rt),
	}
}

func wantEntry(t *testing.T, s *Store, key tokensource.Key, rt string) {
	t.Helper()
	got, err := s.Load(t.Context(), key)
	if rt == "" {
		if !errors.Is(err, tokensource.ErrNotFound) {
			t.Errorf("Load = %q, %v; want ErrNotFound", got.RefreshToken.Reveal(), err)
		}
		return
	}
	if err != nil || got.RefreshToken.Reveal() != rt || got.Attempt.Reveal() != "attempt-of-"+rt || got.Token.AccessToken.Reveal() != "access-of-"+rt {
		t.Errorf("Load = %q, %v; want %q", got.RefreshToken.Reveal(), err, rt)
	}
}

func lock(t *testing.T, s *Store) (unlock func()) {
	t.Helper()
	unlock, err := s.Lock(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			t.Run("keeps, apart and sealed (SEC-243)", func(t *testing.T) { testKeeps(t, e.open(t)) })
			t.Run("lease excludes", func(t *testing.T) { testExcludes(t, e.open(t)) })
			t.Run("lease of the dead is taken over", func(t *testing.T) { testTakeOver(t, e.open(t)) })
			t.Run("lease of the living is not", func(t *testing.T) { testRenewed(t, e.open(t)) })
			t.Run("waiting is given up", func(t *testing.T) { testGivesUp(t, e.open(t)) })
			t.Run("one refresh for all (SEC-244)", func(t *testing.T) { testOneRefresh(t, e.open(t)) })
		})
	}
}

func testKeeps(t *testing.T, open func() *Store) {
	a, b := open(), open()
	bob := ann
	bob.User = "bob"
	wantEntry(t, a, ann, "")
	for _, rt := range []string{"s3cret-one", "s3cret-two"} {
		unlock := lock(t, a)
		wantEntry(t, b, bob, "")
		if err := a.Save(t.Context(), ann, entry(rt)); err != nil {
			t.Fatal(err)
		}
		unlock()
		wantEntry(t, b, ann, rt)
	}
	if err := b.Save(t.Context(), bob, entry("of-bob")); err != nil { // without the lock, as the interface allows
		t.Fatal(err)
	}
	wantEntry(t, a, bob, "of-bob")
	wantEntry(t, a, ann, "s3cret-two")

	rows, err := a.db.Query("SELECT id, sealed FROM " + tableOf(a))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id, sealed string
		if err := rows.Scan(&id, &sealed); err != nil {
			t.Fatal(err)
		}
		all = append(all, id, sealed)
	}
	if err := rows.Err(); err != nil || len(all) != 4 {
		t.Errorf("%d values, %v; want two rows", len(all), err)
	}
	for _, word := range []string{"s3cret", "ann", "issuer"} {
		if strings.Contains(strings.Join(all, " "), word) {
			t.Errorf("%q is readable in the table", word)
		}
	}
	// An entry that somebody moved to another user's row does not open.
	if _, err := a.db.Exec(fmt.Sprintf("UPDATE %s SET sealed = '%s'", tableOf(a), all[1])); err != nil {
		t.Fatal(err)
	}
	_, errAnn := a.Load(t.Context(), ann)
	_, errBob := a.Load(t.Context(), bob)
	if errors.Is(errAnn, tokensource.ErrSealed) == errors.Is(errBob, tokensource.ErrSealed) {
		t.Errorf("moved: ann %v, bob %v; want ErrSealed for the one it is not of", errAnn, errBob)
	}

	unlock := lock(t, a)
	for _, key := range []tokensource.Key{ann, bob, ann} {
		if err := a.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete = %v", err)
		}
		wantEntry(t, b, key, "")
	}
	unlock()
	var left int
	if err := a.db.QueryRow("SELECT count(*) FROM " + tableOf(a)).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows left behind, %v", left, err)
	}
}

func tableOf(s *Store) string { return strings.Fields(s.sql.create)[5] }

func testExcludes(t *testing.T, open func() *Store) {
	var inside, rounds atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		s := open()
		for range 2 {
			wg.Go(func() {
				for range 10 {
					unlock, err := s.Lock(context.Background(), ann)
					if err != nil {
						t.Error(err)
						return
					}
					if inside.Add(1) != 1 {
						t.Error("two have the lease")
					}
					rounds.Add(1)
					inside.Add(-1)
					unlock()
				}
			})
		}
	}
	wg.Wait()
	if rounds.Load() != 80 {
		t.Errorf("%d rounds, want 80", rounds.Load())
	}
}

// A process that died holds the row for the lease's length, by the watch of
// who waits. If it was only asleep, it can save nothing when it wakes up.
func testTakeOver(t *testing.T, open func() *Store) {
	asleep, b := open(), open()
	b.lease = 50 * time.Millisecond
	l, err := asleep.acquire(t.Context(), row(ann)) // the lease, and nobody who renews it
	if err != nil {
		t.Fatal(err)
	}
	asleep.held[row(ann)] = l
	if err := asleep.Save(t.Context(), ann, entry("first")); err != nil {
		t.Fatal(err)
	}
	unlock := lock(t, b)
	wantEntry(t, b, ann, "first")
	if err := b.Save(t.Context(), ann, entry("second")); err != nil {
		t.Fatal(err)
	}
	if err := asleep.Save(t.Context(), ann, entry("late")); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("Save after the lease was lost: %v, want ErrLeaseLost", err)
	}
	asleep.release(row(ann), l)
	if taken, _, err := asleep.try(t.Context(), row(ann), random()); taken || err != nil {
		t.Errorf("the late one's release freed another's lease: %v, %v", taken, err)
	}
	wantEntry(t, b, ann, "second")
	unlock()
}

// A holder that takes longer than a lease keeps it by renewing it.
func testRenewed(t *testing.T, open func() *Store) {
	a, b := open(), open()
	a.lease, b.lease = 90*time.Millisecond, 900*time.Millisecond // a renews thirty times while b waits for one to last
	unlock := lock(t, a)
	first := a.leaseOf(row(ann)).value
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan error, 1)
	go func() {
		unlock, err := b.Lock(ctx, ann)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	for seen := map[string]bool{first: true}; len(seen) < 40; { // longer than the lease of who waits
		var value string
		if err := a.leaseOf(row(ann)).with(func(v string) error { value = v; return nil }); err != nil {
			t.Fatal(err)
		}
		seen[value] = true
		if !pause(t.Context(), time.Millisecond) {
			t.Fatal("the lease is not renewed")
		}
		select {
		case err := <-got:
			t.Fatalf("the other got the lease of the living: %v", err)
		default:
		}
	}
	if err := a.Save(t.Context(), ann, entry("slow")); err != nil {
		t.Errorf("Save after a long time: %v", err)
	}
	unlock()
	if err := <-got; err != nil {
		t.Errorf("the other, after the unlock: %v", err)
	}
}

func testGivesUp(t *testing.T, open func() *Store) {
	a, b := open(), open()
	unlock := lock(t, a)
	defer unlock()
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting := make(chan error, 1)
	go func() { _, err := b.Lock(ctx, ann); waiting <- err }()
	cancel(gaveUp)
	if err := <-waiting; err == nil || !errors.Is(err, gaveUp) && !errors.Is(err, context.Canceled) {
		t.Errorf("Lock = %v, want the context's end", err)
	}
}

// Sources on four handles ask at once: one request goes to the issuer, which
// answers a refresh token once.
func testOneRefresh(t *testing.T, open func() *Store) {
	var requests atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if r.PostFormValue("refresh_token") != fmt.Sprint("rt-", n-1) || r.Header.Get(tokensource.AttemptHeader) == "" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"at-%d","expires_in":3600,"refresh_token":"rt-%d"}`, n, n)
	}))
	t.Cleanup(server.Close)
	var wg sync.WaitGroup
	for range 4 {
		src, err := tokensource.RefreshToken(tokensource.Config{
			TokenURL: server.URL + "/oauth/token", Attempts: true, ClientID: "client", HTTPClient: server.Client(), Store: open(),
		}, "ann", tokensource.NewSecret("rt-0"))
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			wg.Go(func() {
				tok, err := src.Token(context.Background())
				if err != nil || tok.AccessToken.Reveal() != "at-1" {
					t.Errorf("Token = %q, %v; want at-1", tok.AccessToken.Reveal(), err)
				}
			})
		}
	}
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, make := range map[string]func() (*Store, error){
		"no database":        func() (*Store, error) { return New(nil, Options{Sealer: sealer(t)}) },
		"no sealer":          func() (*Store, error) { return New(db, Options{}) },
		"a table to inject":  func() (*Store, error) { return New(db, Options{Sealer: sealer(t), Table: "t; DROP TABLE x"}) },
		"a lease of nothing": func() (*Store, error) { return New(db, Options{Sealer: sealer(t), Lease: time.Millisecond}) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(db, Options{Sealer: sealer(t), Table: "app.tokens"}); err != nil {
		t.Errorf("a table of a schema: %v", err)
	}
}
