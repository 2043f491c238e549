package token

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"sync/atomic"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Accelerator makes RSA signatures faster than the standard library (D7). The
// Signer it gives must be safe for concurrent use; it is asked for RS256 and
// PS256 alone, gets digests, and is dropped when the key signs no more.
type Accelerator interface {
	Accelerate(key *rsa.PrivateKey) (crypto.Signer, error)
}

// fastKey is a key that an Accelerator has, and what it has proven.
type fastKey struct {
	signer   crypto.Signer
	rs, ps   trust
	standard *rsa.PrivateKey
}

// trust is how far a signer is believed with one algorithm.
type trust struct{ state atomic.Int32 }

const (
	untried int32 = iota
	proven
	distrusted
)

// accelerate hands a key to the Accelerator. That it is not taken is told and
// changes nothing else.
func (r *Ring) accelerate(kid string, private crypto.Signer) *fastKey {
	key, ok := private.(*rsa.PrivateKey)
	if !ok || r.accelerator == nil {
		return nil
	}
	s, err := r.accelerator.Accelerate(key)
	if err != nil {
		r.fellBack(kid, err)
		return nil
	}
	return &fastKey{signer: s, standard: key}
}

// fellBack tells that a key signs with the standard library after all.
func (r *Ring) fellBack(kid string, err error) {
	if r.fallback != nil {
		r.fallback(kid, err)
	}
}

// fastSigner signs with an accelerated key. Its first signature is checked by
// the standard library before it leaves; one that is wrong, or any error, makes
// the key sign with the standard library from then on.
type fastSigner struct {
	alg      jose.Algorithm
	key      *fastKey
	trust    *trust
	standard jose.Signer
	fellBack func(error)
}

func (r *Ring) fastSigner(alg jose.Algorithm, k *ringKey, standard jose.Signer) jose.Signer {
	s := &fastSigner{alg: alg, key: k.fast, standard: standard, fellBack: func(err error) { r.fellBack(k.record.Kid, err) }}
	switch alg {
	case jose.RS256:
		s.trust = &k.fast.rs
	case jose.PS256:
		s.trust = &k.fast.ps
	default:
		return standard
	}
	return s
}

// Sign implements jose.Signer.
func (s *fastSigner) Sign(input []byte) ([]byte, error) {
	state := s.trust.state.Load()
	if state == distrusted {
		return s.standard.Sign(input)
	}
	sum := sha256.Sum256(input)
	var opts crypto.SignerOpts = crypto.SHA256
	if s.alg == jose.PS256 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	signature, err := s.key.signer.Sign(rand.Reader, sum[:], opts)
	if err == nil && state == untried {
		err = (jose.Key{Public: &s.key.standard.PublicKey}).Verify(s.alg, input, signature)
		if err == nil {
			s.trust.state.CompareAndSwap(untried, proven)
		}
	}
	if err != nil {
		if s.trust.state.Swap(distrusted) != distrusted {
			s.fellBack(fmt.Errorf("sign with %s: %w", s.alg, err))
		}
		return s.standard.Sign(input)
	}
	return signature, nil
}
