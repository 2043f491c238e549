package management

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// maxCredentials is how many keys a client may have (management-api.md §15).
const maxCredentials = 2

var errNoCredential = notFound("inexistent_credential", "Credential does not exist")

func credentialResource() *resource {
	return &resource{
		name: "ClientCredential",
		doc:  "A public key that a client's assertions are signed with (RFC 7523).",
		fields: []field{
			f("id", str(), "Names the credential").readOnly(),
			f("credential_type", oneOf("public_key"), "What kind of proof it is").must().immutable(),
			f("name", str().atMost(128), "A label for people, at most 128 characters").immutable(),
			f("pem", str().chars(1, 8192), "An RSA public key or a certificate in PEM; at least 2048 bits, never the private half").must().immutable().writeOnly().concealed(),
			f("kid", str().chars(10, 64).match(`^([0-9a-zA-Z-_]{10,64})$`), "Value of kid in the client's assertions; the key's thumbprint when left out").immutable(),
			f("alg", oneOf("RS256", "RS384", "PS256"), "Signature of the client's assertions; RS256 when left out").immutable(),
			f("parse_expiry_from_cert", boolean(), "Takes expires_at from the certificate").immutable().writeOnly(),
			f("created_at", str().as("date-time"), "Instant it was added").readOnly(),
			f("updated_at", str().as("date-time"), "Instant of the last change").readOnly(),
			f("expires_at", str().as("date-time").orNull(), "From this instant on, RFC 3339, the credential proves nothing; null is never"),
		},
	}
}

// clientCredentials are the keys of private_key_jwt (management-endpoints.md §1.1).
func (a *API) clientCredentials() group {
	credential := credentialResource()
	const all, single = "/clients/{client_id}/credentials", "/clients/{client_id}/credentials/{credential_id}"
	return group{tag: "client-credentials", operations: []operation{
		{
			method: http.MethodGet, path: all, title: "List a client's credentials",
			scopes: []string{"read:client_credentials"}, status: http.StatusOK, answer: every(credential),
			query: []field{
				f("page", integer(), "Taken and without effect: the list is always whole"), f("per_page", integer(), "Taken and without effect: the list is always whole"), f("include_totals", boolean(), "Taken and without effect: the list is always whole"),
			},
			serve: func(c *call) (any, error) {
				client, err := c.store.Client(c.ctx, c.t, c.path["client_id"])
				if err != nil {
					return nil, meaning(err, errNoClient, nil)
				}
				out := make([]*object, len(client.Keys))
				for i, k := range client.Keys {
					out[i] = credentialView(k)
				}
				return out, nil
			},
		},
		{
			method: http.MethodPost, path: all, title: "Create a client credential",
			scopes: []string{"create:client_credentials"}, body: credential.creates(), status: http.StatusCreated, answer: one(credential),
			serve: (*call).createCredential,
		},
		{
			method: http.MethodGet, path: single, title: "Read a client credential",
			scopes: []string{"read:client_credentials"}, status: http.StatusOK, answer: one(credential),
			serve: func(c *call) (any, error) {
				client, err := c.store.Client(c.ctx, c.t, c.path["client_id"])
				if err != nil {
					return nil, meaning(err, errNoClient, nil)
				}
				i := keyIndex(client.Keys, c.path["credential_id"])
				if i < 0 {
					return nil, errNoCredential
				}
				return credentialView(client.Keys[i]), nil
			},
		},
		{
			method: http.MethodPatch, path: single, title: "Update a client credential",
			scopes: []string{"update:client_credentials"}, body: credential.updates(), status: http.StatusOK, answer: one(credential),
			serve: (*call).updateCredential,
		},
		{
			method: http.MethodDelete, path: single, title: "Delete a client credential",
			scopes: []string{"delete:client_credentials"}, status: http.StatusNoContent,
			serve: (*call).deleteCredential,
		},
	}}
}

func keyIndex(keys []tenant.ClientKey, id string) int {
	return slices.IndexFunc(keys, func(k tenant.ClientKey) bool { return k.ID == id })
}

func credentialView(k tenant.ClientKey) *object {
	o := obj("id", k.ID, "credential_type", "public_key", "kid", k.Kid, "alg", k.Alg,
		"created_at", k.CreatedAt, "updated_at", k.UpdatedAt, "expires_at", instantOrNull(k.ExpiresAt))
	if k.Name != "" {
		o.set("name", k.Name)
	}
	return o
}

