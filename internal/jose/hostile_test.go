package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
)

// Signatures that were accepted somewhere once, made anew for our keys and our
// input. Each table begins with good ones, so that a check that refuses
// everything does not pass. (SEC-87, SEC-90, SEC-93)
type hostile struct {
	name string
	sig  []byte
	good bool
}

func checkHostile(t *testing.T, k Key, alg Algorithm, input []byte, vectors []hostile) {
	t.Helper()
	for _, v := range vectors {
		err := k.Verify(alg, input, v.sig)
		if v.good && err != nil || !v.good && !errors.Is(err, ErrSignature) {
			t.Errorf("%s, %s: %v, want good %v", alg, v.name, err, v.good)
		}
	}
	good := vectors[0].sig
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 0x10
		if err := k.Verify(alg, input, changed); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, byte %d changed: %v", alg, i, err)
		}
		if err := k.Verify(alg, input, good[:i]); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, cut to %d bytes: %v", alg, i, err)
		}
	}
	for _, other := range [][]byte{nil, input[:len(input)-1], append(bytes.Clone(input), 0)} {
		if err := k.Verify(alg, other, good); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, over another input of %d bytes: %v", alg, len(other), err)
		}
	}
}

// rawRSA is m^d mod n: a signature of whatever padding em is.
func rawRSA(k *rsa.PrivateKey, em []byte) []byte {
	m := new(big.Int).SetBytes(em)
	return m.Exp(m, k.D, k.N).FillBytes(make([]byte, k.Size()))
}

// pkcs1 is 00 01 ff … ff 00 and what follows, as long as the modulus.
func pkcs1(size int, tail []byte) []byte {
	em := bytes.Repeat([]byte{0xff}, size)
	em[0], em[1] = 0, 1
	em[size-len(tail)-1] = 0
	copy(em[size-len(tail):], tail)
	return em
}

