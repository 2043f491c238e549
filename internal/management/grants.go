package management

import (
	"net/http"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func grantResource() *resource {
	return &resource{
		name: "Grant",
		doc:  "What a user allowed a client.",
		fields: []field{
			f("id", str(), "Names the consent").readOnly(),
			f("clientID", str(), "The client's id").readOnly(),
			f("user_id", str(), "The user's id").readOnly(),
			f("audience", str(), "Audience of the API, empty for none").readOnly(),
			f("scope", list(str()), "What the user agreed to").readOnly(),
		},
	}
}

// grants are consents (management-endpoints.md §8).
func (a *API) grants() group {
	grant := grantResource()
	return group{tag: "grants", operations: []operation{
		{
			method: http.MethodGet, path: "/grants", title: "List consents",
			scopes: []string{"read:grants"},
			query: []field{
				f("user_id", str().atMost(300), "Only consents of this user"),
				f("client_id", str().atMost(200), "Only consents to this client"),
				f("audience", str().atMost(600), "Only consents for this API"),
			},
			status: http.StatusOK, answer: paged(grant, listForm{key: "grants", always: true}),
			serve: (*call).listGrants,
		},
		{
			method: http.MethodDelete, path: "/grants", title: "Delete a grant by user_id",
			scopes: []string{"delete:grants"},
			query:  []field{f("user_id", str().chars(1, 300), "Whose consents are withdrawn").must()},
			status: http.StatusNoContent,
			serve: func(c *call) (any, error) {
				return c.deleteGrants(tenant.ConsentFilter{UserID: c.query.text("user_id")})
			},
		},
		{
			method: http.MethodDelete, path: "/grants/{id}", title: "Delete a grant by id",
			doc:    "Withdraws the consent and ends the refresh tokens issued under it. Deleting what is not there succeeds.",
			scopes: []string{"delete:grants"}, status: http.StatusNoContent,
			serve: func(c *call) (any, error) { return c.deleteGrants(tenant.ConsentFilter{ID: c.path["id"]}) },
		},
	}}
}

func (c *call) listGrants() (any, error) {
	found, err := c.store.Consents(c.ctx, c.t.ID, tenant.ConsentFilter{
		UserID: c.query.text("user_id"), ClientID: c.query.text("client_id"), Audience: c.query.text("audience"),
	}, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), total: found.Total}
	for i, g := range found.Items {
		l.items[i] = obj("id", g.ID, "clientID", g.ClientID, "user_id", g.UserID, "audience", g.Audience, "scope", g.Scopes)
	}
	return l, nil
}

func (c *call) deleteGrants(filter tenant.ConsentFilter) (any, error) {
	d, failed, err := c.deletion(filter.ID, "consent_withdrawn")
	if err != nil {
		return nil, err
	}
	if err := c.store.DeleteConsents(c.ctx, c.t.ID, filter, d); err != nil {
		return nil, deleted(err)
	}
	return nil, failed()
}
