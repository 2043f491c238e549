//go:build !openssl || !linux

package openssl

import "crypto/rsa"

// Library is the loaded libcrypto; there is none in this build.
type Library struct{}

// Open is ErrNotBuilt.
func Open() (*Library, error) { return nil, ErrNotBuilt }

// Version is empty.
func (*Library) Version() string { return "" }

// Load is ErrNotBuilt.
func (*Library) Load(*rsa.PrivateKey) (Signer, error) { return nil, ErrNotBuilt }

// Keys is how many keys the library holds: none.
func (*Library) Keys() int64 { return 0 }
