package app

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"sync/atomic"

	"github.com/bulla-auth/bulla/internal/openssl"
	"github.com/bulla-auth/bulla/internal/token"
)

// openSigning chooses what signs with RSA keys: libcrypto in a program that was
// built for it and where it passes its tests, else the standard library (D7).
// Every step back to the standard library is a line in the log and a count.
func (a *App) openSigning() token.RingOptions {
	var fallbacks atomic.Int64
	a.metrics.counter("bulla_signing_fallbacks_total", "Times that signing went back to the standard library.",
		func() float64 { return float64(fallbacks.Load()) })
	library, err := openssl.Open()
	fast := 0.0
	switch {
	case err == nil:
		fast = 1
		a.log.Info("RSA keys sign with the system's library", "library", library.Version())
		a.metrics.gauge("bulla_signing_library_keys", "RSA keys that the system's library holds.",
			func() float64 { return float64(library.Keys()) })
	case !errors.Is(err, openssl.ErrNotBuilt):
		fallbacks.Add(1)
		a.log.Warn("RSA keys sign with the standard library: the system's cannot be used", "error", err)
	}
	a.metrics.gauge("bulla_signing_library", "1 when RSA keys sign with the system's library, 0 when with the standard library.",
		func() float64 { return fast })
	if err != nil {
		return token.RingOptions{}
	}
	return token.RingOptions{
		Accelerator: accelerator{library},
		Fallback: func(kid string, err error) {
			fallbacks.Add(1)
			a.log.Warn("a key signs with the standard library: the system's failed", "kid", kid, "error", err)
		},
	}
}

type accelerator struct{ library *openssl.Library }

func (f accelerator) Accelerate(key *rsa.PrivateKey) (crypto.Signer, error) {
	return f.library.Load(key)
}
