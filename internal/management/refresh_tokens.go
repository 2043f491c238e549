package management

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var errNoRefreshToken = notFound("", "The refresh token does not exist.")

func refreshTokenResource() *resource {
	return &resource{
		name: "RefreshToken",
		doc:  "A refresh token: the whole family where it rotates. Its id names it and is not the secret.",
		fields: []field{
			f("id", str(), "Names the token; it is not the secret").readOnly(),
			f("user_id", str(), "Whose it is").readOnly(),
			f("created_at", str().as("date-time"), "Instant of issue").readOnly(),
			f("idle_expires_at", str().as("date-time").orNull(), "End if nobody uses it; null is never").readOnly(),
			f("expires_at", str().as("date-time").orNull(), "End whatever happens; null is never").readOnly(),
			f("device", free(), "Where the refresh token lives").readOnly(),
			f("client_id", str(), "Who holds it").readOnly(),
			f("session_id", str().orNull(), "The login it came from, or null").readOnly(),
			f("rotating", boolean(), "Each use replaces the value").readOnly(),
			f("resource_servers", list(free()), "The APIs it gives tokens for, with their scopes in one string").readOnly(),
			f("refresh_token_metadata", mapOf(str().atMost(255)).atMost(25).orNull(), "Up to 25 notes of your own, kept through rotation"),
			f("last_exchanged_at", str().as("date-time").orNull(), "Instant of the last use, or null").readOnly(),
		},
	}
}

// refreshTokens are the operations on families (management-endpoints.md §6).
func (a *API) refreshTokens() group {
	token := refreshTokenResource()
	id := f("id", str().chars(1, 30), "The refresh token's id")
	user := f("id", str().as("user-id"), "The user's id")
	return group{tag: "refresh-tokens", operations: []operation{
		{
			method: http.MethodGet, path: "/refresh-tokens", title: "List refresh tokens",
			scopes: []string{"read:refresh_tokens"},
			query: []field{
				f("user_id", str().as("user-id"), "Whose tokens"),
				f("client_id", str().atMost(200), "Only those with this client"),
			},
			status: http.StatusOK, answer: paged(token, listForm{key: "refresh_tokens", checkpoint: true, only: true}),
			serve: func(c *call) (any, error) {
				if !c.query.has("user_id") {
					return nil, badRequest("invalid_query_string", "Missing required 'user_id' parameter.")
				}
				return c.listFamilies(tenant.RefreshTokenFilter{UserID: c.query.text("user_id"), ClientID: c.query.text("client_id")})
			},
		},
		{
			method: http.MethodPost, path: "/refresh-tokens/revoke", title: "Revoke refresh tokens",
			doc:    "Ends every refresh token that matches. It is done when answered.",
			scopes: []string{"delete:refresh_tokens"},
			body: accepts("RefreshTokenRevocation", closed(
				f("ids", list(str().chars(1, 30)).between(1, 100), "These tokens, 100 at most"),
				f("user_id", str().as("user-id"), "Those of this user"),
				f("client_id", str().chars(1, 200), "Those with this client"),
				f("audience", str().chars(1, 600), "Those for this API"),
			)),
			status: http.StatusAccepted, answer: answer{empty: true},
			serve: (*call).revokeFamilies,
		},
		{
			method: http.MethodGet, path: "/refresh-tokens/{id}", title: "Read a refresh token",
			scopes: []string{"read:refresh_tokens"}, params: []field{id}, status: http.StatusOK, answer: one(token),
			serve: func(c *call) (any, error) {
				found, err := c.store.RefreshToken(c.ctx, c.t.ID, tenant.FamilyID(c.path["id"]))
				if err != nil {
					return nil, meaning(err, errNoRefreshToken, nil)
				}
				if !found.RevokedAt.IsZero() || found.Expired(c.now) {
					return nil, errNoRefreshToken
				}
				return familyView(found), nil
			},
		},
		{
			method: http.MethodPatch, path: "/refresh-tokens/{id}", title: "Update a refresh token",
			scopes: []string{"update:refresh_tokens"}, params: []field{id}, body: token.updates(), status: http.StatusOK, answer: one(token),
			serve: (*call).updateFamily,
		},
		{
			method: http.MethodDelete, path: "/refresh-tokens/{id}", title: "Delete a refresh token",
			doc:    "Ends the refresh token with its whole family. It is done when answered.",
			scopes: []string{"delete:refresh_tokens"}, params: []field{id}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) { return nil, c.revoke(tenant.FamilyID(c.path["id"])) },
		},
		{
			method: http.MethodGet, path: "/users/{id}/refresh-tokens", title: "List a user's refresh tokens",
			scopes: []string{"read:refresh_tokens"}, params: []field{user}, status: http.StatusOK,
			answer: paged(token, listForm{key: "tokens", checkpoint: true, only: true}),
			serve: func(c *call) (any, error) {
				if _, err := c.store.User(c.ctx, c.t.ID, c.path["id"]); err != nil {
					return nil, meaning(err, errNoUser, nil)
				}
				return c.listFamilies(tenant.RefreshTokenFilter{UserID: c.path["id"]})
			},
		},
		{
			method: http.MethodDelete, path: "/users/{id}/refresh-tokens", title: "Delete refresh tokens for a user",
			scopes: []string{"delete:refresh_tokens"}, params: []field{user}, status: http.StatusAccepted, answer: answer{empty: true},
			serve: func(c *call) (any, error) {
				if _, err := c.store.User(c.ctx, c.t.ID, c.path["id"]); err != nil {
					return nil, meaning(err, errNoUser, nil)
				}
				return nil, c.revokeAll(tenant.RefreshTokenFilter{UserID: c.path["id"]}, "revoked_by_admin")
			},
		},
	}}
}

