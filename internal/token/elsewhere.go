package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// elsewhere marks, in SigningKey.Private, a key that is not in the store: what
// follows is the reference that its keeper finds it by. Sealed keys begin
// otherwise.
const elsewhere = "elsewhere:"

// Signers opens keys that are kept elsewhere: in a PKCS #11 token, in a KMS, by
// another process. It is the one door for all of them; the ring calls it once a
// key, when it becomes current, and drops what it got when the key signs no more.
//
// The Signer gets digests, with the options of crypto/rsa and crypto/ecdsa
// (PKCS #1 v1.5, PSS with a salt as long as the hash; ECDSA in ASN.1), or for
// Ed25519 the message itself. It must be safe for concurrent use. Its public key
// must be that of the record, and every signature is checked against it before
// it leaves: a wrong one, made by a fault, can give a key away.
type Signers interface {
	Signer(ctx context.Context, t tenant.Tenant, kid, reference string) (crypto.Signer, error)
}

// signer opens the key of a record that is kept elsewhere; nil for the others.
func (r *Ring) signer(ctx context.Context, t tenant.Tenant, record tenant.SigningKey) (crypto.Signer, error) {
	reference, ok := strings.CutPrefix(record.Private, elsewhere)
	if !ok {
		return nil, nil
	}
	if r.signers == nil {
		return nil, errors.New("the key is kept elsewhere, and this server knows of no such place")
	}
	s, err := r.signers.Signer(ctx, t, record.Kid, reference)
	if err != nil {
		return nil, fmt.Errorf("open the key where it is kept: %w", err)
	}
	return checked{s}, nil
}

// checked marks a crypto.Signer of others.
type checked struct{ crypto.Signer }

// remoteSigner signs a token's input with a key of others.
type remoteSigner struct {
	alg jose.Algorithm
	key crypto.Signer
}

// Sign implements jose.Signer.
func (s remoteSigner) Sign(input []byte) ([]byte, error) {
	signature, err := s.sign(input)
	if err != nil {
		return nil, fmt.Errorf("sign where the key is kept: %w", err)
	}
	if err := (jose.Key{Public: s.key.Public()}).Verify(s.alg, input, signature); err != nil {
		return nil, fmt.Errorf("the signature made where the key is kept: %w", err)
	}
	return signature, nil
}

func (s remoteSigner) sign(input []byte) ([]byte, error) {
	switch s.alg {
	case jose.RS256:
		sum := sha256.Sum256(input)
		return s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	case jose.RS512:
		sum := sha512.Sum512(input)
		return s.key.Sign(rand.Reader, sum[:], crypto.SHA512)
	case jose.PS256:
		sum := sha256.Sum256(input)
		return s.key.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case jose.ES256:
		sum := sha256.Sum256(input)
		der, err := s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		var parts struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 ||
			parts.R.Sign() <= 0 || parts.S.Sign() <= 0 || parts.R.BitLen() > 256 || parts.S.BitLen() > 256 {
			return nil, errors.New("not an ECDSA signature")
		}
		signature := make([]byte, 64) // RFC 7518 §3.4
		parts.R.FillBytes(signature[:32])
		parts.S.FillBytes(signature[32:])
		return signature, nil
	case jose.EdDSA:
		return s.key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	return nil, jose.ErrKey
}

// signerFor is the jose.Signer of a current key for one algorithm.
func (r *Ring) signerFor(alg jose.Algorithm, k *ringKey) jose.Signer {
	switch key := k.private.(type) {
	case *rsa.PrivateKey:
		standard := jose.NewRSASigner(alg, key)
		if k.fast != nil {
			return r.fastSigner(alg, k, standard)
		}
		return standard
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return jose.NewECSigner(key)
		}
	case ed25519.PrivateKey:
		return jose.NewEdSigner(key)
	case checked:
		return remoteSigner{alg: alg, key: key.Signer}
	}
	return nil
}
