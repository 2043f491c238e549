package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Each algorithm beside the bare check of the standard library, in one run:
// the goals of performance.md D are ratios of these.
func BenchmarkVerify(b *testing.B) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	edPub, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	r := rsaKeys()[0]
	secret := bytes.Repeat([]byte("s3cret--"), 4)
	for _, bb := range []struct {
		alg    jose.Algorithm
		signer jose.Signer
		key    jose.Key
	}{
		{jose.RS256, jose.NewRSASigner(jose.RS256, r), jose.Key{Kid: "k", Public: &r.PublicKey}},
		{jose.ES256, jose.NewECSigner(ec), jose.Key{Kid: "k", Public: &ec.PublicKey}},
		{jose.EdDSA, jose.NewEdSigner(ed), jose.Key{Kid: "k", Public: edPub}},
		{jose.HS256, jose.NewHMACSigner(secret), jose.Key{Secret: secret}},
	} {
		o := Options{
			Issuer: testIssuer, Audience: []string{testAudience}, Algorithms: []string{string(bb.alg)},
			Now: func() time.Time { return noon },
		}
		if bb.alg == jose.HS256 {
			o.Secret = secret
		} else {
			set, err := json.Marshal(jose.Set{Keys: []jose.Key{bb.key}})
			if err != nil {
				b.Fatal(err)
			}
			o.Keys = set
		}
		v := mustNew(b, o)
		raw := sign(b, jose.Header{Alg: bb.alg, Typ: "at+jwt", Kid: "k"}, bb.signer, goodClaims(testIssuer).json(b))
		tok, err := jose.ParseCompact(raw)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(bb.alg)+"/bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.key.Verify(bb.alg, tok.SigningInput, tok.Signature); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(bb.alg)+"/verify", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBareRSA(b *testing.B) {
	k := rsaKeys()[0]
	input := []byte(key(0, "k0").token(b, goodClaims(testIssuer)))
	sum := sha256.Sum256(input)
	sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(input)
		if err := rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMiddlewareRS256(b *testing.B) {
	k := key(0, "k0")
	h := fixed(b, k).Middleware(nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	r := httptest.NewRequest("GET", "https://api.example/", nil)
	r.Header.Set("Authorization", "Bearer "+k.token(b, goodClaims(testIssuer)))
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 204 {
			b.Fatal(w.Code)
		}
	}
}

// Performance.md D: at most 20 allocations for RS256, 15 for HS256. Counting
// them needs no quiet machine.
func TestAllocations(t *testing.T) {
	k := key(0, "k0")
	v := fixed(t, k)
	raw := k.token(t, goodClaims(testIssuer))
	secret := bytes.Repeat([]byte("s3cret--"), 4)
	hv := mustNew(t, Options{Issuer: testIssuer, Audience: []string{testAudience}, Secret: secret, Now: func() time.Time { return noon }})
	hraw := sign(t, jose.Header{Alg: jose.HS256, Typ: "JWT"}, jose.NewHMACSigner(secret), goodClaims(testIssuer).json(t))
	for _, tt := range []struct {
		name string
		v    *Verifier
		raw  string
		most float64
	}{{"RS256", v, raw, 20}, {"HS256", hv, hraw, 15}} {
		got := testing.AllocsPerRun(100, func() {
			if _, err := tt.v.Verify(context.Background(), tt.raw); err != nil {
				t.Fatal(err)
			}
		})
		if got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}

// What a full feed costs: memory an entry, and the time of a question.
func BenchmarkFeed(b *testing.B) {
	const entries = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := newDenylist()
	for i := range uint64(entries) {
		var a authorization
		binary.BigEndian.PutUint64(a[:], i*0x9e3779b97f4a7c15)
		d.deny(a, noon.Unix()+int64(i%86400))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	k := key(0, "k0")
	tok, err := jose.ParseCompact(k.token(b, goodClaims(testIssuer).with(claimSet{"jti": jtiOf(7)})))
	if err != nil {
		b.Fatal(err)
	}
	c, err := fixed(b, k).checkClaims(&tok)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d.refuses(c) {
			b.Fatal("refused")
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
	if d.len() != entries {
		b.Fatal(d.len())
	}
}
