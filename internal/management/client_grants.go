package management

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoClientGrant = notFound("inexistent_client_grant", "The grant does not exist.")

func clientGrantResource() *resource {
	return &resource{
		name:     "ClientGrant",
		doc:      "What a client may ask for at an API.",
		notEmpty: true,
		fields: []field{
			f("id", str(), "Names the grant").readOnly(),
			f("client_id", str().chars(1, 200), "The client's id").must().immutable(),
			f("audience", str().notEmpty(), "Audience of the API").must().immutable(),
			f("scope", list(str().chars(1, 280)), "What the client may ask for there; taking one away refuses the tokens that are out").clearable(),
			f("organization_usage", oneOf("deny", "allow", "require"), "Whether the machine may act for an organization").clearable(),
			f("allow_any_organization", boolean(), "Any organization will do").clearable(),
			f("subject_type", oneOf("client", "user"), "client: the machine itself; user: what users may give it").immutable().byDefault("client"),
			f("authorization_details_types", list(str().chars(1, 255)), "Types of authorization_details it may ask for"),
			f("allow_all_scopes", boolean(), "Every scope of the API, those of tomorrow too").clearable(),
		},
	}
}

// clientGrants are the operations on client grants (management-endpoints.md §3).
func (a *API) clientGrants() group {
	grant := clientGrantResource()
	return group{tag: "client-grants", operations: []operation{
		{
			method: http.MethodGet, path: "/client-grants", title: "List client grants",
			scopes: []string{"read:client_grants"},
			query: []field{
				f("audience", str().atMost(600), "Only grants for this API"),
				f("client_id", str().atMost(200), "Only grants of this client"),
				f("subject_type", oneOf("client", "user"), "Only grants of this kind"),
				f("allow_any_organization", boolean(), "Only grants with this value"),
				f("default_for", oneOf("third_party_clients"), "Only grants that hold for a whole kind of client"),
			},
			status: http.StatusOK, answer: paged(grant, listForm{key: "client_grants", checkpoint: true}),
			serve: func(c *call) (any, error) {
				if c.query.flag("allow_any_organization") || c.query.has("default_for") {
					return listing{items: []*object{}}, nil // there are no such grants
				}
				found, err := c.store.ClientGrants(c.ctx, c.t.ID, tenant.ClientGrantFilter{
					ClientID: c.query.text("client_id"), Audience: c.query.text("audience"), SubjectType: c.query.text("subject_type"),
				}, c.page)
				if err != nil {
					return nil, meaning(err, nil, nil)
				}
				l := listing{items: make([]*object, len(found.Items)), total: found.Total, next: found.Next}
				for i, g := range found.Items {
					if l.items[i], err = parseObject(g.Document); err != nil {
						return nil, err
					}
				}
				return l, nil
			},
		},
		{
			method: http.MethodPost, path: "/client-grants", title: "Create a client grant",
			scopes: []string{"create:client_grants"}, body: grant.creates(), status: http.StatusCreated, answer: one(grant),
			serve: (*call).createClientGrant,
		},
		{
			method: http.MethodGet, path: "/client-grants/{id}", title: "Read a client grant",
			scopes: []string{"read:client_grants"}, status: http.StatusOK, answer: one(grant),
			serve: func(c *call) (any, error) {
				g, err := c.store.ClientGrantByID(c.ctx, c.t.ID, c.path["id"])
				if err != nil {
					return nil, meaning(err, errNoClientGrant, nil)
				}
				return parseObject(g.Document)
			},
		},
		{
			method: http.MethodPatch, path: "/client-grants/{id}", title: "Update a client grant",
			scopes: []string{"update:client_grants"}, body: grant.updates(), status: http.StatusOK, answer: one(grant),
			serve: (*call).updateClientGrant,
		},
		{
			method: http.MethodDelete, path: "/client-grants/{id}", title: "Delete a client grant",
			doc:    "Deletes the grant and refuses the machine tokens that rest on it. Deleting what is not there succeeds.",
			scopes: []string{"delete:client_grants"}, status: http.StatusNoContent,
			serve: func(c *call) (any, error) {
				return c.end(c.path["id"], "client_grant_deleted", c.store.DeleteClientGrant)
			},
		},
	}}
}

