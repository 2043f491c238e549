package verify

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

const (
	testIssuer   = "https://issuer.example/"
	testAudience = "https://api.example/"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rsaKeys are made once for all tests of the package.
var rsaKeys = sync.OnceValue(func() (keys [3]*rsa.PrivateKey) {
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return keys
})

// signingKey is an RS256 key with its name.
type signingKey struct {
	kid string
	key *rsa.PrivateKey
}

func key(n int, kid string) signingKey { return signingKey{kid, rsaKeys()[n]} }

func (k signingKey) public() jose.Key {
	return jose.Key{Kid: k.kid, Alg: jose.RS256, Use: "sig", Public: &k.key.PublicKey}
}

func jwks(t testing.TB, keys ...signingKey) []byte {
	t.Helper()
	set := jose.Set{Keys: []jose.Key{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public())
	}
	out, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// claimSet is a payload; nil values are left out.
type claimSet map[string]any

func goodClaims(issuer string) claimSet {
	return claimSet{
		"iss": issuer, "sub": "auth0|7", "aud": testAudience, "scope": "read:messages openid",
		"iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(), "jti": "j1", "client_id": "c1",
	}
}

func (c claimSet) with(changes claimSet) claimSet {
	out := maps.Clone(c)
	maps.Copy(out, changes)
	return out
}

func (c claimSet) json(t testing.TB) []byte {
	t.Helper()
	out := maps.Clone(c)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sign makes a token with any header over any payload.
func sign(t testing.TB, h jose.Header, s jose.Signer, payload []byte) string {
	t.Helper()
	out, err := jose.NewEncoder(h, s).Encode(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (k signingKey) token(t testing.TB, c claimSet) string {
	t.Helper()
	return sign(t, jose.Header{Alg: jose.RS256, Typ: "JWT", Kid: k.kid}, jose.NewRSASigner(jose.RS256, k.key), c.json(t))
}

// clock is a clock that only moves when told.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.nanos.Store(noon.UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// issuer is an issuer's two documents on a real TLS server.
type issuer struct {
	*httptest.Server
	clock   *clock
	fetches atomic.Int64 // of the key set
	status  atomic.Int64
	body    atomic.Pointer[[]byte]
	// held, if set, keeps every answer of the key set back until it is closed.
	held atomic.Pointer[chan struct{}]
}

func newIssuer(t testing.TB, keys ...signingKey) *issuer {
	t.Helper()
	is := &issuer{clock: newClock()}
	is.status.Store(http.StatusOK)
	is.publish(t, keys...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, is.id(), is.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		is.fetches.Add(1)
		if held := is.held.Load(); held != nil {
			select {
			case <-*held:
			case <-r.Context().Done():
				return
			}
		}
		w.WriteHeader(int(is.status.Load()))
		_, _ = w.Write(*is.body.Load())
	})
	is.Server = httptest.NewUnstartedServer(mux)
	is.Config.ErrorLog = log.New(io.Discard, "", 0) // a client's distrust is expected
	is.StartTLS()
	t.Cleanup(is.Close)
	return is
}

func (is *issuer) id() string { return is.URL + "/" }

func (is *issuer) publish(t testing.TB, keys ...signingKey) {
	t.Helper()
	body := jwks(t, keys...)
	is.body.Store(&body)
}

// hold makes the key set's answers wait for the function that it returns.
func (is *issuer) hold() (release func()) {
	held := make(chan struct{})
	is.held.Store(&held)
	return func() {
		is.held.Store(nil)
		close(held)
	}
}

func (is *issuer) options() Options {
	return Options{Issuer: is.id(), Audience: []string{testAudience}, HTTPClient: is.Client(), Now: is.clock.Now}
}

func (is *issuer) verifier(t testing.TB) *Verifier {
	t.Helper()
	return mustNew(t, is.options())
}

func (is *issuer) claims() claimSet { return goodClaims(is.id()) }

func mustNew(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fixed is a Verifier with keys that are given, at noon.
func fixed(t testing.TB, keys ...signingKey) *Verifier {
	t.Helper()
	return mustNew(t, Options{
		Issuer: testIssuer, Audience: []string{testAudience, "other"}, Keys: jwks(t, keys...),
		Now: func() time.Time { return noon }, ClockSkew: -1,
	})
}

// all verifies raw n times at once, as different callers, and returns what
// each was told.
func all(v *Verifier, raw []string) []error {
	errs := make([]error, len(raw))
	var wg sync.WaitGroup
	for i := range raw {
		wg.Go(func() { _, errs[i] = v.Verify(context.Background(), raw[i]) })
	}
	wg.Wait()
	return errs
}

func repeat(raw string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = raw
	}
	return out
}
