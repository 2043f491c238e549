package management

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoSession = notFound("", "The session does not exist.")

// Reasons of families that end with a session or by POST …/revoke-access.
const (
	reasonSessionRevoked = "session_revoked"
	reasonAccessRevoked  = "access_revoked"
)

func sessionResource() *resource {
	return &resource{
		name: "Session",
		doc:  "A browser's login, shared by all clients of the tenant. Its id is sid of ID tokens and not the cookie.",
		fields: []field{
			f("id", str(), "Names the session; sid of its ID tokens").readOnly(),
			f("user_id", str(), "Who is signed in").readOnly(),
			f("created_at", str().as("date-time"), "Instant it began").readOnly(),
			f("updated_at", str().as("date-time"), "Instant of the last use").readOnly(),
			f("authenticated_at", str().as("date-time"), "When the user last proved who they are").readOnly(),
			f("idle_expires_at", str().as("date-time"), "End if nobody uses it").readOnly(),
			f("expires_at", str().as("date-time"), "End whatever happens").readOnly(),
			f("last_interacted_at", str().as("date-time"), "Instant of the last use").readOnly(),
			f("device", free(), "Where the browser is, first and last seen").readOnly(),
			f("clients", list(free()), "The clients that got something in this session").readOnly(),
			f("authentication", free(), "How the user proved it").readOnly(),
			f("cookie", free(), "Whether the cookie outlives the browser").readOnly(),
			f("session_metadata", mapOf(str().atMost(255)).atMost(25).orNull(), "Up to 25 notes of your own"),
		},
	}
}

// sessions are the operations on logins (management-endpoints.md §7). All are
// done when answered, whatever the vendor's 202 leaves open (SEC-127).
func (a *API) sessions() group {
	session := sessionResource()
	id := f("id", str().chars(1, 50), "The session's id")
	user := f("id", str().as("user-id"), "The user's id")
	revoke := []string{"delete:sessions", "delete:refresh_tokens"}
	return group{tag: "sessions", operations: []operation{
		{
			method: http.MethodGet, path: "/sessions/{id}", title: "Read a session",
			scopes: []string{"read:sessions"}, params: []field{id}, status: http.StatusOK, answer: one(session),
			serve: func(c *call) (any, error) {
				found, err := c.liveSession()
				if err != nil {
					return nil, err
				}
				return c.sessionView(found), nil
			},
		},
		{
			method: http.MethodPatch, path: "/sessions/{id}", title: "Update a session",
			scopes: []string{"update:sessions"}, params: []field{id}, body: session.updates(), status: http.StatusOK, answer: one(session),
			serve: (*call).updateSession,
		},
		{
			method: http.MethodDelete, path: "/sessions/{id}", title: "Delete a session",
			doc:    "Ends the session; refresh tokens that came from it live on. Deleting what is not there succeeds.",
			scopes: []string{"delete:sessions"}, params: []field{id}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) {
				return nil, c.endSessions(tenant.SessionFilter{ID: c.path["id"]}, false, "")
			},
		},
		{
			method: http.MethodPost, path: "/sessions/{id}/revoke", title: "Revoke a session",
			doc:    "Ends the session and every refresh token that came from it, with their access tokens, in one step.",
			scopes: revoke, params: []field{id}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) {
				found, err := c.liveSession()
				if err != nil {
					return nil, err
				}
				return nil, c.endSessions(tenant.SessionFilter{ID: found.ID}, true, reasonSessionRevoked)
			},
		},
		{
			method: http.MethodGet, path: "/users/{id}/sessions", title: "List a user's sessions",
			scopes: []string{"read:sessions"}, params: []field{user}, status: http.StatusOK,
			answer: paged(session, listForm{key: "sessions", checkpoint: true, only: true}),
			serve:  (*call).listSessions,
		},
		{
			method: http.MethodDelete, path: "/users/{id}/sessions", title: "Delete a user's sessions",
			doc:    "Ends all sessions of the user; refresh tokens live on.",
			scopes: []string{"delete:sessions"}, params: []field{user}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) {
				if err := c.knownUser(c.path["id"]); err != nil {
					return nil, err
				}
				return nil, c.endSessions(tenant.SessionFilter{UserID: c.path["id"]}, false, "")
			},
		},
		{
			method: http.MethodPost, path: "/users/{id}/revoke-access", title: "Revoke a user's access",
			doc: "Ends one session of the user, or all of them, with the refresh tokens that came from them. Without session_id and " +
				"preserve_refresh_tokens it ends every refresh token of the user and refuses all access tokens that are out.",
			scopes: revoke, params: []field{user},
			body: accepts("AccessRevocation", closed(
				f("session_id", str().chars(1, 50), "Only this session; all of the user's when left out"),
				f("preserve_refresh_tokens", boolean(), "Lets refresh tokens live on; false unless set"),
			)),
			status: http.StatusAccepted, answer: answer{empty: true},
			serve: (*call).revokeAccess,
		},
	}}
}

// liveSession is the session of the path; one that has ended or expired does not
// exist any more.
func (c *call) liveSession() (tenant.Session, error) {
	found, err := c.store.Session(c.ctx, c.t.ID, c.path["id"])
	if err != nil {
		return found, meaning(err, errNoSession, nil)
	}
	if found.Expired(c.now) {
		return found, errNoSession
	}
	return found, nil
}

