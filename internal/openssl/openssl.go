// Package openssl makes RSA signatures with the system's libcrypto, about four
// times as fast as the standard library does (D7). The library is loaded while
// the program runs, without cgo, and only in programs built with the tag
// openssl, on Linux; in all others Open is ErrNotBuilt.
//
// It promises: a library that cannot be loaded, is older than OpenSSL 3 or gives
// a wrong known answer is an error of Open and nothing else; a key is handed to
// the library once and freed when it is no longer referred to; keys and the
// library are safe for concurrent use. It refuses every operation but signing,
// and every scheme but PKCS #1 v1.5 and PSS with SHA-256. Whether a signature is
// right its caller has to ask somebody else.
package openssl

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
)

var (
	// ErrNotBuilt is that this program was built without the tag openssl.
	ErrNotBuilt = errors.New("built without the tag openssl")
	// ErrScheme refuses what the package does not sign.
	ErrScheme = errors.New("openssl: neither PKCS #1 v1.5 nor PSS with SHA-256")
	// ErrKey refuses a key: not 2048 to 4096 bits, or damaged.
	ErrKey = errors.New("openssl: unusable key")
)

// Signer is a key that the library holds.
type Signer interface {
	crypto.Signer
	// Size is the length of a signature.
	Size() int
}

// checkKey holds what the library is given to what SEC-78 allows.
func checkKey(key *rsa.PrivateKey) error {
	if key == nil || key.N == nil || key.N.BitLen() < 2048 || key.N.BitLen() > 4096 || key.N.BitLen()%8 != 0 {
		return ErrKey
	}
	return nil
}

// scheme reads the options of a signature: PSS or PKCS #1 v1.5.
func scheme(digest []byte, opts crypto.SignerOpts) (pss bool, err error) {
	if opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return false, ErrScheme
	}
	if o, ok := opts.(*rsa.PSSOptions); ok {
		if o.SaltLength != rsa.PSSSaltLengthEqualsHash {
			return false, ErrScheme
		}
		return true, nil
	}
	return false, nil
}

// selfTest signs with a known key: PKCS #1 v1.5 has one right answer, and of PSS
// the standard library tells. load hands a key to the library.
func selfTest(load func(*rsa.PrivateKey) (Signer, error)) error {
	der, err := base64.StdEncoding.DecodeString(knownKey)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return err
	}
	want, err := base64.StdEncoding.DecodeString(knownSignature)
	if err != nil {
		return err
	}
	s, err := load(key)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	sum := sha256.Sum256([]byte("known answer"))
	got, err := s.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("self-test: wrong answer of PKCS #1 v1.5")
	}
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	if got, err = s.Sign(nil, sum[:], pss); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum[:], got, pss) != nil {
		return errors.New("self-test: wrong answer of PSS")
	}
	return nil
}
