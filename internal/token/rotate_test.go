package token_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/clock"
	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/store"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ring is a tenant's key ring over a real store, read and written.
type ring struct {
	t     testing.TB
	store *store.Store
	vault *seal.Vault
	clock *clock.Fake
	*token.Keyring
	read   *token.Ring
	minter *token.Minter
	id     string
}

var frame = tenant.Event{Type: "kms_key_state_changed"}

// newRing founds a tenant with a current and a next key, as after a first start.
// RSA takes its time, and what moves is the same for all keys: alg is ES256
// where the family does not matter.
func newRing(t testing.TB, algs ...string) *ring {
	t.Helper()
	ctx := t.Context()
	r := &ring{t: t, clock: clock.NewFake(noon), id: "t1"}
	var err error
	r.store, err = store.Open(ctx, store.Options{Path: filepath.Join(t.TempDir(), "bulla.db"), Clock: r.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	master, err := seal.NewMaster(secret)
	if err != nil {
		t.Fatal(err)
	}
	r.vault = seal.NewVault(master)
	founded := tenant.Tenant{ID: r.id, Domain: "t1.example", CreatedAt: noon, ConfigVersion: 1}
	if founded.DataKey, err = seal.NewDataKey(master, r.id); err != nil {
		t.Fatal(err)
	}
	founded.Settings.Document = json.RawMessage(`{}`)
	if err := r.store.CreateTenant(ctx, tenant.Founding{Tenant: founded, Event: tenant.Event{Type: "sapi"}}); err != nil {
		t.Fatal(err)
	}
	r.Keyring = token.NewKeyring(r.store, r.vault, r.clock)
	r.restart()
	for _, alg := range algs {
		if err := r.Ensure(ctx, r.tenant(), alg, frame); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// restart is another process, or another node.
func (r *ring) restart() {
	r.read = token.NewRing(r.store, r.vault)
	r.minter = token.NewMinter(r.read, rand.Reader)
}

func (r *ring) tenant() tenant.Tenant {
	r.t.Helper()
	t, err := r.store.Tenant(context.Background(), r.id)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

// set changes the tenant's settings of its keys.
func (r *ring) set(doc string) {
	r.t.Helper()
	_, err := r.store.UpdateSettings(context.Background(), r.id, func(s tenant.Settings) (tenant.Settings, error) {
		s.Document = json.RawMessage(`{"signing_keys":` + doc + `}`)
		return s, nil
	}, tenant.Event{Type: "sapi"})
	if err != nil {
		r.t.Fatal(err)
	}
}

// key is the only key of an algorithm in a state; there must be exactly one.
func (r *ring) key(alg string, state tenant.KeyState) tenant.SigningKey {
	r.t.Helper()
	keys := r.keys(alg, state)
	if len(keys) != 1 {
		r.t.Fatalf("%d %s keys are %s, want exactly one", len(keys), alg, state)
	}
	return keys[0]
}

func (r *ring) keys(alg string, state tenant.KeyState) []tenant.SigningKey {
	r.t.Helper()
	all, err := r.store.SigningKeys(context.Background(), r.id)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []tenant.SigningKey
	for _, k := range all {
		if k.Algorithm == alg && k.State == state {
			out = append(out, k)
		}
	}
	return out
}

func (r *ring) serve() string {
	r.t.Helper()
	set, err := r.read.JWKS(context.Background(), r.tenant())
	if err != nil {
		r.t.Fatal(err)
	}
	return string(set)
}

// mint signs a token that lives so long.
func (r *ring) mint(alg string, life time.Duration) (string, error) {
	now := r.clock.Now()
	return r.minter.AccessToken(context.Background(), r.tenant(), token.AccessToken{
		Client: tenant.Client{ID: "client"}, ResourceServer: &tenant.ResourceServer{Identifier: "https://api.example/", SigningAlg: alg},
		Subject: "client@clients", Authorization: "cgr", IssuedAt: now, ExpiresAt: now.Add(life),
	})
}

func (r *ring) mustMint(alg string, life time.Duration) string {
	r.t.Helper()
	raw, err := r.mint(alg, life)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r *ring) authenticate(raw string) error {
	_, err := r.read.Authenticate(context.Background(), r.tenant(), raw, r.clock.Now())
	return err
}

// reasons lists the reasons of the events of keys, oldest first.
func (r *ring) reasons() string {
	r.t.Helper()
	list, err := r.store.Events(context.Background(), r.id, tenant.EventQuery{}, tenant.Page{})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, e := range slices.Backward(list.Items) {
		if e.Type == frame.Type && e.Reason != "" {
			out = append(out, e.Reason)
		}
	}
	return strings.Join(out, " ")
}

// SEC-141: a key signs after its publication time, or at once when no key set
// without it has ever been served; force goes before both, and warns.
func TestPublicationTime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settings string
		served   bool // a key set, before the next key was made
		after    time.Duration
		force    bool
		refused  bool
		reasons  string
	}{
		"no set was ever served":                {`{}`, false, 0, false, false, "rotated"},
		"served without it, at once":            {`{}`, true, 0, false, true, ""},
		"a millisecond before":                  {`{}`, true, 24*time.Hour - time.Millisecond, false, true, ""},
		"on the deadline":                       {`{}`, true, 24 * time.Hour, false, false, "rotated"},
		"forced":                                {`{}`, true, 0, true, false, "rotated_early rotated"},
		"forced without need":                   {`{}`, true, 24 * time.Hour, true, false, "rotated"},
		"an hour, as set":                       {`{"publication_time":3600}`, true, time.Hour, false, false, "rotated"},
		"before the hour":                       {`{"publication_time":3600}`, true, time.Hour - time.Millisecond, false, true, ""},
		"never under the cache life: before it": {`{"publication_time":1}`, true, tenant.KeySetLifetime - time.Millisecond, false, true, ""},
		"never under the cache life: on it":     {`{"publication_time":1}`, true, tenant.KeySetLifetime, false, false, "rotated"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRing(t)
			r.set(tt.settings)
			first, err := token.NewSigningKey(t.Context(), r.vault, r.tenant(), "ES256", tenant.KeyCurrent, noon)
			if err == nil {
				err = r.store.AddSigningKey(t.Context(), first, tenant.Event{})
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.served {
				r.serve()
			}
			if err := r.Ensure(t.Context(), r.tenant(), "ES256", frame); err != nil {
				t.Fatal(err)
			}
			next := r.key("ES256", tenant.KeyNext)
			r.serve()
			r.restart()
			r.serve()
			r.clock.Advance(tt.after)
			_, err = r.Rotate(t.Context(), r.tenant(), tt.force, frame)
			var early *token.EarlyError
			if errors.As(err, &early) != tt.refused || !tt.refused && err != nil {
				t.Fatalf("Rotate = %v, want refused %v", err, tt.refused)
			}
			if got := r.reasons(); got != tt.reasons {
				t.Errorf("events %q, want %q", got, tt.reasons)
			}
			if tt.refused {
				if want := noon.Add(r.tenant().Settings.KeyPublicationTime()); !early.Ready.Equal(want) || early.Kid != next.Kid {
					t.Errorf("refused until %v for %s, want %v for %s", early.Ready, early.Kid, want, next.Kid)
				}
				next = first
			}
			if got := r.key("ES256", tenant.KeyCurrent); got.Kid != next.Kid {
				t.Errorf("current is %s, want %s", got.Kid, next.Kid)
			}
			r.key("ES256", tenant.KeyNext)
		})
	}
}

// A set that another node served without the key counts against it.
func TestFirstKeySetOfTwoNodes(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	if err := r.store.KeySetServed(t.Context(), r.id, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	for _, served := range [][]string{{"a", "c"}, {"a", "b", "c"}} {
		if err := r.store.KeySetServed(t.Context(), r.id, served); err != nil {
			t.Fatal(err)
		}
		if got, err := r.store.FirstKeySet(t.Context(), r.id); err != nil || len(got) != 1 || got[0] != "a" {
			t.Errorf("first key set = %v (%v), want what both hold", got, err)
		}
	}
}

// A rotation moves the keys of every algorithm, and what they signed before and
// after it is valid throughout (SEC-141, REL-34).
func TestRotateMovesAll(t *testing.T) {
	t.Parallel()
	r := newRing(t, "RS256", "EdDSA")
	before := []string{r.mustMint("RS256", time.Hour), r.mustMint("EdDSA", time.Hour)}
	current, next := r.key("RSA", tenant.KeyCurrent), r.key("RSA", tenant.KeyNext)
	got, err := r.Rotate(t.Context(), r.tenant(), true, frame)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kid != r.key("RSA", tenant.KeyNext).Kid || got.Certificate == "" {
		t.Errorf("Rotate = %s, want the RSA key that is next now", got.Kid)
	}
	if k := r.key("RSA", tenant.KeyPrevious); k.Kid != current.Kid || !k.CurrentUntil.Equal(noon) {
		t.Errorf("previous is %s until %v, want %s", k.Kid, k.CurrentUntil, current.Kid)
	}
	if k := r.key("RSA", tenant.KeyCurrent); k.Kid != next.Kid || !k.CurrentSince.Equal(noon) {
		t.Errorf("current is %s since %v, want %s", k.Kid, k.CurrentSince, next.Kid)
	}
	r.key("EdDSA", tenant.KeyCurrent)
	r.key("EdDSA", tenant.KeyPrevious)
	for _, raw := range append(before, r.mustMint("RS256", time.Hour), r.mustMint("PS256", time.Hour), r.mustMint("EdDSA", time.Hour)) {
		if err := r.authenticate(raw); err != nil {
			t.Errorf("Authenticate = %v", err)
		}
	}
	if n := strings.Count(r.serve(), `"kid"`); n != 6 {
		t.Errorf("%d keys published, want three of each algorithm", n)
	}
}

// SEC-141: many nodes that rotate at once leave exactly one current and one next
// key; and all the time one is current.
func TestRotateAtOnce(t *testing.T) {
	t.Parallel()
	r := newRing(t, "ES256")
	stop := make(chan struct{})
	var watching, all sync.WaitGroup
	watching.Go(func() {
		for {
			r.key("ES256", tenant.KeyCurrent)
			if err := r.authenticate(r.mustMint("ES256", time.Minute)); err != nil {
				t.Errorf("a token made while keys rotate: %v", err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var done atomic.Int32
	for range 8 {
		all.Go(func() {
			node := token.NewKeyring(r.store, r.vault, r.clock)
			for range 5 {
				switch _, err := node.Rotate(context.Background(), r.tenant(), true, frame); {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, tenant.ErrConflict):
					t.Errorf("Rotate = %v", err)
				}
			}
		})
	}
	all.Wait()
	close(stop)
	watching.Wait()
	r.key("ES256", tenant.KeyCurrent)
	r.key("ES256", tenant.KeyNext)
	if previous := len(r.keys("ES256", tenant.KeyPrevious)); previous != int(done.Load()) || previous == 0 {
		t.Errorf("%d rotations left %d previous keys", done.Load(), previous)
	}
}

// SEC-142: a key that live tokens need is not removed by a slip, and what it
// costs is said; by force it goes, and comes back by one call.
func TestRevokeAndRestore(t *testing.T) {
	t.Parallel()
	r := newRing(t, "ES256")
	var raw string
	for range 3 {
		raw = r.mustMint("ES256", 2*time.Hour)
	}
	old := r.key("ES256", tenant.KeyCurrent)
	for _, state := range []tenant.KeyState{tenant.KeyCurrent, tenant.KeyNext} {
		if _, err := r.Revoke(t.Context(), r.tenant(), r.key("ES256", state).Kid, true, frame); !errors.Is(err, token.ErrSigns) {
			t.Errorf("Revoke of the %s key = %v, want ErrSigns", state, err)
		}
	}
	if _, err := r.Revoke(t.Context(), r.tenant(), "nobody", true, frame); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("Revoke of no key = %v", err)
	}
	if _, err := r.Rotate(t.Context(), r.tenant(), false, frame); err != nil {
		t.Fatal(err)
	}
	if err := r.read.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := r.Revoke(t.Context(), r.tenant(), old.Kid, false, frame)
	var needed *token.NeededError
	if !errors.As(err, &needed) || needed.Tokens != 3 || !needed.Until.Equal(noon.Add(2*time.Hour+5*time.Minute)) {
		t.Fatalf("Revoke = %v, want three tokens until 14:05", err)
	}
	if err := r.authenticate(raw); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
	if _, err := r.Revoke(t.Context(), r.tenant(), old.Kid, true, frame); err != nil {
		t.Fatal(err)
	}
	if err := r.authenticate(raw); !errors.Is(err, tenant.ErrTokenSignature) {
		t.Errorf("after the revocation: %v, want it refused at once (SEC-143)", err)
	}
	if strings.Contains(r.serve(), old.Kid) {
		t.Error("the revoked key is still published")
	}
	if k := r.key("ES256", tenant.KeyRevoked); k.Private != "" {
		t.Error("the private half of a revoked key is kept")
	}
	if err := r.Restore(t.Context(), r.tenant(), r.key("ES256", tenant.KeyCurrent).Kid, frame); !errors.Is(err, token.ErrNotRevoked) {
		t.Errorf("Restore of the current key = %v", err)
	}
	if err := r.Restore(t.Context(), r.tenant(), old.Kid, frame); err != nil {
		t.Fatal(err)
	}
	if err := r.authenticate(raw); err != nil {
		t.Errorf("after the restoration: %v", err)
	}
	if got, want := r.reasons(), "rotated revoked restored"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	r.clock.Advance(2*time.Hour + 5*time.Minute)
	if _, err := r.Revoke(t.Context(), r.tenant(), old.Kid, false, frame); err != nil {
		t.Errorf("Revoke once nothing needs it = %v", err)
	}
}

// A previous key stays until its last token has expired, whatever lifetimes are
// set by then, and a day that its node did not live to count; then it goes by
// itself. A key that signed nothing goes soon.
func TestRetirement(t *testing.T) {
	t.Parallel()
	r := newRing(t, "ES256", "EdDSA")
	long := r.mustMint("ES256", 48*time.Hour)
	r.mustMint("ES256", time.Hour)
	if _, err := r.Rotate(t.Context(), r.tenant(), true, frame); err != nil {
		t.Fatal(err)
	}
	r.restart() // before it has told its counts
	steps := []struct {
		at      time.Duration
		es, eds int // previous keys
	}{
		{5*time.Minute - time.Millisecond, 1, 1},
		{5 * time.Minute, 1, 0},
		{48*time.Hour - time.Millisecond, 1, 0},
		{48*time.Hour + 5*time.Minute - time.Millisecond, 1, 0},
		{48*time.Hour + 5*time.Minute, 0, 0},
	}
	for _, s := range steps {
		r.clock.Advance(noon.Add(s.at).Sub(r.clock.Now()))
		if err := r.Maintain(t.Context(), r.tenant(), frame); err != nil {
			t.Fatal(err)
		}
		if es, eds := len(r.keys("ES256", tenant.KeyPrevious)), len(r.keys("EdDSA", tenant.KeyPrevious)); es != s.es || eds != s.eds {
			t.Errorf("after %v: %d and %d previous keys, want %d and %d", s.at, es, eds, s.es, s.eds)
		}
		if s.at < 48*time.Hour {
			if err := r.authenticate(long); err != nil {
				t.Errorf("after %v: %v", s.at, err)
			}
		}
	}
	if got, want := r.reasons(), "rotated expired expired"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

// The schedule is off by default; on, it waits for age and publication, and of
// many nodes one does it.
func TestSchedule(t *testing.T) {
	t.Parallel()
	r := newRing(t, "ES256")
	r.serve()
	maintain := func(want string) {
		t.Helper()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := token.NewKeyring(r.store, r.vault, r.clock).Maintain(context.Background(), r.tenant(), frame); err != nil {
					t.Errorf("Maintain = %v", err)
				}
			})
		}
		all.Wait()
		if got := r.reasons(); got != want {
			t.Errorf("at %v: events %q, want %q", r.clock.Now(), got, want)
		}
	}
	r.clock.Advance(1000 * time.Hour)
	maintain("")
	r.set(`{"rotation_interval":3600}`)
	maintain("scheduled")
	r.clock.Advance(2 * time.Hour) // old enough, and its successor not yet known
	maintain("scheduled expired")
	r.clock.Advance(22 * time.Hour)
	maintain("scheduled expired scheduled")
}

// Sizes of RSA keys by setting; 2048 where it says something else.
func TestRSABits(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]int{`{}`: 2048, `{"rsa_bits":3072}`: 3072, `{"rsa_bits":1024}`: 2048} {
		t.Run(doc, func(t *testing.T) {
			t.Parallel()
			r := newRing(t)
			r.set(doc)
			if err := r.Ensure(t.Context(), r.tenant(), "RS256", frame); err != nil {
				t.Fatal(err)
			}
			raw := r.mustMint("RS256", time.Hour)
			signature := raw[strings.LastIndexByte(raw, '.')+1:]
			if got := len(signature) * 6 / 8 * 8; got != want {
				t.Errorf("signature of %d bits, want %d", got, want)
			}
			if err := r.authenticate(raw); err != nil {
				t.Error(err)
			}
		})
	}
}
