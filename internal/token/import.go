package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// ErrImport refuses a key to import; what wraps it says why and never repeats
// the key.
var ErrImport = errors.New("this key cannot be imported")

const maxImport = 32 << 10

// ParsePrivateKey reads a private key: PEM (PKCS #8, PKCS #1, SEC 1) or a JWK,
// whose kid it tells. RSA of 2048 to 4096 bits, P-256 and Ed25519 are taken.
func ParsePrivateKey(data []byte) (key crypto.Signer, kid string, err error) {
	if len(data) > maxImport {
		return nil, "", refused("too large")
	}
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "{") {
		key, kid, err = parseJWK([]byte(text))
	} else {
		key, err = parsePEM(data)
	}
	if err != nil {
		return nil, "", err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 4096 || key.E != 65537 { // SEC-78, SEC-90
			return nil, "", refused("RSA keys must have 2048 to 4096 bits and the exponent 65537")
		}
		if err := key.Validate(); err != nil {
			return nil, "", refused("its parts do not belong together")
		}
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, "", refused("the only curve is P-256")
		}
	case ed25519.PrivateKey:
	default:
		return nil, "", refused("neither RSA, nor EC, nor Ed25519")
	}
	return key, kid, nil
}

func refused(why string) error { return fmt.Errorf("%w: %s", ErrImport, why) }

func parsePEM(data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, refused("neither PEM nor a JWK")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, refused("more than one PEM block")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, refused("it is encrypted; decrypt it first")
		}
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, refused("it is encrypted; decrypt it first")
	default:
		return nil, refused("not a private key")
	}
	if err != nil {
		return nil, refused("damaged, or of an unknown kind") // the cause could repeat key material
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, refused("it does not sign")
	}
	return key, nil
}

// parseJWK reads a private JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
func parseJWK(data []byte) (crypto.Signer, string, error) {
	var j struct {
		Kty, Kid, Use, Crv  string
		N, E, D, P, Q, X, Y string
		Oth                 json.RawMessage
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, "", refused("not a JWK")
	}
	if j.Use != "" && j.Use != "sig" {
		return nil, "", refused("its use is not sig")
	}
	var bad bool
	bytes := func(member string) []byte {
		b, ok := decode(member)
		bad = bad || !ok || len(b) == 0
		return b
	}
	number := func(member string) *big.Int { return new(big.Int).SetBytes(bytes(member)) }
	switch {
	case j.Kty == "RSA" && j.Oth == nil:
		n, e, d, p, q := number(j.N), number(j.E), number(j.D), number(j.P), number(j.Q)
		if bad || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, "", refused("a JWK of an RSA key needs n, e, d, p and q")
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e.Int64())}, D: d, Primes: []*big.Int{p, q}}
		if key.Validate() != nil {
			return nil, "", refused("its parts do not belong together")
		}
		key.Precompute()
		return key, j.Kid, nil
	case j.Kty == "EC" && j.Crv == "P-256":
		d, x, y := bytes(j.D), bytes(j.X), bytes(j.Y)
		if bad {
			return nil, "", refused("a JWK of an EC key needs d, x and y")
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
		if err != nil {
			return nil, "", refused("damaged")
		}
		point, err := key.PublicKey.Bytes()
		if err != nil || string(point[1:]) != string(x)+string(y) {
			return nil, "", refused("its parts do not belong together")
		}
		return key, j.Kid, nil
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		d, x := bytes(j.D), bytes(j.X)
		if bad || len(d) != ed25519.SeedSize {
			return nil, "", refused("a JWK of an Ed25519 key needs d and x")
		}
		key := ed25519.NewKeyFromSeed(d)
		if string(key[ed25519.SeedSize:]) != string(x) {
			return nil, "", refused("its parts do not belong together")
		}
		return key, j.Kid, nil
	}
	return nil, "", refused("neither RSA, nor P-256, nor Ed25519")
}

