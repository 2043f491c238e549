package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"math/big"
)

const (
	minRSABits  = 2048 // SEC-90; RFC 7518 §3.3
	maxRSABits  = 8192 // beyond it a check takes longer than an answer may (SEC-100)
	minExponent = 1 << 16
	minSecret   = 32 // RFC 7518 §3.2
)

// Key verifies signatures: a public key, or the secret of an HMAC. A Key with
// both, or with neither, verifies nothing.
type Key struct {
	Kid    string
	Alg    Algorithm        // empty: any algorithm that fits the key
	Use    string           // empty or "sig"
	Public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Secret Secret           // HS256 only
	X5C    [][]byte         // certificate chain in DER; written, never believed (SEC-88)
	X5T    string           // base64url SHA-1 of X5C[0] (RFC 7517 §4.8)

	mac *mac // of Secret, once Prepared
}

// Prepared returns the key with what can be computed once for many checks. The
// secret must not change after that.
func (k Key) Prepared() Key {
	if k.Secret != nil {
		k.mac = newMAC(k.Secret)
	}
	return k
}

// Fits reports whether the key may verify alg: that is decided by the key's
// type, strength and marks, never by the token (SEC-87, SEC-90).
func (k Key) Fits(alg Algorithm) bool {
	if k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != alg {
		return false
	}
	if k.Secret != nil {
		return k.Public == nil && alg == HS256 && len(k.Secret) >= minSecret
	}
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return (alg == RS256 || alg == RS512 || alg == PS256) && fitRSA(pub)
	case *ecdsa.PublicKey:
		return alg == ES256 && pub != nil && pub.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == EdDSA && len(pub) == ed25519.PublicKeySize
	}
	return false
}

func fitRSA(pub *rsa.PublicKey) bool {
	if pub == nil || pub.N == nil {
		return false
	}
	bits := pub.N.BitLen()
	return bits >= minRSABits && bits <= maxRSABits && pub.E > minExponent && pub.E&1 == 1 && pub.E <= 1<<31-1
}

// Verify checks that sig is this key's signature of input under alg. It
// returns nil, ErrKey or ErrSignature.
func (k Key) Verify(alg Algorithm, input, sig []byte) error {
	if !k.Fits(alg) {
		return ErrKey
	}
	if k.Secret != nil {
		if k.mac == nil {
			return signatureIf(hmac.Equal(sig, sumHMAC(k.Secret, input)))
		}
		return signatureIf(hmac.Equal(sig, k.mac.sum(make([]byte, 0, sha256.Size), input)))
	}
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return signatureIf(verifyRSA(pub, alg, input, sig) == nil)
	case *ecdsa.PublicKey:
		return signatureIf(verifyEC(pub, input, sig))
	case ed25519.PublicKey:
		return signatureIf(len(sig) == ed25519.SignatureSize && ed25519.Verify(pub, input, sig))
	}
	return ErrKey
}

func signatureIf(good bool) error {
	if good {
		return nil
	}
	return ErrSignature
}

func verifyRSA(pub *rsa.PublicKey, alg Algorithm, input, sig []byte) error {
	switch alg {
	case RS512:
		sum := sha512.Sum512(input)
		return rsa.VerifyPKCS1v15(pub, crypto.SHA512, sum[:], sig)
	case PS256:
		sum := sha256.Sum256(input)
		return rsa.VerifyPSS(pub, crypto.SHA256, sum[:], sig, pssOptions)
	default:
		sum := sha256.Sum256(input)
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig)
	}
}

// verifyEC checks r and s of 32 octets each (RFC 7518 §3.4). Zero is refused
// here as well as below: that check was once forgotten (CVE-2022-21449). The
// standard library refuses a point that is not on the curve.
func verifyEC(pub *ecdsa.PublicKey, input, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	if r.Sign() == 0 || s.Sign() == 0 {
		return false
	}
	sum := sha256.Sum256(input)
	return ecdsa.Verify(pub, sum[:], r, s)
}

// MarshalJSON writes the public key as a JWK (RFC 7517 §4, RFC 7518 §6) in the
// vendor's order of members. A symmetric key is an error: it is never published.
func (k Key) MarshalJSON() ([]byte, error) {
	if k.Secret != nil {
		return nil, fmt.Errorf("%w: a symmetric key is not published", ErrKey)
	}
	p, err := jwkParams(k.Public)
	if err != nil {
		return nil, err
	}
	dst := append(make([]byte, 0, 2048), '{')
	member := func(name, value string) {
		if value == "" {
			return
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, name), ':')
		dst = AppendString(dst, value)
	}
	member("kty", p.kty)
	member("use", k.Use)
	member("crv", p.crv)
	member("n", p.n)
	member("e", p.e)
	member("x", p.x)
	member("y", p.y)
	member("kid", k.Kid)
	member("x5t", k.X5T)
	if len(k.X5C) > 0 {
		dst = append(dst, `,"x5c":[`...)
		for i, der := range k.X5C {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"') // RFC 7517 §4.7: plain base64, not base64url
			dst = append(base64.StdEncoding.AppendEncode(dst, der), '"')
		}
		dst = append(dst, ']')
	}
	member("alg", string(k.Alg))
	return append(dst, '}'), nil
}

// params are the members of a JWK that make the key (RFC 7518 §6).
type params struct{ kty, crv, n, e, x, y string }

func jwkParams(public crypto.PublicKey) (params, error) {
	switch pub := public.(type) {
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil {
			break
		}
		return params{
			kty: "RSA",
			n:   b64.EncodeToString(pub.N.Bytes()),
			e:   b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
		}, nil
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve != elliptic.P256() {
			break
		}
		point, err := pub.Bytes() // 4 ‖ x ‖ y, after checking that it is on the curve
		if err != nil {
			return params{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		return params{
			kty: "EC", crv: "P-256",
			x: b64.EncodeToString(point[1:33]),
			y: b64.EncodeToString(point[33:]),
		}, nil
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			break
		}
		return params{kty: "OKP", crv: "Ed25519", x: b64.EncodeToString(pub)}, nil
	}
	return params{}, fmt.Errorf("%w: unsupported key type %T", ErrKey, public)
}

// Thumbprint returns the SHA-256 thumbprint of a public key, base64url
// (RFC 7638 §3; RFC 8037 §2 for Ed25519).
func Thumbprint(public crypto.PublicKey) (string, error) {
	p, err := jwkParams(public)
	if err != nil {
		return "", err
	}
	var canonical string // members in lexical order, no space
	switch p.kty {
	case "RSA":
		canonical = `{"e":"` + p.e + `","kty":"RSA","n":"` + p.n + `"}`
	case "EC":
		canonical = `{"crv":"` + p.crv + `","kty":"EC","x":"` + p.x + `","y":"` + p.y + `"}`
	default:
		canonical = `{"crv":"` + p.crv + `","kty":"OKP","x":"` + p.x + `"}`
	}
	sum := sha256.Sum256([]byte(canonical))
	return b64.EncodeToString(sum[:]), nil
}