func (c *call) listFamilies(filter tenant.RefreshTokenFilter) (any, error) {
	filter.Now = c.now
	found, err := c.store.RefreshTokens(c.ctx, c.t.ID, filter, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), next: found.Next}
	for i, f := range found.Items {
		l.items[i] = familyView(f)
	}
	return l, nil
}

// familyView is the vendor's refresh token: deadlines stay visible as null, and
// scopes are one string.
func familyView(f tenant.RefreshToken) *object {
	servers := []any{}
	add := func(audience string, scopes []string) {
		if audience == "" {
			return
		}
		if i := slices.IndexFunc(servers, func(v any) bool { return v.(*object).text("audience") == audience }); i >= 0 {
			return
		}
		servers = append(servers, obj("audience", audience, "scopes", joinScopes(scopes)))
	}
	add(f.Audience, f.Scopes)
	for _, r := range f.ResourceServers {
		add(r.Audience, r.Scope)
	}
	device := &object{}
	for _, m := range []member{
		{"initial_ip", f.Device.InitialIP}, {"initial_asn", f.Device.InitialASN}, {"initial_user_agent", f.Device.InitialUserAgent},
		{"last_ip", f.Device.LastIP}, {"last_asn", f.Device.LastASN}, {"last_user_agent", f.Device.LastUserAgent},
	} {
		if m.value != "" {
			device.members = append(device.members, m)
		}
	}
	o := obj("id", string(f.ID), "user_id", f.UserID, "created_at", f.CreatedAt,
		"idle_expires_at", instantOrNull(f.IdleExpiresAt), "expires_at", instantOrNull(f.ExpiresAt),
		"device", device, "client_id", f.ClientID, "session_id", nil, "rotating", f.Rotating,
		"resource_servers", servers, "last_exchanged_at", instantOrNull(f.LastExchangedAt))
	if f.SessionID != "" {
		o.set("session_id", f.SessionID)
	}
	if len(f.Metadata) > 0 {
		text, _ := json.Marshal(f.Metadata) // a map of strings has a JSON form
		if v, err := parseObject(text); err == nil {
			o.set("refresh_token_metadata", v)
		}
	}
	return o
}

