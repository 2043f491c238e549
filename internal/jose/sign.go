package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"sync"
)

// Signer makes the signature octets of one algorithm with one key (RFC 7515
// §5.1 step 5). It is the door for other back ends (D7); all of ours are safe
// for concurrent use.
type Signer interface {
	Sign(input []byte) ([]byte, error)
}

// signerFunc is a Signer made of a function.
type signerFunc func(input []byte) ([]byte, error)

func (f signerFunc) Sign(input []byte) ([]byte, error) { return f(input) }

// unusable is the Signer for a key that must not sign: the caller learns it
// with the first token rather than by a panic in a server that runs.
func unusable(why string) Signer {
	err := fmt.Errorf("%w: %s", ErrKey, why)
	return signerFunc(func([]byte) ([]byte, error) { return nil, err })
}

// NewRSASigner signs with RS256, RS512 or PS256. Keys of less than 2048 bits
// and other algorithms give a Signer that only returns ErrKey (SEC-78).
func NewRSASigner(alg Algorithm, key *rsa.PrivateKey) Signer {
	if key == nil || !fitRSA(&key.PublicKey) {
		return unusable("weak RSA key")
	}
	key.Precompute() // once, not in the first request
	switch alg {
	case RS256:
		return signerFunc(func(input []byte) ([]byte, error) {
			sum := sha256.Sum256(input)
			return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		})
	case RS512:
		return signerFunc(func(input []byte) ([]byte, error) {
			sum := sha512.Sum512(input)
			return rsa.SignPKCS1v15(nil, key, crypto.SHA512, sum[:])
		})
	case PS256:
		return signerFunc(func(input []byte) ([]byte, error) {
			sum := sha256.Sum256(input)
			return rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], pssOptions)
		})
	}
	return unusable("not an RSA algorithm")
}

// RFC 7518 §3.5: the salt is as long as the hash.
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

// NewECSigner signs with ES256; a key of another curve gives a Signer that
// only returns ErrKey.
func NewECSigner(key *ecdsa.PrivateKey) Signer {
	if key == nil || key.Curve != elliptic.P256() {
		return unusable("not a P-256 key")
	}
	return signerFunc(func(input []byte) ([]byte, error) {
		sum := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		sig := make([]byte, 64) // RFC 7518 §3.4: r and s, 32 octets each
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig, nil
	})
}

// NewEdSigner signs with EdDSA on Ed25519 (RFC 8037 §3.1).
func NewEdSigner(key ed25519.PrivateKey) Signer {
	if len(key) != ed25519.PrivateKeySize {
		return unusable("not an Ed25519 key")
	}
	return signerFunc(func(input []byte) ([]byte, error) {
		return ed25519.Sign(key, input), nil
	})
}

// NewHMACSigner signs with HS256. A secret shorter than 32 bytes gives a
// Signer that only returns ErrKey (RFC 7518 §3.2, SEC-78). The secret is
// copied.
func NewHMACSigner(secret []byte) Signer {
	if len(secret) < minSecret {
		return unusable("secret shorter than 256 bits")
	}
	m := newMAC(append([]byte(nil), secret...))
	return signerFunc(func(input []byte) ([]byte, error) {
		return m.sum(nil, input), nil
	})
}

// mac computes HMACs with one secret. Its states are used again, since what
// they have made of the secret is half of the work for a small token.
type mac struct{ states sync.Pool }

func newMAC(secret []byte) *mac {
	return &mac{states: sync.Pool{New: func() any {
		h := hmac.New(sha256.New, secret)
		return &h
	}}}
}

func sumHMAC(secret, input []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(input)
	return h.Sum(nil)
}

// sum appends the MAC of input to dst.
func (m *mac) sum(dst, input []byte) []byte {
	h := m.states.Get().(*hash.Hash)
	(*h).Reset()
	(*h).Write(input)
	dst = (*h).Sum(dst)
	m.states.Put(h)
	return dst
}
