package token

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" // x5t is SHA-1 by definition (RFC 7517 §4.8); nothing rests on it
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// ErrNoKey says that the tenant has no key that may sign with the algorithm.
// Nothing else is used in its place (SEC-148).
var ErrNoKey = errors.New("no signing key")

// Ring holds the tenants' signing keys: parsed and precomputed in memory, under
// the tenant's configuration version. It is safe for concurrent use.
type Ring struct {
	keys    Keys
	vault   Vault
	signers Signers
	cache   perTenant[ringState]
	// accelerator and fallback are RingOptions' and may be nil.
	accelerator Accelerator
	fallback    func(kid string, err error)
	// served holds the tenants whose first key set has been recorded.
	served sync.Map
	tally  tally
}

// NewRing is a Ring whose keys are found in keys and opened by v.
func NewRing(keys Keys, v Vault) *Ring { return NewRingWith(keys, v, RingOptions{}) }

// RingOptions are for rings whose keys are not all in the store. The zero value
// is for the others.
type RingOptions struct {
	// Signers opens keys that are kept elsewhere; nil when there are none.
	Signers Signers
	// Accelerator signs with RSA keys in place of the standard library; nil for
	// the standard library.
	Accelerator Accelerator
	// Fallback hears, once a key and algorithm, that the Accelerator was left
	// and why; nil for nobody.
	Fallback func(kid string, err error)
}

// NewRingWith is NewRing with options.
func NewRingWith(keys Keys, v Vault, o RingOptions) *Ring {
	return &Ring{keys: keys, vault: v, signers: o.Signers, accelerator: o.Accelerator, fallback: o.Fallback}
}

// ringState is a tenant's ring at one configuration version.
type ringState struct {
	// published are the keys of the JWKS in its order: current, next, previous.
	published []*ringKey
	byKid     map[string]*ringKey
	// encoders of the current keys, one for each algorithm and type.
	encoders map[encoderName]signing
	jwks     []byte
	// opaque seals opaque tokens, authorization is the key of the first part of
	// a jti.
	opaque        cipher.AEAD
	authorization []byte
}

// signing is a key that signs with one algorithm and type.
type signing struct {
	encoder *jose.Encoder
	key     *ringKey
}

type encoderName struct {
	alg jose.Algorithm
	typ string
}

// ringKey is a parsed key. A record that has not changed is not parsed again.
type ringKey struct {
	record  tenant.SigningKey
	public  crypto.PublicKey
	private crypto.Signer // only of keys that sign
	fast    *fastKey      // nil where the standard library signs
	// longest is the longest life of a token the key has signed, a
	// time.Duration, as far as this node knows.
	longest *atomic.Int64
	x5c     [][]byte
	x5t     string
}

// Format implements fmt.Formatter (SEC-248).
func (k *ringKey) Format(f fmt.State, _ rune) { formatRedacted(f, "token.ringKey") }

// Format implements fmt.Formatter (SEC-248).
func (s *ringState) Format(f fmt.State, _ rune) { formatRedacted(f, "token.ringState") }

// Format implements fmt.Formatter (SEC-248).
func (r *Ring) Format(f fmt.State, _ rune) { formatRedacted(f, "token.Ring") }

// LogValue implements slog.LogValuer.
func (r *Ring) LogValue() slog.Value { return logRedacted("token.Ring") }

// Types of the tokens we sign.
const (
	typJWT    = "JWT"
	typAccess = "at+jwt" // RFC 9068 §2.1
)

// algorithms that each family signs.
var algorithms = map[string][]jose.Algorithm{
	familyRSA:   {jose.RS256, jose.PS256, jose.RS512},
	familyES256: {jose.ES256},
	familyEdDSA: {jose.EdDSA},
}

func (r *Ring) state(ctx context.Context, t tenant.Tenant) (*ringState, error) {
	return r.cache.get(ctx, t, func(ctx context.Context, old *ringState) (*ringState, error) {
		s, err := r.load(ctx, t, old)
		if err != nil {
			return nil, fmt.Errorf("load key ring of tenant %s: %w", t.ID, err)
		}
		return s, nil
	})
}

func (r *Ring) load(ctx context.Context, t tenant.Tenant, old *ringState) (*ringState, error) {
	records, err := r.keys.SigningKeys(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	s := &ringState{byKid: make(map[string]*ringKey), encoders: make(map[encoderName]signing)}
	for _, record := range records {
		if record.State == tenant.KeyRevoked {
			continue
		}
		k, err := r.parse(ctx, t, record, old)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", record.Kid, err)
		}
		s.published = append(s.published, k)
		s.byKid[record.Kid] = k
		if record.State == tenant.KeyCurrent {
			r.addEncoders(s, k)
		}
	}
	slices.SortStableFunc(s.published, publishedOrder)
	if s.jwks, err = s.document(t.Settings.Flags.RemoveAlgFromJWKS); err != nil {
		return nil, err
	}

	opaque, err := r.vault.Derive(ctx, t, labelOpaque)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(opaque)
	if err != nil {
		return nil, err
	}
	if s.opaque, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	s.authorization, err = r.vault.Derive(ctx, t, labelAuthorization)
	return s, err
}

