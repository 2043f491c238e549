package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// foreign are another issuer's keys; RSA keys take their time.
var foreign = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	ec := func(c elliptic.Curve) crypto.Signer { k, err := ecdsa.GenerateKey(c, rand.Reader); return must(k, err) }
	bits := func(n int) crypto.Signer { k, err := rsa.GenerateKey(rand.Reader, n); return must(k, err) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"RS256": bits(2048), "ES256": ec(elliptic.P256()), "EdDSA": must(ed, err), "P-384": ec(elliptic.P384()), "1024": bits(1024),
	}
})

func pkcs8(k crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// jwk writes a private JWK (RFC 7518 §6, RFC 8037 §2), with changes to it.
func jwk(k crypto.Signer, changes ...string) []byte {
	m := map[string]string{"kid": "from-jwk"}
	put := func(name string, b []byte) { m[name] = base64.RawURLEncoding.EncodeToString(b) }
	switch k := k.(type) {
	case *rsa.PrivateKey:
		m["kty"] = "RSA"
		for name, n := range map[string]*big.Int{"n": k.N, "e": big.NewInt(int64(k.E)), "d": k.D, "p": k.Primes[0], "q": k.Primes[1]} {
			put(name, n.Bytes())
		}
	case *ecdsa.PrivateKey:
		m["kty"], m["crv"] = "EC", "P-256"
		point, _ := k.PublicKey.Bytes()
		d, _ := k.Bytes()
		put("x", point[1:33])
		put("y", point[33:])
		put("d", d)
	case ed25519.PrivateKey:
		m["kty"], m["crv"] = "OKP", "Ed25519"
		put("x", k[32:])
		put("d", k.Seed())
	}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
	}
	b, _ := json.Marshal(m)
	return b
}

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	keys := foreign()
	rsaKey, ecKey := keys["RS256"].(*rsa.PrivateKey), keys["ES256"].(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	other := base64.RawURLEncoding.EncodeToString(keys["1024"].(*rsa.PrivateKey).Primes[0].Bytes())
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	tests := map[string]struct {
		data []byte
		want crypto.Signer // nil: refused
		kid  string
	}{
		"PKCS #8 RSA":     {pkcs8(rsaKey), rsaKey, ""},
		"PKCS #8 EC":      {pkcs8(ecKey), ecKey, ""},
		"PKCS #8 Ed25519": {pkcs8(keys["EdDSA"]), keys["EdDSA"], ""},
		"PKCS #1":         {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), rsaKey, ""},
		"SEC 1":           {block("EC PRIVATE KEY", sec1), ecKey, ""},
		"JWK RSA":         {jwk(rsaKey), rsaKey, "from-jwk"},
		"JWK EC":          {jwk(ecKey, "use", "sig"), ecKey, "from-jwk"},
		"JWK Ed25519":     {jwk(keys["EdDSA"]), keys["EdDSA"], "from-jwk"},

		"empty":                     {nil, nil, ""},
		"text":                      {[]byte("secret"), nil, ""},
		"a public key":              {block("PUBLIC KEY", []byte{1}), nil, ""},
		"encrypted":                 {block("ENCRYPTED PRIVATE KEY", []byte{1}), nil, ""},
		"damaged":                   {block("PRIVATE KEY", []byte{1, 2, 3}), nil, ""},
		"two keys":                  {append(pkcs8(rsaKey), pkcs8(ecKey)...), nil, ""},
		"RSA of 1024 bits (SEC-78)": {pkcs8(keys["1024"]), nil, ""},
		"another curve":             {pkcs8(keys["P-384"]), nil, ""},
		"too large":                 {[]byte(strings.Repeat("x", 1<<20)), nil, ""},
		"JWK for encryption":        {jwk(rsaKey, "use", "enc"), nil, ""},
		"JWK without d":             {jwk(rsaKey, "d", ""), nil, ""},
		"JWK with a wrong prime":    {jwk(rsaKey, "p", other), nil, ""},
		"JWK of many primes":        {jwk(rsaKey, "oth", "x"), nil, ""},
		"JWK of a secret":           {[]byte(`{"kty":"oct","k":"c2VjcmV0"}`), nil, ""},
		"JWK with a foreign x":      {jwk(ecKey, "x", "AAAA"), nil, ""},
		"JWK with a foreign Ed x":   {jwk(keys["EdDSA"], "x", "AAAA"), nil, ""},
		"JWK that is cut":           {jwk(rsaKey)[:40], nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, kid, err := token.ParsePrivateKey(tt.data)
			if tt.want == nil {
				if !errors.Is(err, token.ErrImport) {
					t.Errorf("ParsePrivateKey = %v, want ErrImport", err)
				}
				return
			}
			if err != nil || kid != tt.kid || !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(tt.want.Public()) {
				t.Errorf("ParsePrivateKey = kid %q, %v", kid, err)
			}
		})
	}
}

func FuzzParsePrivateKey(f *testing.F) {
	for _, k := range foreign() {
		f.Add(pkcs8(k))
		if _, ok := k.(ed25519.PrivateKey); ok {
			f.Add(jwk(k))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, _, err := token.ParsePrivateKey(data)
		if (k == nil) != (err != nil) || err != nil && !errors.Is(err, token.ErrImport) {
			t.Errorf("ParsePrivateKey = %T, %v", k, err)
		}
	})
}