func TestHostileRSASignatures(t *testing.T) {
	t.Parallel()
	priv := rsaTestKey()
	k := Key{Public: &priv.PublicKey}
	size := priv.Size()
	input := []byte("eyJhbGciOiJSUzI1NiJ9.e30")
	sum := sha256.Sum256(input)
	sum512 := sha512.Sum512(input)
	sum1 := sha1.Sum(input)
	must := func(sig []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	good := must(rsa.SignPKCS1v15(nil, priv, crypto.SHA256, sum[:]))

	// DigestInfo of SHA-256: sequence{sequence{oid, null}, octets}.
	oid := []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01}
	info := func(algorithm []byte, digest []byte) []byte {
		inner := append([]byte{0x30, byte(len(algorithm))}, algorithm...)
		inner = append(append(inner, 0x04, byte(len(digest))), digest...)
		return append([]byte{0x30, byte(len(inner))}, inner...)
	}
	named := append([]byte{0x06, 9}, oid...)
	withNull := append(slices.Clone(named), 0x05, 0x00)
	proper := info(withNull, sum[:])

	early := pkcs1(size, append(append([]byte{}, proper...), make([]byte, 100)...)) // digest, then garbage
	short := bytes.Repeat([]byte{0}, size)
	short[1] = 1
	short[2] = 0xff
	copy(short[4:], proper) // one byte of padding, digest on the left
	holes := pkcs1(size, proper)
	holes[10] = 0xfe
	type2 := pkcs1(size, proper)
	type2[1] = 2
	type0 := pkcs1(size, proper)
	type0[1] = 0
	zero := pkcs1(size, proper)
	zero[20] = 0
	ber := pkcs1(size, append([]byte{0x30, 0x81, byte(len(proper) - 2)}, proper[2:]...))
	n := priv.N
	plusN := new(big.Int).Add(new(big.Int).SetBytes(good), n).Bytes()
	minus := new(big.Int).Sub(n, new(big.Int).SetBytes(good)).FillBytes(make([]byte, size))

	checkHostile(t, k, RS256, input, []hostile{
		{"as it should be", good, true},
		{"the same by hand", rawRSA(priv, pkcs1(size, proper)), true},
		{"a zero in front", append([]byte{0}, good...), false},
		{"a zero behind", append(bytes.Clone(good), 0), false},
		{"twice", append(bytes.Clone(good), good...), false},
		{"plus the modulus", plusN, false},
		{"modulus less it", minus, false},
		{"nothing", nil, false},
		{"zero", make([]byte, size), false},
		{"one", big.NewInt(1).FillBytes(make([]byte, size)), false},
		{"the modulus", n.FillBytes(make([]byte, size)), false},
		{"modulus less one", new(big.Int).Sub(n, big.NewInt(1)).FillBytes(make([]byte, size)), false},
		{"all ones", bytes.Repeat([]byte{0xff}, size), false},
		{"padding itself, unsigned", pkcs1(size, proper), false},
		{"no NULL beside the hash's name", rawRSA(priv, pkcs1(size, info(named, sum[:]))), false},
		{"parameters instead of NULL", rawRSA(priv, pkcs1(size, info(append(slices.Clone(named), 0x04, 0x02, 1, 2), sum[:]))), false},
		{"length in BER", rawRSA(priv, ber), false},
		{"digest without its name", rawRSA(priv, pkcs1(size, sum[:])), false},
		{"digest in quotes of SHA-512", rawRSA(priv, pkcs1(size, info(append([]byte{0x06, 9}, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 5, 0), sum[:]))), false},
		{"garbage after the digest", rawRSA(priv, early), false},
		{"digest on the left", rawRSA(priv, short), false},
		{"padding with a hole", rawRSA(priv, holes), false},
		{"padding with a zero", rawRSA(priv, zero), false},
		{"block type 2", rawRSA(priv, type2), false},
		{"block type 0", rawRSA(priv, type0), false},
		{"SHA-1", must(rsa.SignPKCS1v15(nil, priv, crypto.SHA1, sum1[:])), false},
		{"SHA-512", must(rsa.SignPKCS1v15(nil, priv, crypto.SHA512, sum512[:])), false},
		{"no hash at all", must(rsa.SignPKCS1v15(nil, priv, 0, sum[:])), false},
		{"PSS", must(rsa.SignPSS(rand.Reader, priv, crypto.SHA256, sum[:], pssOptions)), false},
		{"digest of the digest", must(rsa.SignPKCS1v15(nil, priv, crypto.SHA256, func() []byte { s := sha256.Sum256(sum[:]); return s[:] }())), false},
	})
	pss := func(salt int) []byte {
		return must(rsa.SignPSS(rand.Reader, priv, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt}))
	}
	checkHostile(t, k, PS256, input, []hostile{
		{"as it should be", pss(32), true},
		{"again, with another salt", pss(32), true},
		{"no salt", pss(0), false},
		{"a salt of 20 bytes", pss(20), false},
		{"a salt of 31 bytes", pss(31), false},
		{"a salt of 33 bytes", pss(33), false},
		{"the longest salt", pss(rsa.PSSSaltLengthAuto), false},
		{"SHA-512", must(rsa.SignPSS(rand.Reader, priv, crypto.SHA512, sum512[:], &rsa.PSSOptions{SaltLength: 32})), false},
		{"PKCS 1.5", good, false},
		{"a zero in front", append([]byte{0}, pss(32)...), false},
		{"nothing", nil, false},
		{"zero", make([]byte, size), false},
		{"all ones", bytes.Repeat([]byte{0xff}, size), false},
	})
}

