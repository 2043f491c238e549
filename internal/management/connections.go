package management

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoConnection = notFound("inexistent_connection", "The connection does not exist")

// strategies are the kinds of connections that can be kept; only auth0, a
// database of ours, can be used for signing in.
var strategies = []string{"ad", "adfs", "amazon", "apple", "dropbox", "bitbucket", "auth0-oidc", "auth0", "baidu", "bitly", "box", "custom",
	"daccount", "dwolla", "email", "evernote-sandbox", "evernote", "exact", "facebook", "fitbit", "github", "google-apps", "google-oauth2",
	"instagram", "ip", "line", "linkedin", "oauth1", "oauth2", "office365", "oidc", "okta", "paypal", "paypal-sandbox", "pingfederate",
	"planningcenter", "salesforce-community", "salesforce-sandbox", "salesforce", "samlp", "sharepoint", "shopify", "shop", "sms",
	"soundcloud", "thirtysevensignals", "twitter", "untappd", "vkontakte", "waad", "weibo", "windowslive", "wordpress", "yahoo", "yandex", "auth0-adldap"}

func connectionResource() *resource {
	active := func(more ...field) shape {
		return closed(append([]field{f("active", boolean(), "On or off").must()}, more...)...)
	}
	return &resource{
		name: "Connection",
		doc:  "A source of users.",
		fields: []field{
			f("id", str(), "Names the connection").readOnly(),
			f("options", databaseOptions(), "Settings; which there are depends on the strategy"),
			f("strategy", oneOf(strategies...), "What kind of source it is; auth0 is a database of this server").must().immutable(),
			f("name", str().chars(1, 128).match(`^[a-zA-Z0-9](-[a-zA-Z0-9]|[a-zA-Z0-9])*$`), "Letters, digits and single hyphens between them; also its realm").must().immutable(),
			f("display_name", str().atMost(128), "What the login page calls it"),
			f("is_domain_connection", boolean(), "For all clients of the domain; kept, without effect").byDefault(false),
			f("show_as_button", boolean(), "A button on the login page"),
			f("authentication", active(), "Users can sign in with it").byDefault(obj("active", true)),
			f("connected_accounts", active(f("cross_app_access", boolean(), "Tokens for other apps")), "Users can link it to their account").byDefault(obj("active", false)),
			f("cross_app_access_requesting_app", active(), "Tokens for other apps, seen from the app that asks"),
			f("enabled_clients", list(str().as("client-id")).distinct(), "Clients whose users may come from here").byDefault([]any{}).clearable(),
			f("realms", list(str().as("connection-realm")), "Names a password-realm grant knows it by; its own name unless set"),
			f("metadata", mapOf(str().atMost(255).orNull()).atMost(10), "Up to ten notes of your own; values are strings of at most 255 characters"),
		},
	}
}

// databaseOptions are the options the server acts on or checks; others are kept
// as they are, since each strategy has its own.
func databaseOptions() shape {
	return free(
		f("passwordPolicy", oneOf("none", "low", "fair", "good", "excellent").orNull(), "What a new password must have; good unless set"),
		f("password_complexity_options", closed(f("min_length", integer().between(1, 128), "Fewest characters")).orNull(), "More about new passwords"),
		f("requires_username", boolean(), "Whether users have a user name beside the address"),
		f("disable_signup", boolean(), "Whether users cannot make an account themselves"),
		f("brute_force_protection", boolean(), "Whether repeated failures block a login"),
		f("import_mode", boolean(), "Whether users are imported at login"),
		f("disable_self_service_change_password", boolean(), "Whether users cannot change their password"),
		f("enabledDatabaseCustomization", boolean(), "Whether scripts are used"),
		f("configuration", free(), "Values for the scripts").concealed().seenWith("read:connections_options"),
		f("customScripts", free(), "Scripts that replace the database"),
	)
}

