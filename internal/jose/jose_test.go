package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
)

var rsaTestKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var ecTestKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

var edTestKey = sync.OnceValue(func() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

var testSecret = bytes.Repeat([]byte("s3cret--"), 4)

// pair is a way to sign and the key that checks it.
type pair struct {
	alg    Algorithm
	signer Signer
	key    Key
}

func pairs() []pair {
	r, e, d := rsaTestKey(), ecTestKey(), edTestKey()
	return []pair{
		{RS256, NewRSASigner(RS256, r), Key{Public: &r.PublicKey}},
		{RS512, NewRSASigner(RS512, r), Key{Public: &r.PublicKey}},
		{PS256, NewRSASigner(PS256, r), Key{Public: &r.PublicKey}},
		{ES256, NewECSigner(e), Key{Public: &e.PublicKey}},
		{EdDSA, NewEdSigner(d), Key{Public: d.Public().(ed25519.PublicKey)}},
		{HS256, NewHMACSigner(testSecret), Key{Secret: testSecret}},
	}
}

func TestEncodeThenVerify(t *testing.T) {
	t.Parallel()
	for _, p := range pairs() {
		t.Run(string(p.alg), func(t *testing.T) {
			t.Parallel()
			enc := NewEncoder(Header{Alg: p.alg, Typ: "at+jwt", Kid: `k"1`}, p.signer)
			payload := []byte(`{"sub":"a"}`)
			out, err := enc.Encode([]byte("before "), payload)
			if err != nil {
				t.Fatal(err)
			}
			raw, ok := strings.CutPrefix(string(out), "before ")
			if !ok {
				t.Fatalf("Encode did not append: %q", out)
			}
			tok, err := ParseCompact(raw)
			if err != nil {
				t.Fatal(err)
			}
			if tok.Alg != p.alg || tok.Typ != "at+jwt" || tok.Kid != `k"1` || !bytes.Equal(tok.Payload, payload) {
				t.Errorf("read back alg %q typ %q kid %q payload %s", tok.Alg, tok.Typ, tok.Kid, tok.Payload)
			}
			if err := p.key.Verify(tok.Alg, tok.SigningInput, tok.Signature); err != nil {
				t.Errorf("Verify = %v, want nil", err)
			}
			for _, sig := range [][]byte{nil, {}, tok.Signature[1:], append(bytes.Clone(tok.Signature), 0), make([]byte, len(tok.Signature))} {
				if err := p.key.Verify(tok.Alg, tok.SigningInput, sig); err != ErrSignature {
					t.Errorf("Verify with %d octets of another signature = %v, want ErrSignature", len(sig), err)
				}
			}
		})
	}
}

func TestSignersAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	for _, p := range pairs() {
		enc := NewEncoder(Header{Alg: p.alg}, p.signer)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				raw, err := enc.Encode(nil, fmt.Appendf(nil, `{"n":%d}`, i))
				if err != nil {
					t.Error(err)
					return
				}
				tok, err := ParseCompact(string(raw))
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.key.Verify(p.alg, tok.SigningInput, tok.Signature); err != nil {
					t.Errorf("%s: %v", p.alg, err)
				}
			})
		}
		wg.Wait()
	}
}

// SEC-87: each algorithm verifies with its own kind of key and no other. The
// worst of these is the public key's bytes taken for an HMAC secret
// (CVE-2015-9235).
func TestAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	input := []byte("a.b")
	all := pairs()
	for _, signed := range all {
		sig, err := signed.signer.Sign(input)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			for _, alg := range []Algorithm{RS256, RS512, PS256, ES256, EdDSA, HS256, "none", "None", "", "hs256", "RS384", "HS512"} {
				err := p.key.Verify(alg, input, sig)
				good := alg == signed.alg && alg == p.alg
				rsaKey := p.alg == RS256 || p.alg == RS512 || p.alg == PS256
				good = good || rsaKey && alg == signed.alg && (alg == RS256 || alg == RS512 || alg == PS256)
				if good != (err == nil) {
					t.Errorf("signed with %s, key of %s, verified as %q: %v", signed.alg, p.alg, alg, err)
				}
			}
		}
	}

	pub := &rsaTestKey().PublicKey
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Key{Public: pub}).Verify(HS256, input, sumHMAC(der, input)); err != ErrKey {
		t.Errorf("HMAC under the public key = %v, want ErrKey", err)
	}
	if err := (Key{Public: pub, Secret: der}).Verify(HS256, input, sumHMAC(der, input)); err != ErrKey {
		t.Errorf("key that is both = %v, want ErrKey", err)
	}
	sig, err := NewRSASigner(PS256, rsaTestKey()).Sign(input)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Key{Public: pub, Alg: RS256}).Verify(PS256, input, sig); err != ErrKey {
		t.Errorf("key marked RS256 verifies PS256: %v, want ErrKey", err)
	}
	if err := (Key{Public: pub, Use: "enc"}).Verify(PS256, input, sig); err != ErrKey {
		t.Errorf("key marked enc verifies: %v, want ErrKey", err)
	}
}