// instantOrNull is a time that stays visible as null when it is not set.
func instantOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// newClientKey makes a key of a validated credential.
func (c *call) newClientKey(o *object) (tenant.ClientKey, error) {
	if o.text("credential_type") != "public_key" {
		return tenant.ClientKey{}, badRequest("operation_not_supported", "Only credentials of type public_key are supported.")
	}
	public, notAfter, err := parsePublicKey(o.text("pem"))
	if err != nil {
		return tenant.ClientKey{}, err
	}
	kid := o.text("kid")
	if kid == "" {
		if kid, err = c.thumbprint(public); err != nil {
			return tenant.ClientKey{}, err
		}
	}
	id, err := alnum(c.rand, 22)
	if err != nil {
		return tenant.ClientKey{}, err
	}
	k := tenant.ClientKey{
		ID: "cred_" + id, Kid: kid, Name: o.text("name"), Alg: o.text("alg"), PEM: o.text("pem"),
		CreatedAt: c.now, UpdatedAt: c.now,
	}
	if k.Alg == "" {
		k.Alg = "RS256"
	}
	if s := o.text("expires_at"); s != "" {
		k.ExpiresAt, _ = time.Parse(time.RFC3339, s) // its format was judged
	} else if o.flag("parse_expiry_from_cert") {
		k.ExpiresAt = notAfter
	}
	return k, nil
}

var errPEM = invalid("The pem is not a public key or certificate of RSA with at least 2048 bits.")

// parsePublicKey reads a public key or certificate (RFC 7468). A private key is
// refused: it should never have left its owner.
func parsePublicKey(text string) (public crypto.PublicKey, notAfter time.Time, err error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, notAfter, errPEM
	}
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public, notAfter = cert.PublicKey, cert.NotAfter
		}
	default:
		return nil, notAfter, errPEM
	}
	key, ok := public.(*rsa.PublicKey)
	if err != nil || !ok || key.N.BitLen() < 2048 {
		return nil, notAfter, errPEM
	}
	return key, notAfter, nil
}

func (c *call) createCredential() (any, error) {
	key, err := c.newClientKey(c.body)
	if err != nil {
		return nil, err
	}
	view := credentialView(key)
	_, err = c.store.UpdateClient(c.ctx, c.t.ID, c.path["client_id"], func(client tenant.Client) (tenant.Client, error) {
		if len(client.Keys) >= maxCredentials {
			return client, forbidden("too_many_entities", "You reached the limit of entities of this type for this client.")
		}
		if slices.ContainsFunc(client.Keys, func(k tenant.ClientKey) bool { return k.Kid == key.Kid }) {
			return client, conflict("", "A credential with the same kid already exists.")
		}
		client.Keys = append(slices.Clone(client.Keys), key)
		return client, nil
	}, c.written(view))
	return view, meaning(err, errNoClient, nil)
}

func (c *call) updateCredential() (any, error) {
	e := c.written(nil)
	var view *object
	_, err := c.store.UpdateClient(c.ctx, c.t.ID, c.path["client_id"], func(client tenant.Client) (tenant.Client, error) {
		i := keyIndex(client.Keys, c.path["credential_id"])
		if i < 0 {
			return client, errNoCredential
		}
		keys := slices.Clone(client.Keys)
		before := credentialView(keys[i])
		if v, ok := c.body.get("expires_at"); ok {
			keys[i].ExpiresAt = time.Time{}
			if s, ok := v.(string); ok {
				keys[i].ExpiresAt, _ = time.Parse(time.RFC3339, s) // its format was judged
			}
		}
		keys[i].UpdatedAt = c.now
		client.Keys = keys
		view = credentialView(keys[i])
		c.tell(e, before, view)
		return client, nil
	}, e)
	if err != nil {
		return nil, meaning(err, errNoClient, nil)
	}
	return view, nil
}

func (c *call) deleteCredential() (any, error) {
	id := c.path["credential_id"]
	_, err := c.store.UpdateClient(c.ctx, c.t.ID, c.path["client_id"], func(client tenant.Client) (tenant.Client, error) {
		doc, err := parseObject(client.Document)
		if err != nil {
			return client, err
		}
		list, _ := doc.child("client_authentication_methods").child("private_key_jwt").get("credentials")
		used, _ := list.([]any)
		for _, v := range used {
			if v.(*object).text("id") == id {
				return client, badRequest("operation_not_supported", "The credential is in use by client_authentication_methods.")
			}
		}
		client.Keys = slices.DeleteFunc(slices.Clone(client.Keys), func(k tenant.ClientKey) bool { return k.ID == id })
		return client, nil
	}, c.written(nil))
	return nil, meaning(err, errNoClient, nil)
}
