package management

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulla-auth/bulla/internal/tenant"
)

func logResource() *resource {
	return &resource{
		name: "Log",
		doc:  "What happened.",
		fields: []field{
			f("date", str().as("date-time"), "When it happened").readOnly(),
			f("type", str(), "Its code").readOnly(),
			f("description", str(), "The code in words, or what was refused").readOnly(),
			f("reason", str(), "A stable word for why something was refused or ended").readOnly(),
			f("connection", str(), "Where the user comes from").readOnly(),
			f("connection_id", str(), "The connection's id").readOnly(),
			f("client_id", str(), "The client's id").readOnly(),
			f("client_name", str(), "The client's name").readOnly(),
			f("ip", str(), "Address the request came from").readOnly(),
			f("hostname", str(), "Host name the request asked for").readOnly(),
			f("user_id", str(), "Whom it is about").readOnly(),
			f("user_name", str(), "The user's name then").readOnly(),
			f("audience", str(), "Audience of the API").readOnly(),
			f("scope", str(), "The scopes, as asked or given").readOnly(),
			f("strategy", str(), "Kind of the connection").readOnly(),
			f("strategy_type", str(), "database, social, enterprise or passwordless").readOnly(),
			f("session_id", str(), "The login it belongs to").readOnly(),
			f("user_agent", str(), "User-Agent of the request").readOnly(),
			f("auth0_client", anything(), "What the library said of itself in Auth0-Client").readOnly(),
			f("details", free(), "What else is known of it").readOnly(),
			f("count", integer(), "How many like events this one stands for").readOnly(),
			f("log_id", str(), "56 digits; their order is time order").readOnly(),
			f("_id", str(), "56 digits; their order is time order").readOnly(),
			f("isMobile", boolean(), "The user agent says it is a mobile device").readOnly(),
		},
	}
}

// logs are events (management-endpoints.md §14).
func (a *API) logs() group {
	entry := logResource()
	scopes := []string{"read:logs", "read:logs_users"}
	return group{tag: "logs", operations: []operation{
		{
			method: http.MethodGet, path: "/logs", title: "List log events",
			doc:    "Newest first. With from or take: oldest first from that log_id on, and a Link header leads to the next page.",
			scopes: scopes,
			query: []field{
				f("q", str().atMost(2000), "A search: field:value, AND, OR, NOT, ranges, wildcards at the ends"),
				f("search", str().atMost(2000), "Another name of q"),
				f("sort", str().atMost(100), "date:1 is oldest first, date:-1 newest first"),
			},
			status: http.StatusOK,
			answer: paged(entry, listForm{key: "logs", checkpoint: true, emptyPage: true, always: true, length: true, most: 1000, raw: true}),
			serve:  (*call).listLogs,
		},
		{
			method: http.MethodGet, path: "/logs/{id}", title: "Read a log event",
			scopes: scopes, params: []field{f("id", str().as("log-id"), "The event's log_id")},
			status: http.StatusOK, answer: one(entry),
			serve: func(c *call) (any, error) {
				e, err := c.store.Event(c.ctx, c.t.ID, c.path["id"])
				if err != nil {
					return nil, meaning(err, notFound("", "Log not found."), nil)
				}
				return eventView(e)
			},
		},
		{
			method: http.MethodGet, path: "/users/{id}/logs", title: "List a user's log events",
			scopes: scopes, params: []field{f("id", str().as("user-id"), "Whose events")},
			query:  []field{f("sort", str().atMost(100), "date:1 is oldest first, date:-1 newest first")},
			status: http.StatusOK,
			answer: paged(entry, listForm{key: "logs", emptyPage: true, always: true, length: true, most: 1000}),
			serve:  func(c *call) (any, error) { return c.searchLogs(tenant.EventQuery{UserID: c.path["id"]}) },
		},
	}}
}

func (c *call) listLogs() (any, error) {
	if c.form == checkpoint {
		return c.followLogs()
	}
	text := c.query.text("q")
	if text == "" {
		text = c.query.text("search")
	}
	where, err := logSearch(text)
	if err != nil {
		return nil, err
	}
	return c.searchLogs(tenant.EventQuery{Where: where})
}

func (c *call) searchLogs(q tenant.EventQuery) (any, error) {
	field, descending, err := sorting(c.query.text("sort"), func(name string) bool { return name == "date" || name == "log_id" })
	if err != nil {
		return nil, err
	}
	q.Ascending = field != "" && !descending
	found, err := c.store.Events(c.ctx, c.t.ID, q, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	items, err := eventViews(found.Items)
	return listing{items: items, total: found.Total}, err
}

// followLogs is from and take: oldest first, all other parameters ignored. The
// position is a log_id, which callers may choose themselves; the next page is
// named by the Link header, on an empty page by the same position again.
func (c *call) followLogs() (any, error) {
	found, err := c.store.Events(c.ctx, c.t.ID, tenant.EventQuery{Ascending: true}, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	items, err := eventViews(found.Items)
	if err != nil {
		return nil, err
	}
	from := c.page.After
	if n := len(found.Items); n > 0 {
		from = found.Items[n-1].ID
	}
	q := url.Values{"take": {strconv.Itoa(c.page.Limit)}}
	if from != "" {
		q.Set("from", from)
	}
	c.header.Set("Link", "<http://"+c.t.Domain+c.r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	return items, nil
}

func eventViews(events []tenant.Event) ([]*object, error) {
	out := make([]*object, len(events))
	for i, e := range events {
		var err error
		if out[i], err = eventView(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func eventView(e tenant.Event) (*object, error) {
	o := obj("date", e.At, "type", e.Type, "description", e.Description)
	for _, m := range []member{
		{"reason", e.Reason}, {"connection", e.Connection}, {"connection_id", e.ConnectionID},
		{"client_id", e.ClientID}, {"client_name", e.ClientName}, {"ip", e.Origin.IP}, {"hostname", e.Origin.Host},
		{"user_id", e.UserID}, {"user_name", e.UserName}, {"audience", e.Audience}, {"scope", e.Scope},
		{"strategy", e.Strategy}, {"strategy_type", e.StrategyType}, {"session_id", e.SessionID},
	} {
		if m.value != "" {
			o.members = append(o.members, m)
		}
	}
	o.set("user_agent", userAgent(e.Origin.UserAgent))
	if len(e.Origin.SDK) > 0 {
		if sdk, err := parseJSON(e.Origin.SDK); err == nil {
			o.set("auth0_client", sdk)
		}
	}
	details := &object{}
	if e.Details != nil {
		text, err := json.Marshal(e.Details)
		if err != nil {
			return nil, err
		}
		if details, err = parseObject(text); err != nil {
			return nil, err
		}
	}
	if e.FamilyID != "" {
		details.setDefault("familyId", string(e.FamilyID))
		details.setDefault("tokenCounter", int64(e.Generation))
	}
	if len(details.members) > 0 {
		o.set("details", details)
	}
	if e.Count > 1 {
		o.set("count", e.Count)
	}
	o.set("log_id", e.ID)
	o.set("_id", e.ID)
	o.set("isMobile", strings.Contains(e.Origin.UserAgent, "Mobile"))
	return o, nil
}

// userAgent is never empty on the wire.
func userAgent(s string) string {
	if s == "" {
		return "Other 0.0.0 / Other 0.0.0"
	}
	return s
}