func (c *call) sessionView(s tenant.Session) *object {
	clients := make([]any, len(s.Clients))
	for i, id := range s.Clients {
		clients[i] = obj("client_id", id)
	}
	methods := make([]any, len(s.AMR))
	for i, name := range s.AMR {
		methods[i] = obj("name", name, "timestamp", s.AuthenticatedAt)
	}
	mode := "persistent"
	if k := c.t.Settings.SessionCookie; k != nil && k.Mode != "" {
		mode = k.Mode
	}
	used := s.LastUsedAt
	if used.IsZero() {
		used = s.CreatedAt
	}
	o := obj("id", s.ID, "user_id", s.UserID, "created_at", s.CreatedAt, "updated_at", used, "authenticated_at", s.AuthenticatedAt,
		"idle_expires_at", s.IdleExpiresAt, "expires_at", s.ExpiresAt, "last_interacted_at", used,
		"device", deviceView(s.Device), "clients", clients, "authentication", obj("methods", methods), "cookie", obj("mode", mode))
	if m := metadataView(s.Metadata); m != nil {
		o.set("session_metadata", m)
	}
	return o
}

// deviceView leaves out what is not known.
func deviceView(d tenant.Device) *object {
	o := &object{}
	for _, m := range []member{
		{"initial_ip", d.InitialIP}, {"initial_asn", d.InitialASN}, {"initial_user_agent", d.InitialUserAgent},
		{"last_ip", d.LastIP}, {"last_asn", d.LastASN}, {"last_user_agent", d.LastUserAgent},
	} {
		if m.value != "" {
			o.members = append(o.members, m)
		}
	}
	return o
}

// metadataView is nil for none.
func metadataView(m map[string]string) *object {
	if len(m) == 0 {
		return nil
	}
	text, _ := json.Marshal(m) // a map of strings has a JSON form
	o, err := parseObject(text)
	if err != nil {
		return nil
	}
	return o
}

func (c *call) listSessions() (any, error) {
	if err := c.knownUser(c.path["id"]); err != nil {
		return nil, err
	}
	found, err := c.store.Sessions(c.ctx, c.t.ID, tenant.SessionFilter{UserID: c.path["id"], Now: c.now}, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), next: found.Next}
	for i, s := range found.Items {
		l.items[i] = c.sessionView(s)
	}
	return l, nil
}

func (c *call) knownUser(id string) error {
	_, err := c.store.User(c.ctx, c.t.ID, id)
	return meaning(err, errNoUser, nil)
}

// updateSession replaces the metadata; {} and null clear it, as with refresh tokens.
func (c *call) updateSession() (any, error) {
	found, err := c.liveSession()
	if err != nil {
		return nil, err
	}
	metadata, given, err := c.givenMetadata("session_metadata")
	if err != nil || !given {
		return c.sessionView(found), err
	}
	after := found
	after.Metadata = metadata
	e := c.written(c.sessionView(after))
	e.UserID, e.SessionID = found.UserID, found.ID
	updated, err := c.store.SetSessionMetadata(c.ctx, c.t.ID, found.ID, metadata, e)
	if err != nil {
		return nil, meaning(err, errNoSession, nil)
	}
	return c.sessionView(updated), nil
}

// endSessions ends what matches, a few hundred at a time. The event of the
// request is in the first commit.
func (c *call) endSessions(filter tenant.SessionFilter, withFamilies bool, reason string) error {
	const batch = 100
	d, failed, err := c.deletion("", reason)
	if err != nil {
		return err
	}
	d.Event.UserID, d.Event.SessionID = orText(filter.UserID, d.Event.UserID), filter.ID
	filter.Now = d.At
	for {
		n, err := c.store.EndSessions(c.ctx, tenant.SessionEnd{
			Deletion: d, Filter: filter, WithFamilies: withFamilies, FamilyEvent: c.familyEnded(reason), Limit: batch,
		})
		if err != nil {
			return err
		}
		if err := failed(); err != nil || n < batch {
			return err
		}
		d.Event = tenant.Event{}
	}
}

// revokeAccess ends sessions first, so that nothing new comes from them, then
// the families, and marks last: a token minted in between is under the mark (D5).
func (c *call) revokeAccess() (any, error) {
	id := c.path["id"]
	if err := c.knownUser(id); err != nil {
		return nil, err
	}
	session, keep := c.body.text("session_id"), c.body.flag("preserve_refresh_tokens")
	if err := c.endSessions(tenant.SessionFilter{UserID: id, ID: session}, !keep, reasonAccessRevoked); err != nil {
		return nil, err
	}
	if keep {
		return nil, nil
	}
	// Families of sessions that ended before, and those that came from none.
	if err := c.revokeAll(tenant.RefreshTokenFilter{UserID: id, SessionID: session}, reasonAccessRevoked); err != nil || session != "" {
		return nil, err
	}
	now := c.clock.Now()
	return nil, c.store.RefuseIssued(c.ctx, c.t.ID, tenant.MarkSubject{Kind: "user", ID: id}, now, now.Add(maxTokenLifetime), tenant.Event{})
}

// familyEnded is the event of a family that this request ends; the store fills
// in whose it is. It says who asked, which client_id then does not.
func (c *call) familyEnded(reason string) tenant.Event {
	e := tenant.Event{
		TenantID: c.t.ID, At: c.clock.Now(), Type: audit.RefreshRevoked, Description: audit.Description(audit.RefreshRevoked),
		Reason: reason, Origin: c.origin,
	}
	by := map[string]any{"client_id": c.claims.ClientID}
	if !c.claims.Machine() {
		by["user_id"] = c.claims.Subject
	}
	e.Details = map[string]any{"revokedBy": by, "path": strings.TrimPrefix(c.r.URL.EscapedPath(), prefix)}
	return e
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