// parse reads a record; the private key only of the key that signs, so that no
// other is opened without need.
func (r *Ring) parse(ctx context.Context, t tenant.Tenant, record tenant.SigningKey, old *ringState) (*ringKey, error) {
	signs := record.State == tenant.KeyCurrent
	if old != nil {
		k := old.byKid[record.Kid]
		if k != nil && sameMaterial(k.record, record) && (!signs || k.private != nil) {
			again := *k
			again.record = record
			if !signs {
				again.private, again.fast = nil, nil
			}
			return &again, nil
		}
	}
	k := &ringKey{record: record, longest: new(atomic.Int64)}
	k.longest.Store(int64(record.LongestLifetime))
	der, err := base64.StdEncoding.DecodeString(record.Public)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if k.public, err = x509.ParsePKIXPublicKey(der); err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if record.Certificate != "" {
		cert, err := base64.StdEncoding.DecodeString(record.Certificate)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		sum := sha1.Sum(cert)
		k.x5c, k.x5t = [][]byte{cert}, b64.EncodeToString(sum[:])
	}
	if !signs {
		return k, nil
	}
	if k.private, err = r.signer(ctx, t, record); err != nil || k.private != nil {
		if err == nil && !samePublic(k.private.Public(), k.public) {
			err = errors.New("read private key: not that of the public key")
		}
		return k, err
	}
	private, err := r.vault.Open(ctx, t, purposeSigningKey, record.Kid, record.Private)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("read private key: damaged") // the cause could repeat key material
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok || !samePublic(signer.Public(), k.public) {
		return nil, errors.New("read private key: not that of the public key")
	}
	k.private, k.fast = signer, r.accelerate(record.Kid, signer)
	return k, nil
}

func sameMaterial(a, b tenant.SigningKey) bool {
	return a.Private == b.Private && a.Public == b.Public && a.Certificate == b.Certificate && a.Algorithm == b.Algorithm
}

func samePublic(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// publishedOrder puts RSA keys before others, and of one family the current key
// before next and previous ones, the latest first (keys-and-validation.md §1.1).
func publishedOrder(a, b *ringKey) int {
	rank := func(k *ringKey) int {
		n := 0
		if k.record.Algorithm != familyRSA {
			n = 3
		}
		switch k.record.State {
		case tenant.KeyCurrent:
		case tenant.KeyNext:
			n++
		default:
			n += 2
		}
		return n
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return b.record.CurrentUntil.Compare(a.record.CurrentUntil)
}

func (r *Ring) addEncoders(s *ringState, k *ringKey) {
	for _, alg := range algorithms[k.record.Algorithm] {
		signer := r.signerFor(alg, k)
		for _, typ := range []string{typJWT, typAccess} {
			s.encoders[encoderName{alg, typ}] = signing{
				encoder: jose.NewEncoder(jose.Header{Alg: alg, Typ: typ, Kid: k.record.Kid}, signer), key: k,
			}
		}
	}
}

// encoder is that of the tenant's current key for alg and typ, or ErrNoKey. That
// the key signs a token of this life is counted, and a longer one than ever is
// first recorded: its key must not be removed while the token lives (SEC-141).
func (r *Ring) encoder(ctx context.Context, t tenant.Tenant, s *ringState, alg jose.Algorithm, typ string, issued, expires time.Time) (*jose.Encoder, error) {
	by, ok := s.encoders[encoderName{alg, typ}]
	if !ok {
		return nil, fmt.Errorf("%w for %s", ErrNoKey, alg)
	}
	kid, life := by.key.record.Kid, int64(expires.Sub(issued))
	if known := by.key.longest.Load(); life > known {
		if err := r.keys.ExtendSigningKey(ctx, t.ID, kid, time.Duration(life)); err != nil {
			return nil, fmt.Errorf("record the life of a token of key %s: %w", kid, err)
		}
		for known < life && !by.key.longest.CompareAndSwap(known, life) {
			known = by.key.longest.Load()
		}
	}
	r.tally.add(t.ID, kid, expires)
	return by.encoder, nil
}

// document is the JWKS: public members only, never a symmetric key (SEC-140).
func (s *ringState) document(withoutAlg bool) ([]byte, error) {
	var set jose.Set
	for _, k := range s.published {
		key := jose.Key{Kid: k.record.Kid, Use: "sig", Public: k.public, X5C: k.x5c, X5T: k.x5t}
		if !withoutAlg {
			key.Alg = algorithms[k.record.Algorithm][0]
		}
		set.Keys = append(set.Keys, key)
	}
	return json.Marshal(set)
}

// JWKS is the tenant's key set as it is published. A tenant without keys is an
// error: an empty set would tell caches to forget good keys (D7). The caller
// must not change the bytes.
func (r *Ring) JWKS(ctx context.Context, t tenant.Tenant) ([]byte, error) {
	s, err := r.state(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(s.published) == 0 {
		return nil, ErrNoKey
	}
	// Recorded before the first set leaves: a verifier can hold no older one.
	if _, ok := r.served.Load(t.ID); !ok {
		kids := make([]string, len(s.published))
		for i, k := range s.published {
			kids[i] = k.record.Kid
		}
		if err := r.keys.KeySetServed(ctx, t.ID, kids); err != nil {
			return nil, fmt.Errorf("record the first key set of tenant %s: %w", t.ID, err)
		}
		r.served.Store(t.ID, nil)
	}
	return s.jwks, nil
}

// authorizationSize is the length of the first part of a jti, in bytes.
const authorizationSize = 16

// AuthorizationHash is the keyed hash under which an authorization (a family, a
// code, a client grant and its epoch) is the first part of its tokens' jti, and
// the key of its entry on the denylist (D5).
func (r *Ring) AuthorizationHash(ctx context.Context, t tenant.Tenant, authorization string) (string, error) {
	s, err := r.state(ctx, t)
	if err != nil {
		return "", err
	}
	return b64.EncodeToString(s.authorizationHash(authorization)), nil
}

func (s *ringState) authorizationHash(authorization string) []byte {
	mac := hmac.New(sha256.New, s.authorization)
	_, _ = io.WriteString(mac, authorization)
	return mac.Sum(nil)[:authorizationSize]
}
