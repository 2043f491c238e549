package token

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

type jwk struct {
	Kty, Use, Kid, Alg, N, E, X5t string
	X5c                           []string
}

func readJWKS(t testing.TB, w *world, te tenant.Tenant) []jwk {
	t.Helper()
	body, err := w.ring.JWKS(t.Context(), te)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys
}

// SEC-140, keys-and-validation.md §2: current, next, previous, RSA before the
// others, with certificate and thumbprint, public members only.
func TestJWKS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := readJWKS(t, w, w.tenant)
	want := []string{
		w.key(t, familyRSA, tenant.KeyCurrent).Kid, w.key(t, familyRSA, tenant.KeyNext).Kid, w.key(t, familyRSA, tenant.KeyPrevious).Kid,
	}
	if len(keys) != 5 {
		t.Fatalf("%d keys, want 5: the revoked one is not published", len(keys))
	}
	for i, kid := range want {
		k := keys[i]
		if k.Kid != kid || k.Kty != "RSA" || k.Use != "sig" || k.Alg != "RS256" || k.E != "AQAB" {
			t.Errorf("key %d = %+v, want RSA key %s", i, k, kid)
		}
		der, err := base64.StdEncoding.DecodeString(k.X5c[0])
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		public := cert.PublicKey.(*rsa.PublicKey)
		if base64.RawURLEncoding.EncodeToString(public.N.Bytes()) != k.N {
			t.Errorf("key %d: the certificate is of another key", i)
		}
		sum := sha1.Sum(der)
		if base64.RawURLEncoding.EncodeToString(sum[:]) != k.X5t {
			t.Errorf("key %d: x5t = %s", i, k.X5t)
		}
	}
	if keys[3].Kty == "RSA" || keys[4].Kty == "RSA" {
		t.Errorf("kinds = %s, %s, want the others last", keys[3].Kty, keys[4].Kty)
	}
	body, _ := w.ring.JWKS(t.Context(), w.tenant)
	for _, member := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"dq"`, `"qi"`, `"k"`, `"oct"`} {
		if bytes.Contains(body, []byte(member)) {
			t.Errorf("the set has a member %s", member)
		}
	}
	if !bytes.HasPrefix(body, []byte(`{"keys":[{"kty":"RSA","use":"sig","n":"`)) {
		t.Errorf("the order of members is not the vendor's: %.60s", body)
	}
	if set, err := jose.ParseSet(body); err != nil || len(set.Keys) != 5 {
		t.Errorf("our own reader finds %d keys, %v", len(set.Keys), err)
	}
}

func TestJWKSWithoutAlg(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	te := w.tenant
	te.Settings.Flags.RemoveAlgFromJWKS = true
	for _, k := range readJWKS(t, w, te) {
		if k.Alg != "" {
			t.Errorf("key %s has alg %s", k.Kid, k.Alg)
		}
	}
}

// D7: the key set is never empty.
func TestJWKSIsNeverEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keys.signing = nil
	if body, err := w.ring.JWKS(t.Context(), w.tenant); !errors.Is(err, ErrNoKey) {
		t.Errorf("JWKS = %s, %v, want ErrNoKey", body, err)
	}
}

// rotate does what keys-and-validation.md §1.3 says to the RSA keys.
func (w *world) rotate(t testing.TB) {
	t.Helper()
	current, next := w.key(t, familyRSA, tenant.KeyCurrent), w.key(t, familyRSA, tenant.KeyNext)
	current.State, current.CurrentUntil = tenant.KeyPrevious, noon
	next.State, next.CurrentSince = tenant.KeyCurrent, noon
}

// A rotation fails no valid token; a revocation ends them with the next request
// (D6, SEC-143): what is cached counts only under the configuration version.
func TestRotationAndRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := accessToken(api("", ""))
	before := mustAccess(t, w, a)
	old, next := w.key(t, familyRSA, tenant.KeyCurrent).Kid, w.key(t, familyRSA, tenant.KeyNext).Kid

	w.rotate(t)
	if header, _ := parts(t, mustAccess(t, w, a)); !strings.Contains(header, old) {
		t.Errorf("header = %s: under the same version the ring must not change", header)
	}
	w.changed()
	after := mustAccess(t, w, a)
	if header, _ := parts(t, after); !strings.Contains(header, next) {
		t.Errorf("header = %s, want the key that was next", header)
	}
	for name, raw := range map[string]string{"before": before, "after": after} {
		if _, err := w.ring.Authenticate(t.Context(), w.tenant, raw, noon); err != nil {
			t.Errorf("a token from %s the rotation: %v", name, err)
		}
	}
	keys := readJWKS(t, w, w.tenant)
	if keys[0].Kid != next || keys[1].Kid != old {
		t.Errorf("published %s, %s, want the new current key and the latest previous one", keys[0].Kid, keys[1].Kid)
	}

	for i := range w.keys.signing {
		if w.keys.signing[i].Kid == old {
			w.keys.signing[i].State = tenant.KeyRevoked
		}
	}
	w.changed()
	if _, err := w.ring.Authenticate(t.Context(), w.tenant, before, noon); !errors.Is(err, tenant.ErrTokenSignature) {
		t.Errorf("after the revocation: %v, want ErrTokenSignature", err)
	}
	if _, err := w.ring.Authenticate(t.Context(), w.tenant, after, noon); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
}