func joinScopes(scopes []string) string {
	out := ""
	for i, s := range scopes {
		if i > 0 {
			out += " "
		}
		out += s
	}
	return out
}

// updateFamily replaces the metadata; {} and null clear it (refresh-tokens.md §10).
func (c *call) updateFamily() (any, error) {
	id := tenant.FamilyID(c.path["id"])
	found, err := c.store.RefreshToken(c.ctx, c.t.ID, id)
	if err != nil {
		return nil, meaning(err, errNoRefreshToken, nil)
	}
	v, given := c.body.get("refresh_token_metadata")
	if !given {
		return familyView(found), nil
	}
	metadata := map[string]string{}
	if o, ok := v.(*object); ok {
		for _, m := range o.members {
			if !metadataKey(m.name) {
				return nil, invalid("Metadata keys may only include letters, numbers, underscores, or hyphens, and must be at most 255 characters.")
			}
			metadata[m.name] = m.value.(string)
		}
	}
	after := found
	after.Metadata = metadata
	e := c.written(familyView(after))
	e.FamilyID, e.UserID = id, found.UserID
	updated, err := c.store.SetRefreshTokenMetadata(c.ctx, c.t.ID, id, metadata, e)
	if err != nil {
		return nil, meaning(err, errNoRefreshToken, nil)
	}
	return familyView(updated), nil
}

func metadataKey(s string) bool {
	for _, b := range []byte(s) {
		if b != '_' && b != '-' && !('0' <= b && b <= '9') && !('a' <= b|0x20 && b|0x20 <= 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// revoke ends one family; ending what is not there succeeds.
func (c *call) revoke(id tenant.FamilyID) error {
	found, err := c.store.RefreshToken(c.ctx, c.t.ID, id)
	if err != nil {
		return deleted(err)
	}
	denied, err := c.hashes.AuthorizationHash(c.ctx, c.t, string(id))
	if err != nil {
		return err
	}
	hash, failed, err := c.familyHash()
	if err != nil {
		return err
	}
	now := c.clock.Now()
	e := c.event(audit.RefreshRevoked, nil)
	e.FamilyID, e.Generation, e.UserID, e.ClientID = id, found.Generation, found.UserID, found.ClientID
	e.SessionID, e.Audience, e.Reason = found.SessionID, found.Audience, "revoked_by_admin"
	err = c.store.RevokeFamily(c.ctx, tenant.Revocation{
		TenantID: c.t.ID, ID: id, At: now, Reason: "revoked_by_admin",
		DeniedUntil: now.Add(maxTokenLifetime), DeniedHash: denied,
		DeleteConsent: c.t.Settings.Flags.RevokeRefreshTokenGrant, FamilyHash: hash, Event: e,
	})
	if err != nil {
		return deleted(err)
	}
	c.store.Record(c.written(nil))
	return failed()
}

// revokeFamilies takes ids, a user, a user with a client, or those with an API.
func (c *call) revokeFamilies() (any, error) {
	b := c.body
	ids, user, client, audience := b.has("ids"), b.has("user_id"), b.has("client_id"), b.has("audience")
	if ids == user || ids && (client || audience) || audience && !client {
		return nil, badRequest("invalid_body", "Invalid combination of parameters.")
	}
	filter := tenant.RefreshTokenFilter{UserID: b.text("user_id"), ClientID: b.text("client_id"), Audience: b.text("audience")}
	for _, id := range b.strings("ids") {
		filter.IDs = append(filter.IDs, tenant.FamilyID(id))
	}
	if user {
		if _, err := c.store.User(c.ctx, c.t.ID, filter.UserID); errors.Is(err, tenant.ErrNotFound) {
			return nil, badRequest("invalid_body", "User not found.")
		} else if err != nil {
			return nil, err
		}
	}
	return nil, c.revokeAll(filter, "revoked_by_admin")
}