func (c *call) createClientGrant() (any, error) {
	id, err := alnum(c.rand, 16)
	if err != nil {
		return nil, err
	}
	g, view, err := c.newClientGrant("cgr_"+id, c.body)
	if err != nil {
		return nil, err
	}
	err = c.store.CreateClientGrant(c.ctx, g, c.written(view))
	return view, meaning(err, nil, conflict("client_grant_conflict", "The client already has a grant for this API"))
}

// newClientGrant makes a grant of a validated body.
func (c *call) newClientGrant(id string, body *object) (tenant.ClientGrant, *object, error) {
	doc := body.copy()
	doc.set("id", id)
	api, err := c.store.ResourceServer(c.ctx, c.t, doc.text("audience"))
	if err != nil {
		return tenant.ClientGrant{}, nil, meaning(err, notFound("inexistent_resource_server", "Resource server not found"), nil)
	}
	if _, err := c.store.Client(c.ctx, c.t, doc.text("client_id")); err != nil {
		return tenant.ClientGrant{}, nil, meaning(err, notFound("inexistent_client", "Client not found"), nil)
	}
	if !doc.has("scope") {
		if !doc.flag("allow_all_scopes") {
			return tenant.ClientGrant{}, nil, (&fault{reason: "Missing required property: scope"}).invalidBody()
		}
		doc.set("scope", []any{})
	}
	if err := c.mayGrant(api, nil, doc); err != nil {
		return tenant.ClientGrant{}, nil, err
	}
	doc = clientGrantResource().ordered(doc, true)
	g, err := tenant.ParseClientGrant(c.t.ID, doc.bytes())
	g.CreatedAt = c.now
	return g, doc, err
}

// mayGrant refuses scopes the API does not define and, of our own API, scopes
// the caller does not hold: nobody gives a right they do not have (SEC-188). Who
// holds every scope that opens something may give the others too, which tools
// name for what is not here. before is the grant as it is, or nil.
func (c *call) mayGrant(api tenant.ResourceServer, before, doc *object) error {
	defined := api.ScopeValues()
	had := before.strings("scope")
	ask := doc.strings("scope")
	for _, s := range ask {
		if !slices.Contains(defined, s) && !slices.Contains(had, s) {
			return invalid("The following scopes are not defined by the API: " + echo(s))
		}
	}
	if !api.System || c.op == nil || c.holdsEverything() { // without op it is the command line: the administrator (D12)
		return nil
	}
	if doc.flag("allow_all_scopes") && !before.flag("allow_all_scopes") {
		ask = append(slices.Clone(ask), defined...)
	}
	for _, s := range ask {
		if !slices.Contains(had, s) && !slices.Contains(c.claims.Scopes, s) {
			return forbidden(oauth.InsufficientScope, "The bearer token does not have the scope it would grant: "+echo(s))
		}
	}
	return nil
}

func (c *call) holdsEverything() bool {
	return !slices.ContainsFunc(c.table.scopes(), func(s string) bool {
		return !strings.Contains(s, ":current_user") && !slices.Contains(c.claims.Scopes, s)
	})
}

func (c *call) updateClientGrant() (any, error) {
	found, err := c.store.ClientGrantByID(c.ctx, c.t.ID, c.path["id"])
	if err != nil {
		return nil, meaning(err, errNoClientGrant, nil)
	}
	api, err := c.store.ResourceServer(c.ctx, c.t, found.Audience)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return nil, err
	}
	e := c.written(nil)
	updated, err := c.store.UpdateClientGrant(c.ctx, c.t.ID, found.ID, func(g tenant.ClientGrant) (tenant.ClientGrant, error) {
		before, err := parseObject(g.Document)
		if err != nil {
			return g, err
		}
		doc := before.mergePatch(c.body)
		doc.setDefault("scope", []any{})
		if err := c.mayGrant(api, before, doc); err != nil {
			return g, err
		}
		doc = clientGrantResource().ordered(doc, false)
		changed, err := tenant.ParseClientGrant(c.t.ID, doc.bytes())
		if err != nil {
			return g, err
		}
		changed.Epoch, changed.CreatedAt = g.Epoch, g.CreatedAt
		c.tell(e, before, doc)
		return changed, nil
	}, e)
	if err != nil {
		return nil, meaning(err, errNoClientGrant, nil)
	}
	return parseObject(updated.Document)
}
