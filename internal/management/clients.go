package management

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoClient = notFound("inexistent_client", "The client does not exist")

// clients are the operations on applications (management-endpoints.md §1).
func (a *API) clients() group {
	client := clientResource()
	id := f("id", str().chars(1, 200), "The client's id")
	return group{tag: "clients", operations: []operation{
		{
			method: http.MethodGet, path: "/clients", title: "List clients",
			scopes: []string{"read:clients", "read:client_keys", "read:client_credentials", "read:client_summary"},
			query: []field{
				f("is_global", boolean(), "Only, or all but, the global client"),
				f("is_first_party", boolean(), "Only your own clients, or only those of others"),
				f("app_type", str().atMost(500), "Only these values of app_type, separated by commas"),
				f("external_client_id", str().chars(1, 120), "Only clients known elsewhere by this id"),
			},
			status: http.StatusOK,
			answer: paged(client, listForm{key: "clients", checkpoint: true, emptyPage: true}),
			serve:  (*call).listClients,
		},
		{
			method: http.MethodPost, path: "/clients", title: "Create a client",
			scopes: []string{"create:clients"},
			body:   client.creates(), status: http.StatusCreated, answer: one(client),
			serve: (*call).createClient,
		},
		{
			method: http.MethodGet, path: "/clients/{id}", title: "Read a client",
			scopes: []string{"read:clients", "read:client_keys", "read:client_credentials", "read:client_summary"},
			params: []field{id}, status: http.StatusOK, answer: one(client),
			serve: func(c *call) (any, error) {
				found, err := c.store.Client(c.ctx, c.t, c.path["id"])
				if err != nil {
					return nil, meaning(err, errNoClient, nil)
				}
				return c.clientView(found)
			},
		},
		{
			method: http.MethodPatch, path: "/clients/{id}", title: "Update a client",
			scopes: []string{"update:clients", "update:client_keys", "update:client_credentials", "update:client_token_vault_privileged_access"},
			params: []field{id}, body: client.updates(), status: http.StatusOK, answer: one(client),
			serve: (*call).updateClient,
		},
		{
			method: http.MethodDelete, path: "/clients/{id}", title: "Delete a client",
			doc:    "Deletes the client with its client grants, consents, refresh tokens and its place in connections. Deleting what is not there succeeds.",
			scopes: []string{"delete:clients"},
			params: []field{id}, status: http.StatusNoContent,
			serve: (*call).deleteClient,
		},
		{
			method: http.MethodPost, path: "/clients/{id}/rotate-secret", title: "Rotate a client secret",
			doc:    "Replaces the client's secret at once. The new secret is in the answer if the token has read:client_keys.",
			scopes: []string{"update:client_keys"},
			params: []field{id}, status: http.StatusOK, answer: one(client),
			serve: (*call).rotateSecret,
		},
		{
			method: http.MethodGet, path: "/clients/{id}/connections", title: "List a client's connections",
			doc:    "The connections whose users may sign in to the client. Options are shown to read:connections alone.",
			scopes: []string{"read:connections", "read:clients", "read:client_summary"}, params: []field{id},
			query:  []field{f("strategy", list(oneOf(strategies...)).atMost(100), "Only connections of these kinds; may be repeated")},
			status: http.StatusOK, answer: paged(connectionResource(), listForm{key: "connections", checkpoint: true, only: true}),
			serve: (*call).listClientConnections,
		},
	}}
}