// SEC-148: without a current key nothing signs in its place.
func TestNoKeySignsInAnothersPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.key(t, familyRSA, tenant.KeyCurrent).State = tenant.KeyPrevious
	if raw, err := w.minter.AccessToken(t.Context(), w.tenant, accessToken(api("", ""))); !errors.Is(err, ErrNoKey) || raw != "" {
		t.Errorf("AccessToken = %q, %v, want ErrNoKey", raw, err)
	}
	if raw, err := w.minter.IDToken(t.Context(), w.tenant, idToken()); !errors.Is(err, ErrNoKey) || raw != "" {
		t.Errorf("IDToken = %q, %v, want ErrNoKey", raw, err)
	}
}

// A record that does not hold together is a fault, not another key.
func TestDamagedKeysAreFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T, *world){
		"two private keys swapped (SEC-137)": func(t *testing.T, w *world) {
			a, b := w.key(t, familyRSA, tenant.KeyCurrent), w.key(t, familyRSA, tenant.KeyNext)
			a.Private, b.Private = b.Private, a.Private
		},
		"another public key": func(t *testing.T, w *world) {
			w.key(t, familyRSA, tenant.KeyCurrent).Public = w.key(t, familyRSA, tenant.KeyNext).Public
		},
		"no base64":   func(t *testing.T, w *world) { w.key(t, familyRSA, tenant.KeyNext).Public = "*" },
		"no key":      func(t *testing.T, w *world) { w.key(t, familyRSA, tenant.KeyNext).Public = "AAAA" },
		"certificate": func(t *testing.T, w *world) { w.key(t, familyRSA, tenant.KeyNext).Certificate = "*" },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			damage(t, w)
			if _, err := w.ring.JWKS(t.Context(), w.tenant); err == nil || errors.Is(err, ErrNoKey) {
				t.Errorf("JWKS = %v, want a fault", err)
			}
		})
	}
}

// performance.md: keys are read once a configuration version, whoever asks.
func TestRingReadsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := w.ring.JWKS(t.Context(), w.tenant); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if w.keys.reads != 1 {
		t.Errorf("%d reads for 16 requests, want 1", w.keys.reads)
	}
	earlier := w.tenant
	w.changed()
	before, _ := w.ring.state(t.Context(), earlier)
	after, err := w.ring.state(t.Context(), w.tenant)
	if err != nil || w.keys.reads != 2 {
		t.Errorf("%d reads after a change, %v, want 2", w.keys.reads, err)
	}
	kid := w.key(t, familyRSA, tenant.KeyCurrent).Kid
	if before.byKid[kid].private != after.byKid[kid].private {
		t.Error("a key that has not changed was parsed again")
	}
	if _, err := w.ring.JWKS(t.Context(), earlier); err != nil || w.keys.reads != 2 {
		t.Errorf("a request with the older version made %d reads, %v", w.keys.reads, err)
	}
}

func TestRingWaitsNoLongerThanTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.ring.cache.entry(w.tenant.ID)
	e.turn <- struct{}{} // somebody loads, for ever
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.ring.JWKS(ctx, w.tenant); !errors.Is(err, context.Canceled) {
		t.Errorf("JWKS = %v, want context.Canceled", err)
	}
}

// SEC-248: what holds keys and values prints redacted.
func TestRedaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := w.ring.state(t.Context(), w.tenant)
	if err != nil {
		t.Fatal(err)
	}
	value, _, _, err := w.refresh.New(t.Context(), w.tenant, zeros)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.refresh.Parse(t.Context(), w.tenant, value)
	if err != nil {
		t.Fatal(err)
	}
	secret := idToken()
	secret.AccessToken, secret.Code = "canary-access", "canary-code"
	for _, v := range []any{w.ring, s, s.published[0], p, secret, []Presented{p}} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
		if text := out.String(); !strings.Contains(text, redacted) || strings.Contains(text, "canary") || strings.Contains(text, "locator") {
			t.Errorf("%T prints %s", v, text)
		}
	}
}
