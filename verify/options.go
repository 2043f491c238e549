package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Secret is the shared secret of HS256. Printed, JSON and logged forms are
// redacted (SEC-248).
type Secret []byte

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Options configure a Verifier. Issuer and Audience are required, the zero
// value of everything else is a good default.
type Options struct {
	// Issuer is the issuer's identifier, exactly as in iss, with its slash if
	// it has one: "https://tenant.example.com/". It must be https, or http on
	// a loopback address (SEC-220).
	Issuer string
	// Audience lists the identifiers of this API. A token passes when its aud
	// holds one of them.
	Audience []string
	// Algorithms lists the acceptable values of alg: RS256, RS512, PS256,
	// ES256, EdDSA, or HS256 alone. Default RS256, or HS256 with a Secret. The
	// token has no say in it (SEC-87).
	Algorithms []string
	// RequiredTyp is the one acceptable typ. By default "JWT", "at+jwt" and no
	// typ pass. "at+jwt" also asks for the claims that RFC 9068 requires.
	RequiredTyp string
	// ClockSkew is how far our clock and the issuer's may differ: at most a
	// minute, default 10 s, negative means none.
	ClockSkew time.Duration

	// The source of keys is discovery at Issuer unless one of these is given.

	// JWKSURL is the address of the key set, for issuers without discovery.
	JWKSURL string
	// Keys is a fixed key set, a JWKS in JSON; nothing is fetched.
	Keys []byte
	// Secret is the API's secret for HS256, at least 32 bytes. Whoever has it
	// can make tokens: prefer RS256.
	Secret Secret
	// Fetch returns the key set, a JWKS in JSON, from wherever it is; it is
	// called and cached like a request to JWKSURL.
	Fetch func(context.Context) ([]byte, error)

	// HTTPClient makes the requests; its transport is where a private
	// authority goes. Redirects to another host are refused and a fetch ends
	// after 5 s whatever it says. Default http.DefaultTransport.
	HTTPClient *http.Client
	// CacheLifetime is how long a fetched key set is used before it is fetched
	// again, in the background from four fifths on, at most: an answer with a
	// shorter max-age is used for that. Default 10 minutes. When the issuer
	// cannot be reached the old set serves on for up to 24 hours.
	CacheLifetime time.Duration
	// MinCacheLifetime is how long it is used at least, whatever the answer
	// says. Default a minute, or CacheLifetime if that is less.
	MinCacheLifetime time.Duration
	// RefetchInterval is the least time between two fetches caused by tokens
	// with unknown keys or bad signatures. Default 30 s.
	RefetchInterval time.Duration
	// TokenCache is how many verified tokens are remembered, so that their
	// signature is checked once. Their times, their key's place in the key set
	// and their revocation are judged at each use (SEC-98). Default none.
	TokenCache int

	// What makes a token die before it expires. Without either of the two, a
	// token that was revoked passes until its exp.

	// Feed is the issuer's revocation feed; it may serve several Verifiers. A
	// revocation counts within 10 s while the feed is reachable (SEC-130).
	Feed *Feed
	// MaxFeedAge is the age of the feed from which it is out of date. Default
	// 30 s.
	MaxFeedAge time.Duration
	// OldFeed says what is done with tokens while the feed is out of date, or
	// has never been heard: by default they are refused with ErrUnavailable.
	OldFeed Failure
	// Introspection asks the issuer about each token.
	Introspection *Introspection

	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Failure is what to do with a token that is good as far as we know, when the
// one who would know of its revocation cannot be asked.
type Failure int

// The two answers to a failure.
const (
	// FailClosed refuses it for the moment: ErrUnavailable, 503.
	FailClosed Failure = iota
	// FailOpen lets it pass, until its exp.
	FailOpen
)

const (
	defaultSkew     = 10 * time.Second // SEC-96
	maxSkew         = time.Minute
	defaultLifetime = 10 * time.Minute // keys-and-validation.md §3
	defaultFloor    = time.Minute
	defaultInterval = 30 * time.Second // SEC-89
	defaultFeedAge  = 30 * time.Second
)

// New returns a Verifier. It makes no request: the first Verify does.
func New(o Options) (*Verifier, error) {
	v := &Verifier{
		issuer:   o.Issuer,
		audience: append([]string(nil), o.Audience...),
		typ:      mediaType(o.RequiredTyp),
		skew:     o.ClockSkew,
		now:      o.Now,
		feed:     o.Feed,
		feedAge:  o.MaxFeedAge,
		oldFeed:  o.OldFeed,
	}
	if err := checkURL(o.Issuer); err != nil {
		return nil, fmt.Errorf("verify: Issuer: %w", err)
	}
	if len(o.Audience) == 0 {
		return nil, errors.New("verify: Audience: the identifier of this API is required")
	}
	for _, a := range o.Audience {
		if a == "" {
			return nil, errors.New("verify: Audience: an empty value")
		}
	}
	switch {
	case v.skew == 0:
		v.skew = defaultSkew
	case v.skew < 0:
		v.skew = 0
	case v.skew > maxSkew:
		return nil, errors.New("verify: ClockSkew: more than a minute")
	}
	if v.now == nil {
		v.now = time.Now
	}
	v.spelled = newSpellings(append([]string{v.issuer}, v.audience...)...)
	var err error
	if v.algorithms, err = algorithms(&o); err != nil {
		return nil, err
	}
	if v.keys, err = newKeys(&o, v.now); err != nil {
		return nil, err
	}
	if v.feedAge <= 0 {
		v.feedAge = defaultFeedAge
	}
	if o.TokenCache > 0 {
		v.cache = newCache[cached](o.TokenCache)
	}
	if o.Introspection != nil {
		if v.introspection, err = newIntrospector(&o, v.now); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// algorithms reads Options.Algorithms. HMAC stands alone: beside an asymmetric
// algorithm a public key could be passed off as the secret (SEC-78, SEC-87).
func algorithms(o *Options) ([]jose.Algorithm, error) {
	names := o.Algorithms
	if len(names) == 0 {
		names = []string{string(jose.RS256)}
		if o.Secret != nil {
			names = []string{string(jose.HS256)}
		}
	}
	var algs []jose.Algorithm
	for _, name := range names {
		alg := jose.Algorithm(name)
		switch alg {
		case jose.RS256, jose.RS512, jose.PS256, jose.ES256, jose.EdDSA:
			if o.Secret != nil {
				return nil, errors.New("verify: Algorithms: a Secret is for HS256 alone")
			}
		case jose.HS256:
			if o.Secret == nil {
				return nil, errors.New("verify: Algorithms: HS256 needs a Secret and stands alone")
			}
		default:
			return nil, fmt.Errorf("verify: Algorithms: unknown algorithm %q", name)
		}
		algs = append(algs, alg)
	}
	return algs, nil
}

// newKeys makes the key set from the one source that o names.
func newKeys(o *Options, now func() time.Time) (*keySet, error) {
	k := &keySet{now: now, lifetime: o.CacheLifetime, floor: o.MinCacheLifetime, interval: o.RefetchInterval}
	if k.lifetime <= 0 {
		k.lifetime = defaultLifetime
	}
	if k.floor <= 0 {
		k.floor = defaultFloor
	}
	k.floor = min(k.floor, k.lifetime)
	if k.interval <= 0 {
		k.interval = defaultInterval
	}
	sources := 0
	if o.Secret != nil {
		sources++
		key := jose.Key{Secret: append(jose.Secret(nil), o.Secret...)}
		if !key.Fits(jose.HS256) {
			return nil, errors.New("verify: Secret: shorter than 32 bytes")
		}
		k.current.Store(newSnapshot([]jose.Key{key.Prepared()}))
	}
	if o.Keys != nil {
		sources++
		set, err := jose.ParseSet(o.Keys)
		if err != nil || len(set.Keys) == 0 {
			return nil, errors.New("verify: Keys: not a JWKS with a usable key")
		}
		k.current.Store(newSnapshot(set.Keys))
	}
	if o.Fetch != nil {
		sources++
		fetch := o.Fetch
		k.fetch = func(ctx context.Context, _ string) (fetched, error) {
			body, err := fetch(ctx)
			return fetched{body: body}, err
		}
	}
	if o.JWKSURL != "" {
		sources++
		if err := checkURL(o.JWKSURL); err != nil {
			return nil, fmt.Errorf("verify: JWKSURL: %w", err)
		}
	}
	if sources > 1 {
		return nil, errors.New("verify: give one of JWKSURL, Keys, Secret and Fetch")
	}
	if k.fetch == nil && k.current.Load() == nil {
		k.fetch = newRemote(o).fetch
	}
	return k, nil
}

// checkURL accepts https, and http to this machine (SEC-220).
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not an absolute URL")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("must be https")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
