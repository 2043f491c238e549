//go:build openssl && linux

package openssl

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
)

// libraryName is the shared library of OpenSSL 3, as the system's loader finds it.
const libraryName = "libcrypto.so.3"

// Constants of OpenSSL's headers that are part of its binary interface.
const (
	evpRSA        = 6           // EVP_PKEY_RSA
	paddingPKCS1  = 1           // RSA_PKCS1_PADDING
	paddingPSS    = 6           // RSA_PKCS1_PSS_PADDING
	saltAsDigest  = ^uintptr(0) // RSA_PSS_SALTLEN_DIGEST, -1
	initNoAtExit  = 0x00080000  // OPENSSL_INIT_NO_ATEXIT: threads of ours may sign while the process ends
	oldestVersion = 0x30000000
)

// Library is the loaded libcrypto. It stays loaded as long as the process lives.
type Library struct {
	version string
	keys    atomic.Int64

	// Addresses of its functions.
	decodeKey, freeKey, newContext, freeContext, signInit, setPadding, setDigest, setSalt, sign, sha256 uintptr
}

// Open loads the library and tests it.
func Open() (*Library, error) {
	handle, err := purego.Dlopen(libraryName, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", libraryName, err)
	}
	l := &Library{}
	var initialize, versionNumber, versionText uintptr
	for name, address := range map[string]*uintptr{
		"OPENSSL_init_crypto": &initialize, "OpenSSL_version_num": &versionNumber, "OpenSSL_version": &versionText,
		"d2i_PrivateKey": &l.decodeKey, "EVP_PKEY_free": &l.freeKey,
		"EVP_PKEY_CTX_new": &l.newContext, "EVP_PKEY_CTX_free": &l.freeContext,
		"EVP_PKEY_sign_init": &l.signInit, "EVP_PKEY_sign": &l.sign,
		"EVP_PKEY_CTX_set_rsa_padding": &l.setPadding, "EVP_PKEY_CTX_set_signature_md": &l.setDigest,
		"EVP_PKEY_CTX_set_rsa_pss_saltlen": &l.setSalt, "EVP_sha256": &l.sha256,
	} {
		if *address, err = purego.Dlsym(handle, name); err != nil {
			return nil, fmt.Errorf("load %s: %w", libraryName, err)
		}
	}
	if number, _, _ := purego.SyscallN(versionNumber); number < oldestVersion {
		return nil, fmt.Errorf("%s is older than OpenSSL 3", libraryName)
	}
	if done, _, _ := purego.SyscallN(initialize, initNoAtExit, 0); int32(done) != 1 {
		return nil, fmt.Errorf("%s does not start", libraryName)
	}
	text, _, _ := purego.SyscallN(versionText, 0)
	l.version = goString(text)
	if err := selfTest(l.Load); err != nil {
		return nil, fmt.Errorf("%s (%s): %w", libraryName, l.version, err)
	}
	return l, nil
}

// goString copies a C string of the library, of at most 128 bytes.
func goString(address uintptr) string {
	var b []byte
	for p := *(*unsafe.Pointer)(unsafe.Pointer(&address)); p != nil && len(b) < 128; p = unsafe.Add(p, 1) {
		c := *(*byte)(p)
		if c == 0 {
			break
		}
		b = append(b, c)
	}
	return string(b)
}

// Version is what the library says of itself.
func (l *Library) Version() string { return l.version }

// Keys is how many keys the library holds.
func (l *Library) Keys() int64 { return l.keys.Load() }

// key is an EVP_PKEY. Any number of threads may sign with one at once: each
// signature has a context of its own.
type key struct {
	library *Library
	handle  uintptr
	public  *rsa.PublicKey
}

// Load hands a key to the library. The library frees it, and wipes its memory,
// some time after the last reference to the Signer is gone.
func (l *Library) Load(private *rsa.PrivateKey) (Signer, error) {
	if err := checkKey(private); err != nil {
		return nil, err
	}
	der := x509.MarshalPKCS1PrivateKey(private)
	defer clear(der)
	// The library moves the pointer it is given to the end of der, where a
	// pointer of Go must not point: hence an integer.
	start := uintptr(unsafe.Pointer(&der[0]))
	handle, _, _ := purego.SyscallN(l.decodeKey, evpRSA, 0, uintptr(unsafe.Pointer(&start)), uintptr(len(der)))
	runtime.KeepAlive(der)
	if handle == 0 {
		return nil, ErrKey
	}
	k := &key{library: l, handle: handle, public: &private.PublicKey}
	l.keys.Add(1)
	runtime.AddCleanup(k, func(handle uintptr) {
		_, _, _ = purego.SyscallN(l.freeKey, handle)
		l.keys.Add(-1)
	}, handle)
	return k, nil
}

// Public implements crypto.Signer.
func (k *key) Public() crypto.PublicKey { return k.public }

// Size implements Signer.
func (k *key) Size() int { return k.public.Size() }

// Format implements fmt.Formatter (SEC-248).
func (k *key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "openssl.key([redacted])") }

var errSign = errors.New("openssl: the library did not sign")

// Sign implements crypto.Signer. The library has its own randomness.
func (k *key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	pss, err := scheme(digest, opts)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(k) // not freed before the library is done
	l := k.library
	context, _, _ := purego.SyscallN(l.newContext, k.handle, 0)
	if context == 0 {
		return nil, errSign
	}
	defer func() { _, _, _ = purego.SyscallN(l.freeContext, context) }()
	if !did(l.signInit, context) {
		return nil, errSign
	}
	padding := uintptr(paddingPKCS1)
	if pss {
		padding = paddingPSS
	}
	md, _, _ := purego.SyscallN(l.sha256)
	if !did(l.setPadding, context, padding) || !did(l.setDigest, context, md) || pss && !did(l.setSalt, context, saltAsDigest) {
		return nil, errSign
	}
	signature := make([]byte, k.Size())
	length := uintptr(len(signature))
	done, _, _ := purego.SyscallN(l.sign, context, uintptr(unsafe.Pointer(&signature[0])), uintptr(unsafe.Pointer(&length)),
		uintptr(unsafe.Pointer(&digest[0])), uintptr(len(digest)))
	runtime.KeepAlive(digest)
	if int32(done) != 1 || length != uintptr(len(signature)) {
		return nil, errSign
	}
	return signature, nil
}

// did calls a function whose good result is 1 (others are 0 or negative; an int
// is 32 bits).
func did(function uintptr, args ...uintptr) bool {
	r, _, _ := purego.SyscallN(function, args...)
	return int32(r) == 1
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
