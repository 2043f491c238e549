package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
)

const (
	// MaxSetSize is the largest JWKS that ParseSet reads, in bytes (SEC-101).
	MaxSetSize = 256 << 10
	// MaxSetKeys is the largest number of entries, junk included (SEC-101).
	MaxSetKeys = 100
)

// Set is a JWK set (RFC 7517 §5).
type Set struct {
	Keys []Key `json:"keys"`
}

// ParseSet reads a JWK set. Entries that cannot verify a signature here are
// skipped, as RFC 7517 §5 asks: unknown types and curves, weak or broken keys,
// keys marked for something else, symmetric keys (whoever can read the set
// could sign with them), the second of two keys with one kid and type. Private
// members and certificates are not read. A set that is not JSON, too large or
// has too many entries is ErrMalformed.
func ParseSet(data []byte) (Set, error) {
	if len(data) > MaxSetSize {
		return Set{}, malformed("key set larger than 256 KiB")
	}
	members, err := AppendMembers(nil, data)
	if err != nil {
		return Set{}, err
	}
	entries, ok := Elements(nil, Find(members, "keys"))
	if !ok {
		return Set{}, malformed("no array of keys")
	}
	if len(entries) > MaxSetKeys {
		return Set{}, malformed("more than 100 keys")
	}
	set := Set{Keys: make([]Key, 0, len(entries))}
	type name struct{ kty, kid string }
	taken := make(map[name]bool, len(entries))
	for _, entry := range entries {
		k, kty, ok := parseKey(entry)
		if !ok || k.Kid != "" && taken[name{kty, k.Kid}] {
			continue
		}
		taken[name{kty, k.Kid}] = true
		set.Keys = append(set.Keys, k)
	}
	return set, nil
}

// parseKey reads one JWK and its kty, reporting whether it is a key that may
// verify signatures.
func parseKey(entry []byte) (Key, string, bool) {
	members, err := AppendMembers(nil, entry)
	if err != nil {
		return Key{}, "", false
	}
	ok := true
	text := func(name string) string {
		value := Find(members, name)
		if value == nil {
			return ""
		}
		s, isString := StringValue(value)
		ok = ok && isString
		return s
	}
	octets := func(name string) []byte {
		s := text(name)
		b, err := b64.DecodeString(s)
		ok = ok && err == nil && onlyBase64URL(s)
		return b
	}

	k := Key{Kid: text("kid"), Alg: Algorithm(text("alg")), Use: text("use"), X5T: text("x5t")}
	if !ok || len(k.Kid) > MaxKidSize || k.Use != "" && k.Use != "sig" || !mayVerify(members) {
		return Key{}, "", false
	}
	kty := text("kty")
	switch kty + " " + text("crv") {
	case "RSA ":
		k.Public = rsaKey(octets("n"), octets("e"))
	case "EC P-256":
		k.Public = ecKey(octets("x"), octets("y"))
	case "OKP Ed25519":
		k.Public = ed25519.PublicKey(octets("x"))
	}
	if !ok {
		return Key{}, "", false
	}
	for _, alg := range []Algorithm{RS256, RS512, PS256, ES256, EdDSA} {
		if k.Fits(alg) {
			return k, kty, true
		}
	}
	return Key{}, "", false
}

// mayVerify reads key_ops (RFC 7517 §4.3): absent, or with "verify" in it.
func mayVerify(members []Member) bool {
	value := Find(members, "key_ops")
	if value == nil {
		return true
	}
	ops, ok := Elements(nil, value)
	if !ok {
		return false
	}
	for _, op := range ops {
		if s, _ := StringValue(op); s == "verify" {
			return true
		}
	}
	return false
}

// rsaKey returns a key only for an exponent that an int holds everywhere;
// Key.Fits judges the rest.
func rsaKey(n, e []byte) crypto.PublicKey {
	exponent := new(big.Int).SetBytes(e)
	if len(n) > maxRSABits/8 || exponent.BitLen() > 31 {
		return nil
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
}

// ecKey returns a key only for a point on the curve, in coordinates of full
// length (RFC 7518 §6.2.1.2).
func ecKey(x, y []byte) crypto.PublicKey {
	if len(x) != 32 || len(y) != 32 {
		return nil
	}
	point := append(append([]byte{4}, x...), y...)
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil
	}
	return pub
}
