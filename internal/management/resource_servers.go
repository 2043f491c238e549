package management

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoResourceServer = notFound("inexistent_resource_server", "The resource server does not exist")

func resourceServerResource() *resource {
	policy := func(values ...string) shape {
		return closed(f("policy", oneOf(values...), "Who gets tokens"))
	}
	return &resource{
		name: "ResourceServer",
		doc:  "An API that access tokens are for.",
		fields: []field{
			f("id", str(), "Names the API; 24 hex digits").readOnly(),
			f("name", str().chars(1, 200).match(`^[^<>]+$`), "What people read; no angle brackets").clearable(),
			f("is_system", boolean(), "Whether this is an API the server itself needs").readOnly(),
			f("identifier", str().chars(1, 600), "The audience: what clients ask for and tokens carry. Fixed once made").must().immutable(),
			f("allow_offline_access", boolean(), "Refresh tokens for this API, to who asks for offline_access; off unless set").byDefault(false),
			f("allow_online_access", boolean(), "Refresh tokens that end with the session"),
			f("allow_online_access_with_ephemeral_sessions", boolean(), "The same for sessions that end with the browser"),
			f("skip_consent_for_verifiable_first_party_clients", boolean(), "First-party clients with a callback of their own are not asked for consent").byDefault(false),
			f("subject_type_authorization", closed(
				f("user", policy("allow_all", "deny_all", "require_client_grant"), "Tokens of users"),
				f("client", policy("deny_all", "require_client_grant"), "Tokens of machines"),
			), "Who may get tokens for this API").byDefault(obj(
				"client", obj("policy", "require_client_grant"), "user", obj("policy", "allow_all"))),
			f("token_lifetime", integer().between(0, 2592000), "Life of an access token, in seconds; 86400 unless set").byDefault(86400),
			f("token_lifetime_for_web", integer().between(0, 2592000), "The same for tokens that go through the browser, at most token_lifetime; 7200 unless set"),
			f("signing_alg", oneOf("HS256", "RS256", "PS256", "ES256", "EdDSA"), "Signature of access tokens; RS256 unless set").byDefault("RS256"),
			f("signing_secret", str().chars(32, 1024), "Shared key of HS256, 32 characters or more; made by the server when none is given").concealed(),
			f("enforce_policies", boolean(), "Users get only the scopes that are among their permissions"),
			f("token_dialect", oneOf("access_token", "access_token_authz", "rfc9068_profile", "rfc9068_profile_authz"), "Which claims an access token has, and whether permissions are among them"),
			f("scopes", list(closed(
				f("value", str().chars(1, 280).as("scope"), "The scope itself").must(),
				f("description", str().atMost(500), "What the consent page says of it"),
			)), "What can be asked for. A scope that leaves the list leaves grants and consents too"),
			f("token_encryption", free(f("format", oneOf("compact-nested-jwe"), "How it is wrapped").must()).orNull(), "Access tokens encrypted for the API"),
			f("consent_policy", oneOf("transactional-authorization-with-mfa").orNull(), "How consent to authorization_details is asked for"),
			f("authorization_details", list(anything()).orNull(), "Types of authorization_details the API takes"),
			f("proof_of_possession", closed(
				f("mechanism", oneOf("mtls", "dpop"), "How they are bound").must(),
				f("required", boolean(), "Gives no token without it").must(),
				f("required_for", oneOf("public_clients", "all_clients"), "Whom required holds for"),
			).orNull(), "Access tokens bound to a key of the client"),
			f("authorization_policy", free().orNull(), "A policy kept elsewhere"),
			f("client_id", str(), "The client that is the API's other side").readOnly(),
		},
	}
}

// resourceServers are the operations on APIs (management-endpoints.md §2).
func (a *API) resourceServers() group {
	api := resourceServerResource()
	id := f("id", str().chars(1, 1000), "The API's id, or its audience")
	return group{tag: "resource-servers", operations: []operation{
		{
			method: http.MethodGet, path: "/resource-servers", title: "List resource servers",
			scopes: []string{"read:resource_servers"},
			query:  []field{f("identifiers", list(str().chars(1, 600)).atMost(10), "Only APIs with these audiences; may be repeated, ten at most")},
			status: http.StatusOK, answer: paged(api, listForm{key: "resource_servers"}),
			serve: (*call).listResourceServers,
		},
		{
			method: http.MethodPost, path: "/resource-servers", title: "Create a resource server",
			scopes: []string{"create:resource_servers"}, body: api.creates(), status: http.StatusCreated, answer: one(api),
			serve: (*call).createResourceServer,
		},
		{
			method: http.MethodGet, path: "/resource-servers/{id}", title: "Read a resource server",
			scopes: []string{"read:resource_servers"}, params: []field{id}, status: http.StatusOK, answer: one(api),
			serve: func(c *call) (any, error) {
				found, err := c.findResourceServer(c.path["id"])
				if err != nil {
					return nil, meaning(err, errNoResourceServer, nil)
				}
				return c.resourceServerView(found)
			},
		},
		{
			method: http.MethodPatch, path: "/resource-servers/{id}", title: "Update a resource server",
			scopes: []string{"update:resource_servers"}, params: []field{id}, body: api.updates(), status: http.StatusOK, answer: one(api),
			serve: (*call).updateResourceServer,
		},
		{
			method: http.MethodDelete, path: "/resource-servers/{id}", title: "Delete a resource server",
			doc:    "Deletes the API with its client grants. Deleting what is not there succeeds.",
			scopes: []string{"delete:resource_servers"}, params: []field{id}, status: http.StatusNoContent,
			serve: func(c *call) (any, error) {
				found, err := c.findResourceServer(c.path["id"])
				if err != nil {
					return nil, deleted(err)
				}
				if found.System {
					return nil, badRequest("operation_not_supported", "System resource servers cannot be deleted.")
				}
				return c.end(found.ID, "resource_server_deleted", c.store.DeleteResourceServer)
			},
		},
	}}
}