// An imported key keeps its kid: it signs at once, after the next rotation, or
// only verifies; and a kid is never used twice (SEC-145).
func TestImport(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		family := strings.Replace(alg, "RS256", "RSA", 1)
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			r := newRing(t, alg)
			key := foreign()[alg]
			ours, next := r.key(family, tenant.KeyCurrent), r.key(family, tenant.KeyNext)
			before := r.mustMint(alg, time.Hour)
			if err := r.Import(t.Context(), r.tenant(), key, "theirs", tenant.KeyCurrent, frame); err != nil {
				t.Fatal(err)
			}
			raw := r.mustMint(alg, time.Hour)
			if r.key(family, tenant.KeyCurrent).Kid != "theirs" || r.key(family, tenant.KeyPrevious).Kid != ours.Kid {
				t.Error("the imported key is not current, or ours not previous")
			}
			for _, raw := range []string{before, raw} {
				if err := r.authenticate(raw); err != nil {
					t.Error(err)
				}
			}
			if !strings.Contains(r.serve(), `"kid":"theirs"`) {
				t.Error("the imported key is not published under its kid")
			}
			for _, state := range []tenant.KeyState{tenant.KeyCurrent, tenant.KeyNext, tenant.KeyPrevious} {
				if err := r.Import(t.Context(), r.tenant(), key, "theirs", state, frame); !errors.Is(err, token.ErrImport) {
					t.Errorf("the same kid again as %s: %v", state, err)
				}
			}
			if err := r.Import(t.Context(), r.tenant(), key, "queued", tenant.KeyNext, frame); err != nil {
				t.Fatal(err)
			}
			if r.key(family, tenant.KeyNext).Kid != "queued" || r.key(family, tenant.KeyRevoked).Kid != next.Kid {
				t.Error("the imported key is not next, or ours not gone")
			}
			if err := r.Import(t.Context(), r.tenant(), key, "former", tenant.KeyPrevious, frame); err != nil {
				t.Fatal(err)
			}
			for _, k := range r.keys(family, tenant.KeyPrevious) {
				if k.Kid == "former" && (k.Private != "" || !k.NeededUntil().After(noon.Add(tenant.MaxTokenLifetime))) {
					t.Errorf("the former key is kept with its private half, or only until %v", k.NeededUntil())
				}
			}
			for _, kid := range []string{"", "a/b", "a'b", "a b", "ä", strings.Repeat("x", 256)} {
				if err := r.Import(t.Context(), r.tenant(), key, kid, tenant.KeyPrevious, frame); !errors.Is(err, token.ErrImport) {
					t.Errorf("kid %q: %v", kid, err)
				}
			}
			if err := r.Import(t.Context(), r.tenant(), key, "dead", tenant.KeyRevoked, frame); !errors.Is(err, token.ErrImport) {
				t.Errorf("as revoked: %v", err)
			}
		})
	}
}

// keeper keeps a key as a KMS would, and can be told to fail.
type keeper struct {
	key    crypto.Signer
	opened *atomic.Int32
	broken *atomic.Bool
}

func (k keeper) Signer(_ context.Context, t tenant.Tenant, kid, reference string) (crypto.Signer, error) {
	k.opened.Add(1)
	if t.ID != "t1" || kid != "hsm-1" || reference != "slot 7" {
		return nil, errors.New("no such key")
	}
	return k, nil
}

func (k keeper) Public() crypto.PublicKey { return k.key.Public() }

func (k keeper) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := k.key.Sign(rand, digest, opts)
	if err == nil && k.broken.Load() {
		signature[len(signature)-1] ^= 1
	}
	return signature, err
}

// A key that is kept elsewhere signs through crypto.Signer. It is opened once,
// what it signs is checked, and without its keeper nothing signs in its place
// (SEC-148).
func TestAdopt(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			k := keeper{key: foreign()[strings.Replace(alg, "PS", "RS", 1)], opened: new(atomic.Int32), broken: new(atomic.Bool)}
			r := newRing(t, alg)
			if err := r.Adopt(t.Context(), r.tenant(), k, "hsm-1", "slot 7", tenant.KeyCurrent, frame); err != nil {
				t.Fatal(err)
			}
			if _, err := r.mint(alg, time.Hour); err == nil {
				t.Error("a server that knows no keeper signs")
			}
			r.read = token.NewRingWith(r.store, r.vault, token.RingOptions{Signers: k})
			r.minter = token.NewMinter(r.read, rand.Reader)
			for range 3 {
				if err := r.authenticate(r.mustMint(alg, time.Hour)); err != nil {
					t.Error(err)
				}
			}
			if n := k.opened.Load(); n != 1 {
				t.Errorf("the key was opened %d times", n)
			}
			k.broken.Store(true)
			if raw, err := r.mint(alg, time.Hour); err == nil {
				t.Errorf("a wrong signature left: %s", raw)
			}
		})
	}
}
