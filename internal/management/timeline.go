package management

import (
	"errors"
	"net/http"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func timelineResource() *resource {
	return &resource{
		name: "RefreshTokenEvent",
		doc:  "Something that happened to a refresh token. Together they answer why a user was logged out.",
		fields: []field{
			f("date", str().as("date-time"), "When it happened").readOnly(),
			f("event", oneOf("issued", "rotated", "kept", "replayed", "refused", "reused", "revoked", "evicted", "updated", "warned"),
				"What it was. reused, revoked and evicted end the token with its family").readOnly(),
			f("reason", str(), "A stable word for why").readOnly(),
			f("generation", integer(), "Which value was presented, counted from 0 by rotations").readOnly(),
			f("ip", str(), "Address the request came from").readOnly(),
			f("user_agent", str(), "User-Agent of the request").readOnly(),
			f("client_id", str(), "The client that asked, or whose token it is").readOnly(),
			f("revoked_by", free(), "Client and user of the Management API token that ended it").readOnly(),
			f("count", integer(), "How many like events this one stands for").readOnly(),
			f("log_id", str(), "The same event in the log").readOnly(),
		},
	}
}

// timeline is the history of one family, as long as the log keeps it (D14). It
// outlives the family's row: what was evicted is still explained.
func (a *API) timeline() operation {
	entry := timelineResource()
	return operation{
		method: http.MethodGet, path: "/refresh-tokens/{id}/events", title: "List a refresh token's events",
		doc:    "Oldest first: issued, rotated, repeated, refused and why, ended and by whom. Kept as long as the log.",
		scopes: []string{"read:refresh_tokens"}, params: []field{f("id", str().chars(1, 30), "The refresh token's id")},
		status: http.StatusOK, answer: paged(entry, listForm{key: "events", checkpoint: true, only: true}),
		serve: (*call).listTimeline,
	}
}

func (c *call) listTimeline() (any, error) {
	id := tenant.FamilyID(c.path["id"])
	found, err := c.store.Events(c.ctx, c.t.ID, tenant.EventQuery{FamilyID: id, Ascending: true}, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	if len(found.Items) == 0 && c.page.After == "" {
		if _, err := c.store.RefreshToken(c.ctx, c.t.ID, id); err != nil {
			return nil, meaning(err, errNoRefreshToken, nil)
		}
	}
	l := listing{items: make([]*object, len(found.Items)), next: found.Next}
	for i, e := range found.Items {
		l.items[i] = timelineView(e)
	}
	if found.Next != "" {
		return l, nil
	}
	end, err := c.endWithoutEvent(id)
	if err == nil && end != nil {
		l.items = append(l.items, end)
	}
	return l, err
}

// endWithoutEvent is the end of a family that ended with its client or API: one
// event tells of them all, which may be millions, so the row says it.
func (c *call) endWithoutEvent(id tenant.FamilyID) (*object, error) {
	f, err := c.store.RefreshToken(c.ctx, c.t.ID, id)
	if errors.Is(err, tenant.ErrNotFound) {
		return nil, nil
	}
	if err != nil || f.RevokedReason != "client_deleted" && f.RevokedReason != "resource_server_deleted" {
		return nil, err
	}
	return obj("date", f.RevokedAt, "event", "revoked", "reason", f.RevokedReason, "generation", int64(f.Generation), "client_id", f.ClientID), nil
}

func timelineView(e tenant.Event) *object {
	o := obj("date", e.At, "event", happened(e))
	if e.Reason != "" {
		o.set("reason", e.Reason)
	}
	o.set("generation", int64(e.Generation))
	for _, m := range []member{{"ip", e.Origin.IP}, {"user_agent", e.Origin.UserAgent}, {"client_id", e.ClientID}} {
		if m.value != "" {
			o.members = append(o.members, m)
		}
	}
	if by, ok := e.Details["revokedBy"].(map[string]any); ok {
		who := &object{}
		for _, name := range []string{"client_id", "user_id"} {
			if v, ok := by[name].(string); ok {
				who.set(name, v)
			}
		}
		o.set("revoked_by", who)
	}
	if e.Count > 1 {
		o.set("count", e.Count)
	}
	o.set("log_id", e.ID)
	return o
}

// happened is an event of a family in one word.
func happened(e tenant.Event) string {
	switch {
	case e.Type == audit.RefreshReused:
		return "reused"
	case e.Type == audit.RefreshRevoked, e.Reason == "code_reused":
		return "revoked"
	case e.Type == audit.ResourceCleanup:
		return "evicted"
	case audit.Refusal(e.Type):
		return "refused"
	case e.Type == audit.ManagementWritten:
		return "updated"
	case e.Type == audit.LoginWarning:
		return "warned"
	case e.Type == audit.RefreshExchanged && e.Reason != "":
		return e.Reason // rotated, kept, replayed
	}
	return "issued"
}
