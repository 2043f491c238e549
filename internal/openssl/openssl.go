// Package openssl makes RSA signatures with the system's libcrypto, which is
// faster than the standard library; by how much depends on the processor (D7,
// docs/figures.md). The library is loaded while the program runs, without cgo,
// and only in programs built with the tag openssl, on Linux; in all others Open
// is ErrNotBuilt.
//
// It promises: a library that cannot be loaded, is older than OpenSSL 3 or gives
// a wrong known answer is an error of Open and nothing else; a key is handed to
// the library once and freed when it is no longer referred to; keys and the
// library are safe for concurrent use. It refuses every operation but signing,
// and every scheme but PKCS #1 v1.5 and PSS with SHA-256. Whether a signature is
// right its caller has to ask somebody else.
package openssl

import (
	"crypto"
	"errors"
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
