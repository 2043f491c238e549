package assertion

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/bulla-auth/bulla/internal/jose"
)

const (
	// MaxSize is the longest assertion, in bytes (authentication-api.md §4.1).
	MaxSize = 2048
	// MaxIDSize is the longest client id and jti, in characters.
	MaxIDSize = 64
	// MaxAhead is how far ahead of now an assertion may end (SEC-11).
	MaxAhead = 5 * time.Minute
	// maxFuture is how far ahead of our clock the client's may be when it stamps
	// iat and nbf (SEC-11).
	maxFuture = 60 * time.Second
	// skew is the tolerance for exp (authentication-api.md §4.1).
	skew = 10 * time.Second
)

// ErrRefused is the one error for an assertion that proves nothing; the text
// behind it says which demand was not met, for the event log.
var ErrRefused = errors.New("client assertion refused")

func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// Credential is a public key registered for the client.
type Credential struct {
	// Kid is the key id that its assertions may name, or empty.
	Kid string
	// Alg is RS256, RS384 or PS256; empty means RS256.
	Alg string
	// PEM is an RSA public key or a certificate.
	PEM string
	// ExpiresAt is when it stops to work; zero means never.
	ExpiresAt time.Time
}

// Expected is what the assertion has to prove.
type Expected struct {
	// ClientID is the client that asks: iss and sub.
	ClientID string
	// Issuer is our issuer: the audience, one plain string (SEC-10).
	Issuer string
	// OtherAudiences are accepted in place of the issuer, and ArrayAudience an
	// array of one: both are per-client compatibility switches, off unless said.
	OtherAudiences []string
	ArrayAudience  bool
	Credentials    []Credential
	Now            time.Time
}

// Proof is an assertion that proved the client. Its id must be used up before
// anything is given for it.
type Proof struct {
	// Hash is the hash of the jti, and ExpiresAt when the assertion can no longer
	// be presented: until then the hash must be remembered (SEC-11).
	Hash      string
	ExpiresAt time.Time
	// Kid names the credential, or is empty when it has none.
	Kid string
}

// VerifyClient checks raw, a client assertion (RFC 7523 §3), and returns what
// must be used up. Every refusal is ErrRefused.
func VerifyClient(raw string, e Expected) (Proof, error) {
	token, err := parse(raw)
	if err != nil {
		return Proof{}, err
	}
	kid, err := verify(raw, token, e)
	if err != nil {
		return Proof{}, err
	}
	claims := token.Claims
	if text(claims, "iss") != e.ClientID || text(claims, "sub") != e.ClientID || e.ClientID == "" {
		return Proof{}, refused("iss and sub are not the client")
	}
	if !e.audience(jose.Find(claims, "aud")) {
		return Proof{}, refused("aud is not the issuer alone")
	}
	exp, ok := instant(claims, "exp")
	switch {
	case !ok:
		return Proof{}, refused("no exp")
	case !e.Now.Before(exp.Add(skew)):
		return Proof{}, refused("expired")
	case exp.After(e.Now.Add(MaxAhead + skew)):
		return Proof{}, refused("exp more than five minutes ahead")
	}
	iat, ok := instant(claims, "iat")
	if !ok || iat.After(e.Now.Add(maxFuture)) {
		return Proof{}, refused("no iat, or one in the future")
	}
	if jose.Find(claims, "nbf") != nil {
		if nbf, ok := instant(claims, "nbf"); !ok || nbf.After(e.Now.Add(maxFuture)) {
			return Proof{}, refused("nbf in the future")
		}
	}
	jti := text(claims, "jti")
	if jti == "" || len(jti) > MaxIDSize {
		return Proof{}, refused("no jti, or one too long")
	}
	sum := sha256.Sum256([]byte(jti))
	return Proof{Hash: base64.RawURLEncoding.EncodeToString(sum[:]), ExpiresAt: exp.Add(skew), Kid: kid}, nil
}