// Import puts a key that another issuer has used on the ring, under its kid, so
// that tokens and verifiers of that issuer go on:
//
//   - current: it signs from now on, and the key it replaces is previous. It is
//     meant for a key that verifiers know already.
//   - next: it is published, and signs after the next rotation. The key it
//     replaces has signed nothing and is revoked.
//   - previous: it is published for the tokens it has signed, as long as any can
//     live, and never signs here; its private half is not kept.
func (r *Keyring) Import(ctx context.Context, t tenant.Tenant, key crypto.Signer, kid string, state tenant.KeyState, e tenant.Event) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return refused("of an unknown kind")
	}
	sealed := ""
	if state != tenant.KeyPrevious {
		if sealed, err = r.vault.Seal(ctx, t, purposeSigningKey, kid, der); err != nil {
			return err
		}
	}
	return r.put(ctx, t, key, kid, sealed, state, "imported", e)
}

// Adopt puts a key on the ring that is kept elsewhere: key signs with it, now for
// its certificate, and reference is what RingOptions.Signers finds it by.
// Everything else is as with Import.
func (r *Keyring) Adopt(ctx context.Context, t tenant.Tenant, key crypto.Signer, kid, reference string, state tenant.KeyState, e tenant.Event) error {
	if reference == "" || len(reference) > 1024 {
		return refused("it needs a reference of at most 1024 bytes")
	}
	return r.put(ctx, t, key, kid, elsewhere+reference, state, "adopted", e)
}

func (r *Keyring) put(ctx context.Context, t tenant.Tenant, key crypto.Signer, kid, private string, state tenant.KeyState, reason string, e tenant.Event) error {
	if !validKid(kid) {
		return refused("it needs a kid of 1 to 255 characters: letters, digits and - _ . ~ : + =")
	}
	now := r.clock.Now()
	k := tenant.SigningKey{TenantID: t.ID, Kid: kid, State: state, Private: private, CreatedAt: now, LongestLifetime: tenant.MaxTokenLifetime}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		k.Algorithm = familyRSA
	case *ecdsa.PublicKey:
		k.Algorithm = familyES256
		if public.Curve != elliptic.P256() {
			return refused("the only curve is P-256")
		}
	case ed25519.PublicKey:
		k.Algorithm = familyEdDSA
	default:
		return refused("neither RSA, nor EC, nor Ed25519")
	}
	switch state {
	case tenant.KeyCurrent:
		k.CurrentSince = now
	case tenant.KeyPrevious:
		k.CurrentUntil = now
	case tenant.KeyNext:
	default:
		return refused("a key is imported as current, next or previous")
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return refused("of an unknown kind")
	}
	k.Public = base64.StdEncoding.EncodeToString(public)
	if k.Algorithm == familyRSA {
		if k.Certificate, err = certificate(key, t.Domain, now); err != nil {
			return err
		}
	}
	keys, err := r.store.SigningKeys(ctx, t.ID)
	if err != nil {
		return fmt.Errorf("list signing keys of tenant %s: %w", t.ID, err)
	}
	change := tenant.KeyReplacement{Key: k, At: now}
	if old := find(keys, k.Algorithm, state); old != nil && state != tenant.KeyPrevious {
		change.Replaces = old.Kid
	}
	change.Event = withDetails(keyEvent(e, t, k), map[string]any{"replaces": change.Replaces})
	change.Event.Reason = reason
	err = r.store.ReplaceSigningKey(ctx, change)
	if errors.Is(err, tenant.ErrExists) {
		return refused("its kid is taken, and a kid is never used again")
	}
	if err != nil {
		return fmt.Errorf("import signing key %s of tenant %s: %w", kid, t.ID, err)
	}
	return nil
}

// validKid takes what other issuers use, thumbprints and random ids, and nothing
// that means something in a path, a header or SQL (SEC-88).
func validKid(kid string) bool {
	for _, c := range []byte(kid) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.~:+=", rune(c)) {
			return false
		}
	}
	return kid != "" && len(kid) <= 255
}