func (c *call) listClients() (any, error) {
	filter := tenant.ClientFilter{}
	if v, ok := c.query.get("is_global"); ok {
		global := v == true
		filter.Global = &global
	}
	if v, ok := c.query.get("is_first_party"); ok {
		first := v == true
		filter.FirstParty = &first
	}
	if types := c.query.text("app_type"); types != "" {
		filter.AppTypes = strings.Split(types, ",")
	}
	if c.query.has("external_client_id") {
		return listing{items: []*object{}}, nil // no client here comes from elsewhere
	}
	found, err := c.store.Clients(c.ctx, c.t.ID, filter, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), total: found.Total, next: found.Next}
	for i, client := range found.Items {
		if l.items[i], err = c.clientView(client); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// clientView is the answer about a client: its document, and what is kept
// elsewhere, as far as the token may see it.
func (c *call) clientView(client tenant.Client) (*object, error) {
	out, err := parseObject(client.Document)
	if err != nil {
		return nil, err
	}
	out.set("tenant", c.t.ID)
	out.set("callback_url_template", false)
	if !c.holds([]string{"read:client_keys"}) {
		return out, nil
	}
	if len(client.Secrets) > 0 {
		secret, err := c.vault.OpenClientSecret(c.ctx, c.t, client.ID, client.Secrets[0])
		if err == nil {
			out.set("client_secret", secret)
		} else if !errors.Is(err, tenant.ErrNotFound) { // the tenant may keep no copy (SEC-7)
			return nil, err
		}
	}
	certificates, err := c.certificates()
	if err != nil {
		return nil, err
	}
	out.set("signing_keys", certificates)
	return out, nil
}

// certificates are those of the keys that verify an ID token now.
func (c *call) certificates() ([]any, error) {
	keys, err := c.store.SigningKeys(c.ctx, c.t.ID)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, k := range keys {
		if k.State == tenant.KeyCurrent && k.Certificate != "" {
			cert, pkcs7 := certificatePEM(k.Certificate)
			out = append(out, obj("cert", cert, "pkcs7", pkcs7, "subject", "deprecated"))
		}
	}
	return out, nil
}

func (c *call) createClient() (any, error) {
	id, err := alnum(c.rand, 32)
	if err != nil {
		return nil, err
	}
	client, err := c.newClient(id, c.body)
	if err != nil {
		return nil, err
	}
	view, err := c.clientView(client)
	if err != nil {
		return nil, err
	}
	if err := c.store.CreateClient(c.ctx, client, c.written(view)); err != nil {
		return nil, meaning(err, nil, conflict("", "Another client exists with the same alias."))
	}
	return view, c.enableConnections(client)
}

// enableConnections switches the database connections on for a new client of
// users, unless the tenant's flag enable_client_connections says not to.
func (c *call) enableConnections(client tenant.Client) error {
	settings, err := parseObject(c.t.Settings.Document)
	if err != nil {
		return err
	}
	if v, ok := settings.child("flags").get("enable_client_connections"); ok && v == false || !signsIn(client) {
		return nil
	}
	found, err := c.store.Connections(c.ctx, c.t.ID, tenant.ConnectionFilter{Strategies: []string{tenant.DatabaseStrategy}}, tenant.Page{})
	if err != nil {
		return err
	}
	for _, x := range found.Items {
		if _, err := c.setEnabled(c.ctx, x.ID, map[string]bool{client.ID: true}, c.written(nil)); err != nil && deleted(err) != nil {
			return err
		}
	}
	return nil
}

// signsIn tells whether users sign in at the client.
func signsIn(client tenant.Client) bool {
	return slices.ContainsFunc(client.GrantTypes, func(g string) bool {
		return g != oauth.GrantClientCredentials && g != oauth.GrantRefreshToken
	})
}

// newClient makes a client of a validated body: secret, keys, defaults, rules.
func (c *call) newClient(id string, body *object) (tenant.Client, error) {
	doc := body.copy()
	doc.set("client_id", id)
	secret := doc.text("client_secret")
	doc.remove("client_secret")
	var keys []tenant.ClientKey
	if given := doc.child("client_authentication_methods").child("private_key_jwt"); given != nil {
		ids := []any{}
		list, _ := given.get("credentials")
		for _, v := range list.([]any) {
			key, err := c.newClientKey(v.(*object))
			if err != nil {
				return tenant.Client{}, err
			}
			keys = append(keys, key)
			ids = append(ids, obj("id", key.ID))
		}
		doc.set("client_authentication_methods", obj("private_key_jwt", obj("credentials", ids)))
	}
	clientDefaults(doc)
	doc = clientResource().ordered(doc, true)
	if err := checkClient(c.t, doc); err != nil {
		return tenant.Client{}, err
	}
	client, err := tenant.ParseClient(c.t.ID, doc.bytes())
	if err != nil {
		return tenant.Client{}, err
	}
	client.CreatedAt, client.Keys = c.now, keys
	if secret == "" && len(keys) == 0 {
		if secret, err = newSecret(c.rand); err != nil {
			return tenant.Client{}, err
		}
	}
	if secret != "" {
		sealed, err := c.vault.NewClientSecret(c.ctx, c.t, id, secret)
		if err != nil {
			return tenant.Client{}, err
		}
		client.Secrets = []tenant.ClientSecret{sealed}
	}
	return client, nil
}

func (c *call) updateClient() (any, error) {
	id := c.path["id"]
	var secrets []tenant.ClientSecret
	if secret := c.body.text("client_secret"); secret != "" {
		sealed, err := c.vault.NewClientSecret(c.ctx, c.t, id, secret)
		if err != nil {
			return nil, err
		}
		secrets = []tenant.ClientSecret{sealed}
	}
	patch := c.body.copy()
	patch.remove("client_secret")
	e := c.written(nil)
	updated, err := c.store.UpdateClient(c.ctx, c.t.ID, id, func(client tenant.Client) (tenant.Client, error) {
		before, err := parseObject(client.Document)
		if err != nil {
			return client, err
		}
		doc, err := patchClient(before, patch)
		if err != nil {
			return client, err
		}
		if err := checkClient(c.t, doc); err != nil {
			return client, err
		}
		if err := knownCredentials(doc, client.Keys); err != nil {
			return client, err
		}
		changed, err := tenant.ParseClient(c.t.ID, doc.bytes())
		if err != nil {
			return client, err
		}
		changed.CreatedAt, changed.Keys, changed.Secrets = client.CreatedAt, client.Keys, client.Secrets
		if secrets != nil {
			changed.Secrets = secrets
		}
		c.tell(e, before, doc)
		return changed, nil
	}, e)
	if err != nil {
		return nil, meaning(err, errNoClient, nil)
	}
	return c.clientView(updated)
}

// knownCredentials refuses to authenticate a client by keys it has not.
func knownCredentials(doc *object, keys []tenant.ClientKey) error {
	list, _ := doc.child("client_authentication_methods").child("private_key_jwt").get("credentials")
	given, _ := list.([]any)
	for _, v := range given {
		id := v.(*object).text("id")
		if !slices.ContainsFunc(keys, func(k tenant.ClientKey) bool { return k.ID == id }) {
			return badRequest("invalid_body", "Credential does not exist")
		}
	}
	return nil
}

func (c *call) deleteClient() (any, error) {
	client, err := c.store.Client(c.ctx, c.t, c.path["id"])
	if err != nil {
		return nil, deleted(err)
	}
	if client.Global {
		return nil, badRequest("operation_not_supported", "Global client cannot be deleted.")
	}
	return c.end(client.ID, "client_deleted", c.store.DeleteClient)
}

func (c *call) rotateSecret() (any, error) {
	id := c.path["id"]
	secret, err := newSecret(c.rand)
	if err != nil {
		return nil, err
	}
	sealed, err := c.vault.NewClientSecret(c.ctx, c.t, id, secret)
	if err != nil {
		return nil, err
	}
	e := c.written(nil)
	updated, err := c.store.UpdateClient(c.ctx, c.t.ID, id, func(client tenant.Client) (tenant.Client, error) {
		if client.ByKey() {
			return client, badRequest("operation_not_supported", "The client authenticates by key and has no secret to rotate.")
		}
		client.Secrets = []tenant.ClientSecret{sealed}
		return client, nil
	}, e)
	if err != nil {
		return nil, meaning(err, errNoClient, nil)
	}
	return c.clientView(updated)
}