// connections are the operations on connections (management-endpoints.md §9).
func (a *API) connections() group {
	connection := connectionResource()
	enabled := &resource{name: "EnabledClient", fields: []field{f("client_id", str(), "The client's id").readOnly()}}
	return group{tag: "connections", operations: []operation{
		{
			method: http.MethodGet, path: "/connections", title: "List connections",
			scopes: []string{"read:connections"},
			query: []field{
				f("strategy", list(oneOf(strategies...)).atMost(100), "Only connections of these kinds; may be repeated"),
				f("name", str().atMost(128), "Only the connection of this name"),
			},
			status: http.StatusOK, answer: paged(connection, listForm{key: "connections", checkpoint: true}),
			serve: (*call).listConnections,
		},
		{
			method: http.MethodPost, path: "/connections", title: "Create a connection",
			scopes: []string{"create:connections"}, body: connection.creates(), status: http.StatusCreated, answer: one(connection),
			serve: (*call).createConnection,
		},
		{
			method: http.MethodGet, path: "/connections/{id}", title: "Read a connection",
			scopes: []string{"read:connections"}, status: http.StatusOK, answer: one(connection),
			serve: func(c *call) (any, error) {
				found, err := c.store.ConnectionByID(c.ctx, c.t.ID, c.path["id"])
				if err != nil {
					return nil, meaning(err, errNoConnection, nil)
				}
				return c.connectionView(found)
			},
		},
		{
			method: http.MethodPatch, path: "/connections/{id}", title: "Update a connection",
			doc:    "options replaces what was there: send the whole object.",
			scopes: []string{"update:connections"}, body: connection.updates(), status: http.StatusOK, answer: one(connection),
			serve: (*call).updateConnection,
		},
		{
			method: http.MethodDelete, path: "/connections/{id}", title: "Delete a connection and all its users",
			scopes: []string{"delete:connections"}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) {
				if _, err := c.end(c.path["id"], "connection_deleted", c.store.DeleteConnection); err != nil {
					return nil, err
				}
				return obj("deleted_at", c.now), nil
			},
		},
		{
			method: http.MethodGet, path: "/connections/{id}/clients", title: "List a connection's clients",
			scopes: []string{"read:connections"}, status: http.StatusOK,
			answer: paged(enabled, listForm{key: "clients", checkpoint: true, only: true, takeMax: 1000}),
			serve:  (*call).listEnabledClients,
		},
		{
			method: http.MethodPatch, path: "/connections/{id}/clients", title: "Update enabled clients for a connection",
			scopes: []string{"update:connections"},
			body: accepts("EnabledClients", list(closed(
				f("client_id", str().as("client-id"), "Whom to switch").must(),
				f("status", boolean(), "true switches on, false off").must(),
			)).between(1, 50)),
			status: http.StatusNoContent,
			serve:  (*call).enableClients,
		},
		{
			method: http.MethodDelete, path: "/connections/{id}/users", title: "Delete a connection user",
			doc:    "Deletes the user of a database connection who has this address, as DELETE /users/{id} does. Deleting who is not there succeeds.",
			scopes: []string{"delete:users"},
			query:  []field{f("email", str().chars(1, 320), "The address").must()},
			status: http.StatusNoContent,
			serve:  (*call).deleteConnectionUser,
		},
	}}
}

