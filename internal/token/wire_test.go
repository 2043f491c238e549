package token_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/bulla-auth/bulla/authtest"
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