// UnverifiedClientID is the client that raw names itself, to find the keys to
// check it with: client_id may be left out beside an assertion (RFC 7521 §4.2).
// It proves nothing. The error is ErrRefused.
func UnverifiedClientID(raw string) (string, error) {
	token, err := parse(raw)
	if err != nil {
		return "", err
	}
	sub := text(token.Claims, "sub")
	if sub == "" || len(sub) > MaxIDSize || text(token.Claims, "iss") != sub {
		return "", refused("iss and sub are not one client id")
	}
	return sub, nil
}

// parse reads the assertion in the one form we read: our parser knows one
// spelling and no name twice, which go-jose leaves open.
func parse(raw string) (jose.Token, error) {
	if len(raw) > MaxSize {
		return jose.Token{}, refused("longer than 2048 bytes")
	}
	token, err := jose.ParseCompact(raw)
	if err != nil {
		return jose.Token{}, refused("not a signed JWT")
	}
	// A token made by an authorization server, ours included, is no assertion (SEC-80).
	switch token.Typ {
	case "", "JWT", "jwt", "client-authentication+jwt":
		return token, nil
	}
	return jose.Token{}, refused("not an assertion by its type")
}

// algorithms that may sign assertions. A shared secret is never one of them.
var algorithms = []gojose.SignatureAlgorithm{gojose.RS256, gojose.RS384, gojose.PS256}

// verify finds the credential that signed. A token that names a kid is checked
// with the credentials of that kid, and with those that have none; without a kid
// every credential is tried (authentication-api.md §4.1). Keys in the header are
// not looked at (SEC-12).
func verify(raw string, token jose.Token, e Expected) (kid string, err error) {
	if !slices.Contains(algorithms, gojose.SignatureAlgorithm(token.Alg)) {
		return "", refused("algorithm not allowed")
	}
	signed, err := gojose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return "", refused("not a signed JWT")
	}
	for _, c := range e.Credentials {
		if token.Kid != "" && c.Kid != "" && token.Kid != c.Kid {
			continue
		}
		if alg := c.Alg; alg != string(token.Alg) && (alg != "" || token.Alg != jose.RS256) {
			continue
		}
		if !c.ExpiresAt.IsZero() && !e.Now.Before(c.ExpiresAt) {
			continue
		}
		key, err := ParsePublicKey(c.PEM)
		if err != nil {
			continue
		}
		if _, err := signed.Verify(key); err == nil {
			return c.Kid, nil
		}
	}
	return "", refused("no credential of the client verifies it")
}

// ParsePublicKey reads an RSA public key of at least 2048 bits from PEM: PKIX,
// PKCS #1, or a certificate, of which nothing but the key counts.
func ParsePublicKey(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(trim(rest)) > 0 {
		return nil, errors.New("not one PEM block")
	}
	var key crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, errors.New("neither a public key nor a certificate")
	}
	if err != nil {
		return nil, errors.New("not a public key")
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok || !(jose.Key{Public: public}).Fits(jose.RS256) {
		return nil, errors.New("not an RSA key of 2048 bits or more")
	}
	return public, nil
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\n' || b[0] == '\r' || b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// audience tells whether aud is ours alone (SEC-10).
func (e Expected) audience(aud []byte) bool {
	s, ok := jose.StringValue(aud)
	if !ok && e.ArrayAudience {
		elements, isArray := jose.Elements(nil, aud)
		if isArray && len(elements) == 1 {
			s, ok = jose.StringValue(elements[0])
		}
	}
	return ok && s != "" && (s == e.Issuer || slices.Contains(e.OtherAudiences, s))
}

func text(claims []jose.Member, name string) string {
	s, _ := jose.StringValue(jose.Find(claims, name))
	return s
}

// instant reads a NumericDate, which others may write with a fraction (RFC 7519 §2).
func instant(claims []jose.Member, name string) (time.Time, bool) {
	v := jose.Find(claims, name)
	if len(v) == 0 || v[0] == '"' {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsNaN(f) || f <= 0 || f >= 253402300800 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)).UTC(), true
}
