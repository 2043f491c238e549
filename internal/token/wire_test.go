package token_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/authtest"
	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/verify"
)

// machine is a client that may have tokens for an API.
func machine(t *testing.T, srv *authtest.Server, identifier string) authtest.Client {
	t.Helper()
	c := srv.CreateClient(t, map[string]any{"name": "machine", "app_type": "non_interactive", "grant_types": []string{"client_credentials"}})
	srv.Grant(t, c.ID, identifier)
	return c
}

// verifier checks tokens for an API with the server's own key set.
func verifier(t *testing.T, srv *authtest.Server, identifier string, algs ...string) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Options{
		Issuer: srv.Issuer, Audience: []string{identifier}, Algorithms: algs, HTTPClient: srv.Client(), Now: srv.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// published lists kty and alg of the key set's entries, in their order.
func published(t *testing.T, srv *authtest.Server) []string {
	t.Helper()
	var set struct {
		Keys []struct{ Kty, Alg string }
	}
	srv.Get(t, "/.well-known/jwks.json").JSON(t, &set)
	var out []string
	for _, k := range set.Keys {
		out = append(out, k.Kty+" "+k.Alg)
	}
	return out
}

// An API that is made with ES256 or EdDSA, or changed to it, gets tokens that
// verify with the key set; before that the set has RSA keys alone (D7).
func TestAlgorithmOfAPI(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "EdDSA", "PS256"} {
		for _, how := range []string{"created", "changed"} {
			t.Run(alg+" "+how, func(t *testing.T) {
				t.Parallel()
				srv := authtest.Start(t)
				const identifier = "https://api.example/"
				body := map[string]any{"identifier": identifier, "name": "API"}
				if how == "created" {
					body["signing_alg"] = alg
				}
				for _, k := range published(t, srv) {
					if k != "RSA RS256" {
						t.Errorf("published before anyone asked: %s", k)
					}
				}
				if alg == "PS256" { // the key is RS256's too, and says so unless told not to
					srv.Manage(t, http.MethodPatch, "tenants/settings", map[string]any{"flags": map[string]any{"remove_alg_from_jwks": true}}, nil)
				}
				api := srv.CreateAPIWith(t, body)
				c := machine(t, srv, identifier)
				if how == "changed" {
					srv.ClientCredentials(t, c, identifier)
					srv.Manage(t, http.MethodPatch, "resource-servers/"+api.ID, map[string]any{"signing_alg": alg}, nil)
				}
				raw := srv.ClientCredentials(t, c, identifier).AccessToken
				header, _, err := verify.DecodeUnverified(raw)
				if err != nil {
					t.Fatal(err)
				}
				var h struct{ Alg, Kid string }
				if err := json.Unmarshal(header, &h); err != nil || h.Alg != alg || h.Kid == "" {
					t.Errorf("header = %s (%v), want alg %s and a kid", header, err, alg)
				}
				if _, err := verifier(t, srv, identifier, alg).Verify(t.Context(), raw); err != nil {
					t.Errorf("Verify = %v", err)
				}
				if _, err := verifier(t, srv, identifier).Verify(t.Context(), raw); err == nil {
					t.Errorf("a verifier for RS256 takes a token of %s", alg)
				}
			})
		}
	}
}

// Many APIs that choose an algorithm at once share one current and one next
// key; a refused change makes no key; HS256 and RSA need none (SEC-141).
func TestKeysOfAlgorithmOnce(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	srv.ManagementToken(t)
	bad := srv.TryManage(t, http.MethodPost, "resource-servers", map[string]any{
		"identifier": "https://bad.example/", "signing_alg": "EdDSA", "token_lifetime": 1, "token_lifetime_for_web": 2,
	})
	if bad.Status != http.StatusBadRequest {
		t.Errorf("lifetimes the wrong way round: %s", bad)
	}
	fine := srv.CreateAPIWith(t, map[string]any{"identifier": "https://fine.example/", "signing_alg": "HS256"})
	bad = srv.TryManage(t, http.MethodPatch, "resource-servers/"+fine.ID, map[string]any{
		"signing_alg": "EdDSA", "token_lifetime": 1, "token_lifetime_for_web": 2,
	})
	if bad.Status != http.StatusBadRequest {
		t.Errorf("change with lifetimes the wrong way round: %s", bad)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			resp := srv.TryManage(t, http.MethodPost, "resource-servers", map[string]any{
				"identifier": "https://api.example/" + string(rune('a'+i)), "signing_alg": "ES256",
			})
			if resp.Status != http.StatusCreated {
				t.Errorf("create: %s", resp)
			}
		})
	}
	all.Wait()
	ec := 0
	for _, k := range published(t, srv) {
		if k == "EC ES256" {
			ec++
		}
	}
	if ec != 2 {
		t.Errorf("%d EC keys, want a current and a next one", ec)
	}
	if slices.Contains(published(t, srv), "OKP EdDSA") {
		t.Error("a refused API left its keys behind")
	}
	if got := published(t, srv)[0]; got != "RSA RS256" {
		t.Errorf("the key set begins with %s: some SDKs read the first key alone", got)
	}
}