func TestHostileECDSASignatures(t *testing.T) {
	t.Parallel()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := Key{Public: &priv.PublicKey}
	input := []byte("eyJhbGciOiJFUzI1NiJ9.e30")
	good, err := NewECSigner(priv).Sign(input)
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	p := elliptic.P256().Params().P
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	join := func(r, s *big.Int) []byte {
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	zero, one, top := new(big.Int), big.NewInt(1), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	less := func(x *big.Int) *big.Int { return new(big.Int).Sub(n, x) }
	sum512 := sha512.Sum512(input)
	r5, s5, err := ecdsa.Sign(rand.Reader, priv, sum512[:])
	if err != nil {
		t.Fatal(err)
	}
	vectors := []hostile{
		{"as it should be", good, true},
		// The other s belongs to the same r. RFC 7518 does not choose between
		// them; nothing here takes a signature for the name of a token.
		{"the other s", join(r, less(s)), true},
		{"r and s swapped", join(s, r), false},
		{"the other r", join(less(r), s), false},
		{"in DER", der, false},
		{"in DER, filled up", append(bytes.Clone(der), make([]byte, max(0, 64-len(der)))...), false},
		{"a zero in front of each", slices.Concat([]byte{0}, good[:32], []byte{0}, good[32:]), false},
		{"a zero in front", append([]byte{0}, good...), false},
		{"a zero behind", append(bytes.Clone(good), 0), false},
		{"r alone", good[:32], false},
		{"96 bytes, as of P-384", append(make([]byte, 32), good...), false},
		{"nothing", nil, false},
		{"over SHA-512", join(r5, s5), false},
	}
	edges := map[string]*big.Int{"0": zero, "1": one, "n": n, "n-1": less(one), "n+1": new(big.Int).Add(n, one), "p": p, "2^256-1": top}
	for a, x := range edges {
		vectors = append(vectors, hostile{"r = " + a, join(x, s), false}, hostile{"s = " + a, join(r, x), false})
		for b, y := range edges {
			vectors = append(vectors, hostile{"r = " + a + ", s = " + b, join(x, y), false})
		}
	}
	checkHostile(t, k, ES256, input, vectors)
}

func TestHostileEdDSASignatures(t *testing.T) {
	t.Parallel()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := Key{Public: pub}
	input := []byte("eyJhbGciOiJFZERTQSJ9.e30")
	good := ed25519.Sign(priv, input)
	// The order of the base point, and S is little-endian.
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := func(x *big.Int) []byte { b := x.FillBytes(make([]byte, 32)); slices.Reverse(b); return b }
	s := bytes.Clone(good[32:])
	slices.Reverse(s)
	with := func(r, s []byte) []byte { return slices.Concat(r, s) }
	plus := func(times int64) []byte {
		x := new(big.Int).Add(new(big.Int).SetBytes(s), new(big.Int).Mul(order, big.NewInt(times)))
		return with(good[:32], little(x))
	}
	identity := make([]byte, 32)
	identity[0] = 1
	hashed, err := priv.Sign(nil, func() []byte { h := sha512.Sum512(input); return h[:] }(), &ed25519.Options{Hash: crypto.SHA512})
	if err != nil {
		t.Fatal(err)
	}
	inContext, err := priv.Sign(nil, input, &ed25519.Options{Context: "token"})
	if err != nil {
		t.Fatal(err)
	}
	checkHostile(t, k, EdDSA, input, []hostile{
		{"as it should be", good, true},
		{"S plus the order", plus(1), false},
		{"S plus seven times the order", plus(7), false},
		{"S = the order", with(good[:32], little(order)), false},
		{"S = 0", with(good[:32], make([]byte, 32)), false},
		{"R = the identity, S = 0", with(identity, make([]byte, 32)), false},
		{"R = the public key", with(pub, good[32:]), false},
		{"R and S swapped", with(good[32:], good[:32]), false},
		{"R's sign turned", func() []byte { c := bytes.Clone(good); c[31] ^= 0x80; return c }(), false},
		{"all zeros", make([]byte, 64), false},
		{"all ones", bytes.Repeat([]byte{0xff}, 64), false},
		{"a zero behind", append(bytes.Clone(good), 0), false},
		{"nothing", nil, false},
		{"Ed25519ph", hashed, false},
		{"Ed25519ctx", inContext, false},
	})
}

func TestHostileMACs(t *testing.T) {
	t.Parallel()
	k := Key{Secret: testSecret}
	input := []byte("eyJhbGciOiJIUzI1NiJ9.e30")
	good := sumHMAC(testSecret, input)
	mac := func(secret, input []byte) []byte { return sumHMAC(secret, input) }
	long := hmac.New(sha512.New, testSecret)
	long.Write(input)
	plain := sha256.Sum256(append(bytes.Clone(testSecret), input...))
	vectors := []hostile{
		{"as it should be", good, true},
		// HMAC fills a secret up with zeros (RFC 2104 §2): one more is the same.
		{"secret with a zero behind", mac(append(bytes.Clone(testSecret), 0), input), len(testSecret) < sha256.BlockSize},
		{"no secret", mac(nil, input), false},
		{"half of the secret", mac(testSecret[:len(testSecret)/2], input), false},
		{"secret in base64", mac([]byte(b64.EncodeToString(testSecret)), input), false},
		{"HS512", long.Sum(nil), false},
		{"HS512, cut", long.Sum(nil)[:32], false},
		{"hash without HMAC", plain[:], false},
		{"twice", append(bytes.Clone(good), good...), false},
		{"a zero behind", append(bytes.Clone(good), 0), false},
		{"backwards", func() []byte { c := bytes.Clone(good); slices.Reverse(c); return c }(), false},
		{"nothing", nil, false},
		{"zero", make([]byte, 32), false},
	}
	checkHostile(t, k, HS256, input, vectors)
	checkHostile(t, k.Prepared(), HS256, input, vectors) // with states that are used again
}