var hexIDPattern = regexp.MustCompile(`^[0-9a-f]{24}$`)

// findResourceServer finds by id, or by identifier: no identifier looks like an id.
func (c *call) findResourceServer(id string) (tenant.ResourceServer, error) {
	if hexIDPattern.MatchString(id) {
		return c.store.ResourceServerByID(c.ctx, c.t.ID, id)
	}
	return c.store.ResourceServer(c.ctx, c.t, id)
}

func (c *call) listResourceServers() (any, error) {
	found, err := c.store.ResourceServers(c.ctx, c.t.ID, c.query.strings("identifiers"), c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), total: found.Total, next: found.Next}
	for i, r := range found.Items {
		if l.items[i], err = c.resourceServerView(r); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (c *call) resourceServerView(r tenant.ResourceServer) (*object, error) {
	out, err := parseObject(r.Document)
	if err != nil {
		return nil, err
	}
	if r.SigningSecret != "" {
		secret, err := c.vault.OpenSigningSecret(c.ctx, c.t, r)
		if err != nil {
			return nil, err
		}
		out.set("signing_secret", secret)
	}
	return out, nil
}

func (c *call) createResourceServer() (any, error) {
	if err := c.freeIdentifier(c.body.text("identifier")); err != nil {
		return nil, err
	}
	id, err := hexID(c.rand)
	if err != nil {
		return nil, err
	}
	doc := c.body.copy()
	doc.set("id", id)
	secret := doc.text("signing_secret")
	doc.remove("signing_secret")
	completeLifetimes(doc)
	doc = resourceServerResource().ordered(dropNulls(doc), true)
	if err := checkResourceServer(doc); err != nil {
		return nil, err
	}
	r, err := tenant.ParseResourceServer(c.t.ID, doc.bytes())
	if err != nil {
		return nil, err
	}
	r.CreatedAt = c.now
	if r.SigningSecret, err = c.signingSecret(r, secret); err != nil {
		return nil, err
	}
	view, err := c.resourceServerView(r)
	if err != nil {
		return nil, err
	}
	if err := c.ensureKeys(r); err != nil {
		return nil, err
	}
	err = c.store.CreateResourceServer(c.ctx, r, c.written(view))
	return view, meaning(err, nil, conflict("resource_server_conflict", "A resource server with the same identifier already exists"))
}

// signingSecret seals the HS256 secret of an API, making one where none is given.
func (c *call) signingSecret(r tenant.ResourceServer, given string) (string, error) {
	if r.Alg() != "HS256" {
		return "", nil
	}
	if given == "" {
		if r.SigningSecret != "" {
			return r.SigningSecret, nil
		}
		var err error
		if given, err = newSecret(c.rand); err != nil {
			return "", err
		}
	}
	return c.vault.SealSigningSecret(c.ctx, c.t, r.ID, given)
}

// ensureKeys makes the keys of the API's algorithm. RSA keys every tenant has
// from its founding; others come with the first API that chooses them (D7).
func (c *call) ensureKeys(r tenant.ResourceServer) error {
	if alg := r.Alg(); alg == "ES256" || alg == "EdDSA" {
		e := c.event(audit.KeyStateChanged, nil)
		e.Description = audit.Description(audit.KeyStateChanged)
		return c.keyring.Ensure(c.ctx, c.t, alg, e)
	}
	return nil
}

func dropNulls(doc *object) *object { return (&object{}).mergePatch(doc) }

// completeLifetimes gives token_lifetime_for_web its default: 7200, or the
// lifetime where that is shorter.
func completeLifetimes(doc *object) {
	doc.setDefault("token_lifetime", 86400)
	doc.setDefault("token_lifetime_for_web", min(7200, doc.number("token_lifetime")))
}

func checkResourceServer(doc *object) error {
	if doc.number("token_lifetime_for_web") > doc.number("token_lifetime") {
		return invalid("token_lifetime_for_web must be less than or equal to token_lifetime.")
	}
	seen := map[string]bool{}
	list, _ := doc.get("scopes")
	scopes, _ := list.([]any)
	for _, v := range scopes {
		value := v.(*object).text("value")
		if seen[value] {
			return invalid("The scope " + echo(value) + " is listed twice.")
		}
		seen[value] = true
	}
	return nil
}

// freeIdentifier refuses an audience that is, or looks like, one of ours, of
// another API or a client's id (SEC-83). Only printable ASCII is taken: every
// other script has letters that look like these.
func (c *call) freeIdentifier(identifier string) error {
	reserved := badRequest("invalid_body", "The selected identifier is reserved.")
	if !formats["audience"](identifier) {
		return (&fault{reason: "Object didn't pass validation for format audience: " + echo(identifier), path: "identifier",
			doc: "The audience: printable ASCII without spaces"}).invalidBody()
	}
	folded := foldIdentifier(identifier)
	for _, path := range []string{"", "userinfo", "api/v2", "mfa", "me", "oauth/token"} {
		if folded == foldIdentifier(c.t.Issuer()+path) {
			return reserved
		}
	}
	if hexIDPattern.MatchString(identifier) {
		return reserved // it could be taken for an id
	}
	if _, err := c.store.Client(c.ctx, c.t, identifier); err == nil {
		return reserved
	} else if deleted(err) != nil {
		return err
	}
	all, err := c.store.ResourceServers(c.ctx, c.t.ID, nil, tenant.Page{})
	if err != nil {
		return err
	}
	for _, r := range all.Items {
		if r.Identifier != identifier && strings.EqualFold(r.Identifier, identifier) {
			return reserved
		}
	}
	return nil
}

// foldIdentifier is the spelling under which look-alikes of our own audiences
// are the same: no case, no escapes, no default port, no trailing slash, http
// or https.
func foldIdentifier(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	s = strings.ToLower(strings.TrimRight(s, "/?#"))
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host, path, _ := strings.Cut(s, "/")
	return strings.TrimSuffix(host, ":443") + "/" + strings.Trim(path, "/")
}

// systemFields are what may be changed of the system API (management-api.md §8).
var systemFields = map[string]bool{
	"token_lifetime": true, "token_lifetime_for_web": true, "allow_offline_access": true, "skip_consent_for_verifiable_first_party_clients": true,
}

func (c *call) updateResourceServer() (any, error) {
	found, err := c.findResourceServer(c.path["id"])
	if err != nil {
		return nil, meaning(err, errNoResourceServer, nil)
	}
	patch := c.body.copy()
	secret := patch.text("signing_secret")
	patch.remove("signing_secret")
	// Sealed before the transaction, in case the API has or becomes HS256.
	probe := found
	probe.SigningAlg = "HS256"
	sealed, err := c.signingSecret(probe, secret)
	if err != nil {
		return nil, err
	}
	e := c.written(nil)
	change := func(r tenant.ResourceServer) (tenant.ResourceServer, error) {
		if r.System {
			for _, m := range patch.members {
				if !systemFields[m.name] {
					return r, badRequest("operation_not_supported", "System resource servers cannot be patched.")
				}
			}
		}
		before, err := parseObject(r.Document)
		if err != nil {
			return r, err
		}
		doc := before.mergePatch(patch)
		if !patch.has("token_lifetime_for_web") && doc.number("token_lifetime_for_web") > doc.number("token_lifetime") {
			doc.set("token_lifetime_for_web", doc.number("token_lifetime"))
		}
		doc = resourceServerResource().ordered(doc, false)
		if err := checkResourceServer(doc); err != nil {
			return r, err
		}
		changed, err := tenant.ParseResourceServer(c.t.ID, doc.bytes())
		if err != nil {
			return r, err
		}
		changed.CreatedAt, changed.SigningSecret = r.CreatedAt, ""
		if changed.Alg() == "HS256" {
			changed.SigningSecret = r.SigningSecret
			if secret != "" || r.SigningSecret == "" {
				changed.SigningSecret = sealed
			}
		}
		c.tell(e, before, doc)
		return changed, nil
	}
	// Tried before the transaction: keys are made for what will be written, and
	// for nothing that is refused.
	tried, err := change(found)
	if err == nil {
		err = c.ensureKeys(tried)
	}
	if err != nil {
		return nil, meaning(err, errNoResourceServer, nil)
	}
	updated, err := c.store.UpdateResourceServer(c.ctx, c.t.ID, found.ID, change, e)
	if err != nil {
		return nil, meaning(err, errNoResourceServer, nil)
	}
	return c.resourceServerView(updated)
}