// The vendor's calls: rotate at once, with an event that warns; revoke a
// previous key, and no other (management-endpoints.md §10).
func TestRotateByAPI(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	const identifier = "https://api.example/"
	srv.CreateAPI(t, identifier)
	c := machine(t, srv, identifier)
	type key struct {
		Kid, Cert, Thumbprint            string
		Current, Next, Previous, Revoked bool
	}
	list := func() map[string]key {
		t.Helper()
		var keys []key
		srv.Manage(t, http.MethodGet, "keys/signing", nil, &keys)
		out := map[string]key{}
		for _, k := range keys {
			switch {
			case k.Current:
				out["current"] = k
			case k.Next:
				out["next"] = k
			case k.Previous:
				out["previous"] = k
			case k.Revoked:
				out["revoked"] = k
			}
		}
		return out
	}
	v := verifier(t, srv, identifier)
	raw := srv.ClientCredentials(t, c, identifier).AccessToken
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	before := list()
	resp := srv.TryManage(t, http.MethodPost, "keys/signing/rotate", nil)
	var rotated key
	if resp.JSON(t, &rotated); resp.Status != http.StatusCreated {
		t.Fatalf("rotate: %s", resp)
	}
	after := list()
	if after["previous"].Kid != before["current"].Kid || after["current"].Kid == before["current"].Kid {
		t.Errorf("current was %s; now previous is %s and current %s", before["current"].Kid, after["previous"].Kid, after["current"].Kid)
	}
	if rotated.Kid != after["next"].Kid || rotated.Cert != after["next"].Cert || !strings.HasPrefix(rotated.Cert, "-----BEGIN CERTIFICATE-----\r\n") {
		t.Errorf("rotate answered %s, next is %s", rotated.Kid, after["next"].Kid)
	}
	// A verifier that holds the set from before still takes the older token, and
	// finds the new key.
	for _, raw := range []string{raw, srv.ClientCredentials(t, c, identifier).AccessToken} {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			t.Errorf("after the rotation: %v", err)
		}
	}
	for _, state := range []string{"current", "next", "previous"} { // the last ends the token we ask with
		want := http.StatusBadRequest
		if state == "previous" {
			want = http.StatusOK
		}
		if resp := srv.TryManage(t, http.MethodPut, "keys/signing/"+after[state].Kid+"/revoke", nil); resp.Status != want {
			t.Errorf("revoke the %s key: %s, want %d", state, resp, want)
		}
	}
	srv.Advance(24 * time.Hour) // our own token was signed by it too, and is gone
	for _, kid := range []string{after["previous"].Kid, "nobody"} {
		want := http.StatusNotFound
		if kid != "nobody" {
			want = http.StatusBadRequest
		}
		if resp := srv.TryManage(t, http.MethodPut, "keys/signing/"+kid+"/revoke", nil); resp.Status != want {
			t.Errorf("revoke %s: %s, want %d", kid, resp, want)
		}
	}
	if _, err := verifier(t, srv, identifier).Verify(t.Context(), raw); err == nil {
		t.Error("a token of the revoked key is valid for who fetches the set now")
	}
	if got := list()["revoked"].Kid; got != after["previous"].Kid {
		t.Errorf("revoked is %q, want %s", got, after["previous"].Kid)
	}
	for range 2 { // a key that was in no set yet signs at once
		srv.Manage(t, http.MethodPost, "keys/signing/rotate", nil, nil)
	}
	var events []struct{ Description string }
	srv.Manage(t, http.MethodGet, "logs?per_page=50", nil, &events)
	if !slices.ContainsFunc(events, func(e struct{ Description string }) bool {
		return strings.Contains(e.Description, "before verifiers have had time")
	}) {
		t.Errorf("no event warns of the early rotation: %v", events)
	}
}

// The publication time is never under what the key set's answer lets caches do.
func TestAnnouncedCacheLife(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	resp := srv.Get(t, "/.well-known/jwks.json")
	var life time.Duration
	for _, directive := range strings.Split(resp.Header.Get("Cache-Control"), ", ") {
		name, value, _ := strings.Cut(directive, "=")
		if seconds, err := strconv.Atoi(value); err == nil && (name == "max-age" || name == "stale-while-revalidate") {
			life += time.Duration(seconds) * time.Second
		}
	}
	if life != tenant.KeySetLifetime || life == 0 {
		t.Errorf("the key set may be cached for %v, the key ring counts on %v", life, tenant.KeySetLifetime)
	}
	if resp.Header.Get("ETag") == "" {
		t.Error("no ETag")
	}
}

// Key settings over HTTP: what they take and refuse.
func TestKeySettings(t *testing.T) {
	t.Parallel()
	srv := authtest.Start(t)
	for body, want := range map[string]int{
		`{"rotation_interval":7776000,"publication_time":86400,"rsa_bits":3072}`: http.StatusOK,
		`{"rsa_bits":2500}`:        http.StatusBadRequest,
		`{"rsa_bits":1024}`:        http.StatusBadRequest,
		`{"publication_time":-1}`:  http.StatusBadRequest,
		`{"rotation_intervall":1}`: http.StatusBadRequest,
	} {
		resp := srv.TryManage(t, http.MethodPatch, "tenants/settings", map[string]any{"signing_keys": json.RawMessage(body)})
		if resp.Status != want {
			t.Errorf("%s: %s, want %d", body, resp, want)
		}
	}
}
