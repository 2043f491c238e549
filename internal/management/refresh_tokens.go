package management

import (
	"net/http"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// reasonByAdmin is why a family ended that an administrator named.
const reasonByAdmin = "revoked_by_admin"

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
			doc: "Ends every refresh token that matches and was issued until now. Some hundreds are ended when answered; the answer is the " +
				"job that ends the rest, which GET /jobs/{id} shows. A body that names nothing is refused.",
			scopes: []string{"delete:refresh_tokens"},
			body: accepts("RefreshTokenRevocation", closed(
				f("ids", list(str().chars(1, 30)).between(1, 100), "These tokens, 100 at most"),
				f("user_id", str().as("user-id"), "Those of this user"),
				f("client_id", str().chars(1, 200), "Those with this client"),
				f("audience", str().chars(1, 600), "Those for this API"),
			)),
			status: http.StatusAccepted, answer: one(jobResource()),
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
		a.timeline(),
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
				if err := c.revokeAll(tenant.RefreshTokenFilter{UserID: c.path["id"]}, reasonByAdmin); err != nil {
					return nil, err
				}
				c.store.Record(c.written(nil))
				return nil, nil
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
		servers = append(servers, obj("audience", audience, "scopes", strings.Join(scopes, " ")))
	}
	add(f.Audience, f.Scopes)
	for _, r := range f.ResourceServers {
		add(r.Audience, r.Scope)
	}
	o := obj("id", string(f.ID), "user_id", f.UserID, "created_at", f.CreatedAt,
		"idle_expires_at", instantOrNull(f.IdleExpiresAt), "expires_at", instantOrNull(f.ExpiresAt),
		"device", deviceView(f.Device), "client_id", f.ClientID, "session_id", nil, "rotating", f.Rotating,
		"resource_servers", servers, "last_exchanged_at", instantOrNull(f.LastExchangedAt))
	if f.SessionID != "" {
		o.set("session_id", f.SessionID)
	}
	if m := metadataView(f.Metadata); m != nil {
		o.set("refresh_token_metadata", m)
	}
	return o
}

// updateFamily replaces the metadata; {} and null clear it (refresh-tokens.md §10).
func (c *call) updateFamily() (any, error) {
	id := tenant.FamilyID(c.path["id"])
	found, err := c.store.RefreshToken(c.ctx, c.t.ID, id)
	if err != nil {
		return nil, meaning(err, errNoRefreshToken, nil)
	}
	metadata, given, err := c.givenMetadata("refresh_token_metadata")
	if err != nil || !given {
		return familyView(found), err
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

// givenMetadata is the metadata in the body; given is false when there is none.
func (c *call) givenMetadata(name string) (metadata map[string]string, given bool, err error) {
	v, given := c.body.get(name)
	metadata = map[string]string{}
	o, _ := v.(*object)
	if o == nil {
		return metadata, given, nil
	}
	for _, m := range o.members {
		if !metadataKey(m.name) {
			return nil, given, invalid("Metadata keys may only include letters, numbers, underscores, or hyphens, and must be at most 255 characters.")
		}
		metadata[m.name] = m.value.(string)
	}
	return metadata, given, nil
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
	hash, failed, err := c.familyHash(c.ctx, c.t)
	if err != nil {
		return err
	}
	now := c.clock.Now()
	e := c.familyEnded(reasonByAdmin)
	e.FamilyID, e.Generation, e.UserID, e.ClientID = id, found.Generation, found.UserID, found.ClientID
	e.SessionID, e.Audience = found.SessionID, found.Audience
	err = c.store.RevokeFamily(c.ctx, tenant.Revocation{
		TenantID: c.t.ID, ID: id, At: now, Reason: reasonByAdmin,
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
// Nothing is never everything.
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
	if err := c.knownParties(filter); err != nil {
		return nil, err
	}
	return c.startRevocation(filter)
}

// knownParties refuses names of nobody: a misspelt one must not look like success.
func (c *call) knownParties(f tenant.RefreshTokenFilter) error {
	for _, p := range []struct {
		name    string
		missing string
		find    func() error
	}{
		{f.UserID, "User not found.", func() error { _, err := c.store.User(c.ctx, c.t.ID, f.UserID); return err }},
		{f.ClientID, "Client not found.", func() error { _, err := c.store.Client(c.ctx, c.t, f.ClientID); return err }},
		{f.Audience, "Resource server not found.", func() error { _, err := c.store.ResourceServer(c.ctx, c.t, f.Audience); return err }},
	} {
		if p.name == "" {
			continue
		}
		if err := meaning(p.find(), badRequest("invalid_body", p.missing), nil); err != nil {
			return err
		}
	}
	return nil
}
