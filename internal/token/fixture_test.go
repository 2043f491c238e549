package token

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/seal"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keyring holds the records that a store would.
type keyring struct {
	mu      sync.Mutex
	signing []tenant.SigningKey
	secrets []tenant.Secret
	reads   int
	// extended, counts and served are what the ring reported.
	extended []string
	counts   []tenant.SignatureCount
	served   [][]string
	fault    error
}

func (k *keyring) SigningKeys(context.Context, string) ([]tenant.SigningKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	return append([]tenant.SigningKey(nil), k.signing...), k.fault
}

func (k *keyring) Secrets(context.Context, string, string) ([]tenant.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	return append([]tenant.Secret(nil), k.secrets...), k.fault
}

func (k *keyring) ExtendSigningKey(_ context.Context, _, kid string, life time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.extended = append(k.extended, kid+" "+life.String())
	return k.fault
}

func (k *keyring) CountSignatures(_ context.Context, _ string, counts []tenant.SignatureCount) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fault == nil {
		k.counts = append(k.counts, counts...)
	}
	return k.fault
}

func (k *keyring) KeySetServed(_ context.Context, _ string, kids []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.served = append(k.served, kids)
	return k.fault
}

var errStorage = errors.New("disk on fire")

// world is a tenant with keys in every state.
type world struct {
	tenant  tenant.Tenant
	vault   *seal.Vault
	keys    *keyring
	ring    *Ring
	minter  *Minter
	refresh *Refresh
}

// records are made once: RSA keys take their time.
type records struct {
	master  seal.Master
	tenants [2]tenant.Tenant
	signing [2][]tenant.SigningKey
	secrets [2][]tenant.Secret
	err     error
}

var made = sync.OnceValue(func() (r records) {
	ctx := context.Background()
	key := make([]byte, 32)
	if _, r.err = rand.Read(key); r.err != nil {
		return r
	}
	if r.master, r.err = seal.NewMaster(key); r.err != nil {
		return r
	}
	v := seal.NewVault(r.master)
	for i, id := range []string{"t1", "t2"} {
		t := tenant.Tenant{ID: id, Domain: id + ".example:8443", ConfigVersion: 1}
		if t.DataKey, r.err = seal.NewDataKey(r.master, id); r.err != nil {
			return r
		}
		r.tenants[i] = t
		states := []struct {
			alg   string
			state tenant.KeyState
		}{
			{"EdDSA", tenant.KeyCurrent}, {"RSA", tenant.KeyRevoked}, {"RSA", tenant.KeyPrevious},
			{"RSA", tenant.KeyNext}, {"RS256", tenant.KeyCurrent}, {"ES256", tenant.KeyCurrent},
		}
		if i == 1 {
			states = states[4:]
		}
		for _, s := range states {
			k, err := NewSigningKey(ctx, v, t, s.alg, s.state, noon)
			if err != nil {
				r.err = err
				return r
			}
			r.signing[i] = append(r.signing[i], k)
		}
		for version := uint16(2); version > 0; version-- {
			s, err := NewRefreshSecret(ctx, v, t, version, noon)
			if err != nil {
				r.err = err
				return r
			}
			r.secrets[i] = append(r.secrets[i], s)
		}
	}
	return r
})

func newWorld(t testing.TB) *world { return worldOf(t, 0) }

// otherWorld is another tenant of the same installation.
func otherWorld(t testing.TB) *world { return worldOf(t, 1) }

func worldOf(t testing.TB, i int) *world {
	t.Helper()
	r := made()
	if r.err != nil {
		t.Fatal(r.err)
	}
	w := &world{tenant: r.tenants[i], vault: seal.NewVault(r.master), keys: &keyring{
		signing: append([]tenant.SigningKey(nil), r.signing[i]...),
		secrets: append([]tenant.Secret(nil), r.secrets[i]...),
	}}
	w.ring = NewRing(w.keys, w.vault)
	w.minter = NewMinter(w.ring, rand.Reader)
	w.refresh = NewRefresh(w.keys, w.vault)
	return w
}

// key is the record of the first key of a family in a state.
func (w *world) key(t testing.TB, algorithm string, state tenant.KeyState) *tenant.SigningKey {
	t.Helper()
	for i := range w.keys.signing {
		if k := &w.keys.signing[i]; k.Algorithm == algorithm && k.State == state {
			return k
		}
	}
	t.Fatalf("no %s key in state %s", algorithm, state)
	return nil
}

// changed is the tenant after a write of configuration.
func (w *world) changed() tenant.Tenant {
	w.tenant.ConfigVersion++
	return w.tenant
}

var client = tenant.Client{ID: "CID0123456789"}

func api(alg, dialect string) *tenant.ResourceServer {
	return &tenant.ResourceServer{ID: "api1", Identifier: "https://api.example/", SigningAlg: alg, TokenDialect: dialect}
}

// accessToken is a user's token for r.
func accessToken(r *tenant.ResourceServer) AccessToken {
	return AccessToken{
		Client: client, ResourceServer: r, Subject: "auth0|u1", Scopes: []string{"openid", "read:x"},
		Authorization: "rt_family", Userinfo: true, IssuedAt: noon, ExpiresAt: noon.Add(24 * time.Hour),
	}
}

func idToken() IDToken {
	return IDToken{
		Client: client, User: tenant.User{ID: "auth0|u1", Email: "a@b.example"}, Scopes: []string{"openid"},
		IssuedAt: noon, ExpiresAt: noon.Add(time.Hour),
	}
}

func mustAccess(t testing.TB, w *world, a AccessToken) string {
	t.Helper()
	raw, err := w.minter.AccessToken(t.Context(), w.tenant, a)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustID(t testing.TB, w *world, i IDToken) string {
	t.Helper()
	raw, err := w.minter.IDToken(t.Context(), w.tenant, i)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// zeros is randomness without any, for golden tokens.
var zeros = zeroReader{}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte{0}, len(p)))
	return len(p), nil
}