// SEC-90: weak and invalid keys neither sign nor verify.
func TestUnfitKeys(t *testing.T) {
	t.Parallel()
	good := &rsaTestKey().PublicKey
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]struct {
		key Key
		alg Algorithm
	}{
		"1024 bits":        {Key{Public: &rsa.PublicKey{N: new(big.Int).Rsh(good.N, 1024), E: 65537}}, RS256},
		"16384 bits":       {Key{Public: &rsa.PublicKey{N: new(big.Int).Lsh(good.N, 14336), E: 65537}}, RS256},
		"exponent 1":       {Key{Public: &rsa.PublicKey{N: good.N, E: 1}}, RS256},
		"exponent 3":       {Key{Public: &rsa.PublicKey{N: good.N, E: 3}}, RS256},
		"even exponent":    {Key{Public: &rsa.PublicKey{N: good.N, E: 65538}}, RS256},
		"no modulus":       {Key{Public: &rsa.PublicKey{E: 65537}}, RS256},
		"nil RSA":          {Key{Public: (*rsa.PublicKey)(nil)}, RS256},
		"RSA by value":     {Key{Public: *good}, RS256},
		"P-384":            {Key{Public: &p384.PublicKey}, ES256},
		"nil EC":           {Key{Public: (*ecdsa.PublicKey)(nil)}, ES256},
		"short Ed25519":    {Key{Public: ed25519.PublicKey(make([]byte, 31))}, EdDSA},
		"short secret":     {Key{Secret: make([]byte, 31)}, HS256},
		"empty secret":     {Key{Secret: []byte{}}, HS256},
		"nothing":          {Key{}, HS256},
		"private RSA key":  {Key{Public: crypto.PublicKey(rsaTestKey())}, RS256},
		"secret for RS256": {Key{Secret: testSecret}, RS256},
	}
	for name, tt := range keys {
		if err := tt.key.Verify(tt.alg, []byte("a.b"), make([]byte, 256)); err != ErrKey {
			t.Errorf("%s: Verify = %v, want ErrKey", name, err)
		}
	}
	signers := map[string]Signer{
		"RSA for ES256":  NewRSASigner(ES256, rsaTestKey()),
		"RSA for none":   NewRSASigner("none", rsaTestKey()),
		"no RSA key":     NewRSASigner(RS256, nil),
		"P-384":          NewECSigner(p384),
		"no EC key":      NewECSigner(nil),
		"no Ed25519 key": NewEdSigner(nil),
		"short secret":   NewHMACSigner(make([]byte, 31)),
	}
	for name, s := range signers {
		if sig, err := s.Sign([]byte("a.b")); !errors.Is(err, ErrKey) || sig != nil {
			t.Errorf("%s: Sign = %x, %v; want ErrKey", name, sig, err)
		}
		if out, err := NewEncoder(Header{Alg: RS256}, s).Encode([]byte("x"), []byte("{}")); err == nil || string(out) != "x" {
			t.Errorf("%s: Encode = %q, %v; want an error and dst as it was", name, out, err)
		}
	}
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // no other way leads to a point off the curve
	if err := (Key{Public: off}).Verify(ES256, []byte("a.b"), bytes.Repeat([]byte{1}, 64)); err == nil {
		t.Error("a point off the curve verifies")
	}
	if _, err := Thumbprint(off); err == nil {
		t.Error("a point off the curve has a thumbprint")
	}
}

// SEC-248: no printed, JSON or logged form of a key shows its secret.
func TestSecretIsRedacted(t *testing.T) {
	t.Parallel()
	k := Key{Kid: "k", Secret: testSecret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%b"} {
		fmt.Fprintf(&out, verb, k)
		fmt.Fprintf(&out, verb, k.Secret)
		fmt.Fprintf(&out, verb, []Key{k})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", k.Secret, "struct", struct{ S Secret }{testSecret})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", k.Secret, "key", k)
	j, err := json.Marshal(k.Secret)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	if out.Len() == 0 {
		t.Fatal("nothing was printed")
	}
	for _, leak := range []string{"s3cret", fmt.Sprintf("%x", "s3cret"), fmt.Sprintf("%X", "s3cret"), "115 51 99", "czNjcmV0"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("printed forms contain %q", leak)
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("a symmetric key was written as a JWK")
	}
}

func BenchmarkEncodeRS256(b *testing.B) {
	enc := NewEncoder(Header{Alg: RS256, Typ: "JWT", Kid: "kid"}, NewRSASigner(RS256, rsaTestKey()))
	payload := []byte(`{"iss":"https://localhost:8443/","sub":"a@clients","aud":"https://api","iat":1,"exp":2}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := enc.Encode(nil, payload); err != nil {
			b.Fatal(err)
		}
	}
}