func (c *call) listConnections() (any, error) {
	found, err := c.store.Connections(c.ctx, c.t.ID, tenant.ConnectionFilter{
		Name: c.query.text("name"), Strategies: c.query.strings("strategy"),
	}, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), total: found.Total, next: found.Next}
	for i, x := range found.Items {
		if l.items[i], err = c.connectionView(x); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// sealedSecret is the member a secret option is kept under.
const (
	sealedSecret            = "$sealed"
	purposeConnectionSecret = "connection_secret"
)

// connectionView opens the secret options for those who may see them, and leaves
// them out for everybody else (SEC-190).
func (c *call) connectionView(x tenant.Connection) (*object, error) {
	out, err := parseObject(x.Document)
	if err != nil {
		return nil, err
	}
	options := out.child("options")
	if options == nil {
		return out, nil
	}
	if options, err = c.openOptions(x.ID, options); err != nil {
		return nil, err
	}
	if options.has("configuration") && !c.holds([]string{"read:connections_options"}) {
		options.remove("configuration")
	}
	out.set("options", options)
	return out, nil
}

func (c *call) openOptions(id string, options *object) (*object, error) {
	out := &object{}
	for _, m := range options.members {
		inner, ok := m.value.(*object)
		if !ok {
			out.members = append(out.members, m)
			continue
		}
		sealed := inner.text(sealedSecret)
		if sealed == "" {
			opened, err := c.openOptions(id, inner)
			if err != nil {
				return nil, err
			}
			out.set(m.name, opened)
			continue
		}
		if !c.holds([]string{"read:connections_options"}) {
			continue
		}
		secret, err := c.vault.Open(c.ctx, c.t, purposeConnectionSecret, id, sealed)
		if err != nil {
			return nil, err
		}
		out.set(m.name, string(secret))
	}
	return out, nil
}

// sealOptions seals the credentials of other systems (SEC-137). under tells that
// every value is one, as in configuration.
func (c *call) sealOptions(id string, options *object, under bool) (*object, error) {
	out := &object{}
	for _, m := range options.members {
		switch v := m.value.(type) {
		case *object:
			inner, err := c.sealOptions(id, v, under || m.name == "configuration")
			if err != nil {
				return nil, err
			}
			out.set(m.name, inner)
		case string:
			if !under && !secretOption(m.name) || v == "" {
				out.set(m.name, v)
				continue
			}
			sealed, err := c.vault.Seal(c.ctx, c.t, purposeConnectionSecret, id, []byte(v))
			if err != nil {
				return nil, err
			}
			out.set(m.name, obj(sealedSecret, sealed))
		default:
			out.set(m.name, v)
		}
	}
	return out, nil
}

// secretOption is secretName without the options of a database that are named
// like one.
func secretOption(name string) bool {
	return secretName(name) && !slices.Contains([]string{"passwordPolicy", "token_endpoint", "tokenURL", "token_endpoint_auth_method", "token_endpoint_auth_signing_alg"}, name)
}

// databaseDefaults are the options of a new database connection.
func databaseDefaults(options *object) *object {
	out := options.copy()
	out.setDefault("mfa", obj("active", true, "return_enroll_settings", true))
	if v, ok := out.get("passwordPolicy"); !ok || v == nil {
		out.set("passwordPolicy", "good")
	}
	out.setDefault("strategy_version", 2)
	out.setDefault("brute_force_protection", true)
	return out
}

func (c *call) createConnection() (any, error) {
	id, err := alnum(c.rand, 16)
	if err != nil {
		return nil, err
	}
	doc := dropNulls(c.body)
	doc.set("id", "con_"+id)
	options := doc.child("options").copy()
	if doc.text("strategy") == tenant.DatabaseStrategy {
		options = databaseDefaults(options)
	}
	if err := checkOptions(options); err != nil {
		return nil, err
	}
	if options, err = c.sealOptions("con_"+id, options, false); err != nil {
		return nil, err
	}
	doc.set("options", options)
	doc.setDefault("realms", []any{doc.text("name")})
	if err := c.knownClients(doc.strings("enabled_clients")); err != nil {
		return nil, err
	}
	doc = connectionResource().ordered(doc, true)
	x, err := tenant.ParseConnection(c.t.ID, doc.bytes())
	if err != nil {
		return nil, err
	}
	x.CreatedAt = c.now
	view, err := c.connectionView(x)
	if err != nil {
		return nil, err
	}
	err = c.store.CreateConnection(c.ctx, x, c.written(view))
	return view, meaning(err, nil, conflict("", "A connection with the same name already exists"))
}

// checkOptions holds the options against the rules between them.
func checkOptions(options *object) error {
	if !options.has("attributes") {
		return nil
	}
	for _, name := range []string{"requires_username", "validation"} {
		if options.has(name) {
			return invalid("Cannot set both options.attributes and options." + name)
		}
	}
	for _, name := range []string{"email", "username", "phone_number"} {
		if options.child("attributes").child(name).child("identifier").flag("active") {
			return nil
		}
	}
	return invalid("attributes must contain one active identifier")
}

// knownClients refuses ids of clients that do not exist.
func (c *call) knownClients(ids []string) error {
	for _, id := range ids {
		if _, err := c.store.Client(c.ctx, c.t, id); errors.Is(err, tenant.ErrNotFound) {
			return badRequest("inexistent_client", "The client does not exist")
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (c *call) updateConnection() (any, error) {
	id := c.path["id"]
	patch := c.body.copy()
	if err := c.knownClients(patch.strings("enabled_clients")); err != nil {
		return nil, err
	}
	if v, ok := patch.get("enabled_clients"); ok && v == nil {
		patch.set("enabled_clients", []any{})
	}
	if given := patch.child("options"); given != nil {
		if err := checkOptions(given); err != nil {
			return nil, err
		}
		sealed, err := c.sealOptions(id, given, false)
		if err != nil {
			return nil, err
		}
		patch.set("options", sealed)
	}
	e := c.written(nil)
	updated, err := c.store.UpdateConnection(c.ctx, c.t.ID, id, func(x tenant.Connection) (tenant.Connection, error) {
		before, err := parseObject(x.Document)
		if err != nil {
			return x, err
		}
		doc := before.mergePatch(patch)
		if patch.has("options") && x.Database() {
			doc.set("options", databaseDefaults(doc.child("options")))
		}
		if given := patch.child("metadata"); given != nil {
			doc.set("metadata", before.child("metadata").copy().mergePatch(given))
		}
		changed, err := c.changedConnection(x, doc)
		if err == nil {
			c.tell(e, before, doc)
		}
		return changed, err
	}, e)
	if err != nil {
		return nil, meaning(err, errNoConnection, nil)
	}
	return c.connectionView(updated)
}

func (c *call) changedConnection(x tenant.Connection, doc *object) (tenant.Connection, error) {
	changed, err := tenant.ParseConnection(c.t.ID, connectionResource().ordered(doc, false).bytes())
	changed.CreatedAt = x.CreatedAt
	return changed, err
}

// listEnabledClients pages over the ids that the connection holds.
func (c *call) listEnabledClients() (any, error) {
	x, err := c.store.ConnectionByID(c.ctx, c.t.ID, c.path["id"])
	if err != nil {
		return nil, meaning(err, errNoConnection, nil)
	}
	ids := slices.Sorted(slices.Values(x.EnabledClients))
	start, _ := slices.BinarySearch(ids, c.page.After)
	if start < len(ids) && ids[start] == c.page.After {
		start++
	}
	end := min(start+c.page.Limit, len(ids))
	l := listing{items: []*object{}}
	for _, id := range ids[start:end] {
		l.items = append(l.items, obj("client_id", id))
	}
	if end < len(ids) {
		l.next = ids[end-1]
	}
	return l, nil
}

func (c *call) enableClients() (any, error) {
	on := map[string]bool{}
	for _, v := range c.items {
		o := v.(*object)
		on[o.text("client_id")] = o.flag("status")
		if o.flag("status") {
			if _, err := c.store.Client(c.ctx, c.t, o.text("client_id")); err != nil {
				return nil, meaning(err, errNoClient, nil)
			}
		}
	}
	_, err := c.setEnabled(c.ctx, c.path["id"], on, c.written(nil))
	return nil, meaning(err, errNoConnection, nil)
}

// setEnabled switches a connection on or off for clients.
func (c *call) setEnabled(ctx context.Context, id string, on map[string]bool, e tenant.Event) (tenant.Connection, error) {
	return c.store.UpdateConnection(ctx, c.t.ID, id, func(x tenant.Connection) (tenant.Connection, error) {
		doc, err := parseObject(x.Document)
		if err != nil {
			return x, err
		}
		ids := []any{}
		for _, have := range x.EnabledClients {
			if _, named := on[have]; !named {
				ids = append(ids, have)
			}
		}
		for _, client := range slices.Sorted(maps.Keys(on)) {
			if on[client] {
				ids = append(ids, client)
			}
		}
		doc = doc.copy()
		doc.set("enabled_clients", ids)
		return c.changedConnection(x, doc)
	}, e)
}

// listClientConnections pages over the connections of the tenant that have the
// client: few, so they are read whole.
func (c *call) listClientConnections() (any, error) {
	client := c.path["id"]
	if _, err := c.store.Client(c.ctx, c.t, client); err != nil {
		return nil, meaning(err, errNoClient, nil)
	}
	found, err := c.store.Connections(c.ctx, c.t.ID, tenant.ConnectionFilter{Strategies: c.query.strings("strategy")}, tenant.Page{})
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: []*object{}}
	past := c.page.After == ""
	for _, x := range found.Items {
		switch {
		case !past:
			past = x.ID == c.page.After
			continue
		case !x.EnabledFor(client):
			continue
		case len(l.items) == c.page.Limit:
			l.next = l.items[len(l.items)-1].text("id")
			return l, nil
		}
		view, err := c.connectionView(x)
		if err != nil {
			return nil, err
		}
		if !c.holds([]string{"read:connections"}) {
			view.remove("options")
		}
		l.items = append(l.items, view)
	}
	return l, nil
}

func (c *call) deleteConnectionUser() (any, error) {
	x, err := c.store.ConnectionByID(c.ctx, c.t.ID, c.path["id"])
	if err != nil {
		return nil, meaning(err, errNoConnection, nil)
	}
	if !x.Database() {
		return nil, badRequest("invalid_body", "Connection must be a database connection")
	}
	found, err := c.store.UsersByEmail(c.ctx, c.t.ID, tenant.CanonicalEmail(c.query.text("email")))
	if err != nil {
		return nil, err
	}
	for _, u := range found {
		if u.Connection() != x.Name {
			continue
		}
		if err := c.endUser(u); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
