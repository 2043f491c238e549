package management

import (
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// written is the event of a write (management-api.md §13): who asked for what,
// by which credential, from where. It goes into the commit that does it
// (SEC-194). after is the object as it will be answered, or nil.
func (c *call) written(after *object) tenant.Event {
	return c.event(audit.ManagementWritten, after)
}

func (c *call) event(kind string, after *object) tenant.Event {
	e := tenant.Event{
		TenantID: c.t.ID, At: c.clock.Now(), Type: kind, Description: c.op.title,
		ClientID: c.claims.ClientID, Origin: c.origin,
		Details: map[string]any{"request": c.requestDetails(), "response": c.responseDetails(after)},
	}
	if !c.claims.Machine() {
		e.UserID = c.claims.Subject
	}
	return e
}

// tell completes the event of an update from inside the change, where before
// and after are known. The event's details are a map, so the caller's copy of
// the event, which is written next, has it; a second run of the change
// overwrites what the first told.
func (c *call) tell(e tenant.Event, before, after *object) {
	e.Details["response"] = c.responseDetails(after)
	if r := c.op.answer.resource; r != nil {
		e.Details["before"] = redact(before, r.whole())
	}
}

func (c *call) requestDetails() map[string]any {
	auth := map[string]any{
		"user":     map[string]any{},
		"strategy": "jwt",
		"credentials": map[string]any{
			"jti": c.claims.ID, "scopes": c.claims.Scopes,
		},
	}
	if !c.claims.Machine() {
		auth["user"] = map[string]any{"user_id": c.claims.Subject}
	}
	d := map[string]any{
		"method":    strings.ToLower(c.r.Method),
		"path":      c.r.URL.EscapedPath(),
		"query":     c.query,
		"userAgent": c.origin.UserAgent,
		"ip":        c.origin.IP,
		"channel":   "api",
		"auth":      auth,
	}
	if id := c.r.Header.Get("X-Correlation-ID"); id != "" && c.r.Method != http.MethodGet {
		d["correlation_id"] = echo(id[:min(len(id), 64)])
	}
	if c.op.body != nil {
		if c.items != nil {
			d["body"] = redact(c.items, c.op.body.shape)
		} else {
			d["body"] = redact(c.body, c.op.body.shape)
		}
	}
	return d
}

func (c *call) responseDetails(after *object) map[string]any {
	d := map[string]any{"statusCode": c.op.status}
	if after != nil && c.op.answer.resource != nil {
		d["body"] = redact(after, c.op.answer.resource.whole())
	}
	return d
}

// whole is the resource with every field it ever has.
func (r *resource) whole() shape { return free(r.fields...) }

// redact is a value without what the description or its name calls a secret
// (SEC-230).
func redact(v any, s shape) any {
	switch v := v.(type) {
	case *object:
		if v == nil {
			return nil
		}
		out := &object{}
		for _, m := range v.members {
			inner, described := s.member(m.name)
			switch {
			case described && inner.secret, !described && secretName(m.name):
				out.set(m.name, audit.Redacted)
			default:
				out.set(m.name, redact(m.value, inner.shape))
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		item := shape{open: true}
		if s.item != nil {
			item = *s.item
		}
		for i, e := range v {
			out[i] = redact(e, item)
		}
		return out
	}
	return v
}

// member is the description of a member; ok is false for one nobody described.
func (s shape) member(name string) (field, bool) {
	for _, d := range s.fields {
		if d.name == name {
			return d, true
		}
	}
	return field{shape: shape{open: true}}, false
}

// secretName tells whether an undescribed member is named like a secret:
// options of connections and add-ons hold the credentials of other systems.
func secretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
	for _, part := range []string{"secret", "password", "privatekey", "apikey", "accesskey", "token", "credential", "masterkey", "saskey", "signingkey", "authorization"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
