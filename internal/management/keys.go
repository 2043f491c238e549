package management

import (
	"crypto/sha1" // x5t and fingerprints are SHA-1 by definition (RFC 7517 §4.8); they protect nothing
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoSigningKey = notFound("", "Signing key not found.")

func signingKeyResource() *resource {
	return &resource{
		name: "SigningKey",
		doc:  "A key that signs tokens. Its private half never leaves.",
		fields: []field{
			f("kid", str(), "Names the key in token headers and in the key set").readOnly(),
			f("cert", str(), "Self-signed certificate, PEM with CRLF line ends").readOnly(),
			f("pkcs7", str(), "The same certificate in a PKCS #7 envelope, PEM").readOnly(),
			f("current", boolean(), "It signs now").readOnly(),
			f("next", boolean(), "It is published and will sign after the next rotation").readOnly(),
			f("previous", boolean(), "It signed before; its tokens still verify").readOnly(),
			f("current_since", str().as("date-time"), "When it began to sign").readOnly(),
			f("current_until", str().as("date-time"), "When it ceased to sign").readOnly(),
			f("fingerprint", str(), "SHA-1 of the certificate in hexadecimal, bytes separated by colons").readOnly(),
			f("thumbprint", str(), "SHA-1 of the certificate in hexadecimal").readOnly(),
			f("revoked", boolean(), "Its tokens no longer verify").readOnly(),
			f("revoked_at", str().as("date-time"), "When it was revoked").readOnly(),
		},
	}
}

// keys are the signing keys (management-endpoints.md §10).
func (a *API) keys() group {
	key := signingKeyResource()
	scopes := []string{"read:signing_keys"}
	return group{tag: "keys", operations: []operation{
		{
			method: http.MethodGet, path: "/keys/signing", title: "List the signing keys",
			scopes: scopes, status: http.StatusOK, answer: every(key),
			serve: func(c *call) (any, error) {
				keys, err := c.store.SigningKeys(c.ctx, c.t.ID)
				if err != nil {
					return nil, err
				}
				return signingKeyViews(keys), nil
			},
		},
		{
			method: http.MethodGet, path: "/keys/signing/{kid}", title: "Read one signing key",
			scopes: scopes, status: http.StatusOK, answer: one(key),
			serve: func(c *call) (any, error) {
				keys, err := c.store.SigningKeys(c.ctx, c.t.ID)
				if err != nil {
					return nil, err
				}
				for _, k := range keys {
					if k.Kid == c.path["kid"] {
						return signingKeyView(k), nil
					}
				}
				return nil, errNoSigningKey
			},
		},
		{
			method: http.MethodPost, path: "/keys/signing/rotate", title: "Rotate the Application Signing Key",
			doc: "Replaces the keys that sign by the next ones, at once: verifiers that keep a key set may not know a key that " +
				"was published lately, which an event then says. Answers with the key that is next now.",
			scopes: []string{"create:signing_keys", "update:signing_keys"}, status: http.StatusCreated, answer: one(key),
			serve: func(c *call) (any, error) {
				next, err := c.keyring.Rotate(c.ctx, c.t, true, c.written(nil))
				if err != nil {
					return nil, err
				}
				return signingKeyName(next), nil
			},
		},
		{
			method: http.MethodPut, path: "/keys/signing/{kid}/revoke", title: "Revoke an Application Signing Key by its key id",
			doc:    "Removes a previous key from the key set, for good and also while tokens need it: they end with it.",
			scopes: []string{"update:signing_keys"}, status: http.StatusOK, answer: one(key),
			serve: func(c *call) (any, error) {
				k, err := c.keyring.Revoke(c.ctx, c.t, c.path["kid"], true, c.written(nil))
				if errors.Is(err, tenant.ErrConflict) {
					return nil, badRequest("invalid_signing_key_state", "Only a previous signing key can be revoked.")
				}
				if err != nil {
					return nil, meaning(err, errNoSigningKey, nil)
				}
				return signingKeyName(k), nil
			},
		},
	}}
}

// signingKeyName is the answer of what moves keys.
func signingKeyName(k tenant.SigningKey) *object {
	cert, _ := certificatePEM(k.Certificate)
	return obj("cert", cert, "kid", k.Kid)
}

// signingKeyViews lists current, next, previous and the last three revoked keys.
func signingKeyViews(keys []tenant.SigningKey) []*object {
	out := []*object{}
	for _, state := range []tenant.KeyState{tenant.KeyCurrent, tenant.KeyNext, tenant.KeyPrevious, tenant.KeyRevoked} {
		listed := 0
		for _, k := range keys {
			if k.State == state && (state != tenant.KeyRevoked || listed < 3) {
				out = append(out, signingKeyView(k))
				listed++
			}
		}
	}
	return out
}

func signingKeyView(k tenant.SigningKey) *object {
	cert, pkcs7 := certificatePEM(k.Certificate)
	o := obj("kid", k.Kid, "cert", cert, "pkcs7", pkcs7)
	switch k.State {
	case tenant.KeyCurrent:
		o.set("current", true)
	case tenant.KeyNext:
		o.set("next", true)
	case tenant.KeyPrevious:
		o.set("previous", true)
	case tenant.KeyRevoked:
		o.set("revoked", true)
	}
	for name, at := range map[string]time.Time{"current_since": k.CurrentSince, "current_until": k.CurrentUntil, "revoked_at": k.RevokedAt} {
		if !at.IsZero() {
			o.set(name, at)
		}
	}
	der, _ := base64.StdEncoding.DecodeString(k.Certificate)
	sum := sha1.Sum(der) // see the import
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	pairs := make([]string, 0, len(sum))
	for i := 0; i < len(text); i += 2 {
		pairs = append(pairs, text[i:i+2])
	}
	o.set("fingerprint", strings.Join(pairs, ":"))
	o.set("thumbprint", text)
	return o
}

// certificatePEM writes a certificate as PEM and as a PKCS #7 bundle of it
// alone (RFC 2315 §9: SignedData without signers); lines end in \r\n.
func certificatePEM(base64DER string) (cert, pkcs7 string) {
	der, err := base64.StdEncoding.DecodeString(base64DER)
	if err != nil || len(der) == 0 {
		return "", ""
	}
	encode := func(kind string, b []byte) string {
		return strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})), "\n", "\r\n")
	}
	cert = encode("CERTIFICATE", der)
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	type signedData struct {
		Version      int
		Digests      asn1.RawValue
		Inner        contentInfo
		Certificates asn1.RawValue
		Signers      asn1.RawValue
	}
	empty := asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSet, IsCompound: true}
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	inner, err := asn1.Marshal(signedData{
		Version: 1, Digests: empty, Inner: contentInfo{Type: data}, Signers: empty,
		Certificates: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der},
	})
	if err != nil {
		return cert, ""
	}
	bundle, err := asn1.Marshal(contentInfo{
		Type:    asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		Content: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner},
	})
	if err != nil {
		return cert, ""
	}
	return cert, encode("PKCS7", bundle)
}
