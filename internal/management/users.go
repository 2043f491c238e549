package management

import (
	"errors"
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

var (
	errNoUser     = notFound("inexistent_user", "The user does not exist.")
	errUserExists = conflict("auth0_idp_error", "The user already exists.")
)

func userResource() *resource {
	updates := []string{"update:users"}
	metadata := []string{"update:users", "update:current_user_metadata"}
	return &resource{
		name:       "User",
		doc:        "A person.",
		advice:     " (consider storing them in app_metadata or user_metadata)",
		updateWith: updates,
		fields: []field{
			f("created_at", str().as("date-time"), "Instant of creation").readOnly(),
			f("email", str().as("email"), "Address, kept in lower case").clearable(),
			f("email_verified", boolean(), "The user has shown that the address is theirs; false unless set"),
			f("family_name", str().chars(1, 150), "Surname").clearable(),
			f("given_name", str().chars(1, 150), "First name").clearable(),
			f("identities", list(free()), "Where the user signs in, the first being the main one").readOnly(),
			f("name", str().chars(1, 300), "Full name; the address unless set").clearable(),
			f("nickname", str().chars(1, 300), "Short name; the part of the address before @ unless set").clearable(),
			f("picture", str().as("strict-uri").atMost(2048), "Address of a picture").clearable(),
			f("updated_at", str().as("date-time"), "Instant of the last change").readOnly(),
			f("user_id", str().chars(0, 255).match(`^\S*$`), "Your own id after the bar; made by the server when none is given").immutable(),
			f("username", str().chars(1, 128).match(`^[^\s\x00-\x1f\x7f]+$`), "Name to sign in with, where the connection has such").clearable(),
			f("phone_number", str().match(`^\+[0-9]{1,15}$`), "E.164: + and at most 15 digits").clearable(),
			f("phone_verified", boolean(), "The user has shown that the number is theirs"),
			f("blocked", boolean(), "Blocked users get no token, and those they have are refused"),
			f("user_metadata", free(), "Notes the user may read and change").clearable().changedWith(metadata...),
			f("app_metadata", free(), "Notes the user cannot change").clearable().changedWith("update:users", "update:users_app_metadata"),
			f("last_ip", str(), "Address of the last login").readOnly(),
			f("last_login", str().as("date-time"), "Instant of the last login").readOnly(),
			f("last_password_reset", str().as("date-time"), "Instant of the last new password").readOnly(),
			f("logins_count", integer(), "How often the user has logged in").readOnly(),
			f("connection", str().notEmpty(), "The connection's name; on a change, which identity is meant").must().writeOnly().changedWith("update:users", "update:users_app_metadata", "update:current_user_metadata"),
			f("password", str().chars(1, 1024), "Judged by the connection's policy; a new one ends sessions and refresh tokens").writeOnly().concealed().clearable(),
			f("verify_email", boolean(), "Sends a message to prove the address").writeOnly(),
			f("verify_phone_number", boolean(), "Sends a message to prove the number").writeOnly().onlyUpdate(),
			f("verify_password", boolean(), "Taken and without effect").writeOnly().onlyUpdate(),
			f("client_id", str().notEmpty(), "The client that a message is sent for").writeOnly().onlyUpdate(),
		},
	}
}

// users are the operations on users (management-endpoints.md §4).
func (a *API) users() group {
	user := userResource()
	id := f("id", str().as("user-id"), "The user's id")
	return group{tag: "users", operations: []operation{
		{
			method: http.MethodGet, path: "/users", title: "List users",
			doc:    "The search is a subset of the Lucene syntax. At most 1000 users can be reached by page.",
			scopes: []string{"read:users", "read:user_idp_tokens"},
			query: []field{
				f("q", str().atMost(2000), "A search: field:value, AND, OR, NOT, ranges, wildcards at the ends"),
				f("sort", str().atMost(100), "field:1 for ascending, field:-1 for descending"),
				f("connection", str().atMost(128), "Only users of this connection"),
				f("search_engine", oneOf("v1", "v2", "v3"), "Taken and without effect: there is one search"),
				f("primary_order", boolean(), "Taken and without effect: the order is always fixed"),
			},
			status: http.StatusOK,
			answer: paged(user, listForm{key: "users", emptyPage: true, always: true, length: true, most: 1000}),
			serve:  (*call).listUsers,
		},
		{
			method: http.MethodGet, path: "/users-by-email", title: "Find users by address",
			scopes: []string{"read:users"},
			query:  []field{f("email", str().chars(1, 320), "The address, exactly as it is kept").must()},
			status: http.StatusOK, answer: every(user),
			serve: func(c *call) (any, error) {
				found, err := c.store.UsersByEmail(c.ctx, c.t.ID, c.query.text("email"))
				if err != nil {
					return nil, err
				}
				return userViews(found)
			},
		},
		{
			method: http.MethodPost, path: "/users", title: "Create a User",
			scopes: []string{"create:users"}, body: user.creates(), status: http.StatusCreated, answer: one(user),
			serve: (*call).createUser,
		},
		{
			method: http.MethodGet, path: "/users/{id}", title: "Read a user",
			scopes: []string{"read:users", "read:current_user", "read:user_idp_tokens"}, params: []field{id},
			status: http.StatusOK, answer: one(user),
			serve: func(c *call) (any, error) {
				u, err := c.store.User(c.ctx, c.t.ID, c.path["id"])
				if err != nil {
					return nil, meaning(err, errNoUser, nil)
				}
				return userView(u)
			},
		},
		{
			method: http.MethodPatch, path: "/users/{id}", title: "Update a User",
			scopes: []string{"update:users", "update:users_app_metadata", "update:current_user_metadata"}, params: []field{id},
			body: user.updates(), status: http.StatusOK, answer: one(user),
			serve: (*call).updateUser,
		},
		{
			method: http.MethodDelete, path: "/users/{id}", title: "Delete a User",
			doc:    "Deletes the user with sessions, refresh tokens and consents, and refuses their access tokens. Deleting what is not there succeeds.",
			scopes: []string{"delete:users", "delete:current_user"}, params: []field{id}, status: http.StatusNoContent,
			serve: (*call).deleteUser,
		},
	}}
}

func userViews(users []tenant.User) ([]*object, error) {
	out := make([]*object, len(users))
	for i, u := range users {
		var err error
		if out[i], err = userView(u); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// userView is the profile; what is not set is not there.
func userView(u tenant.User) (*object, error) {
	identities := make([]any, len(u.Identities))
	for i, id := range u.Identities {
		identities[i] = obj("connection", id.Connection, "user_id", id.UserID, "provider", id.Provider, "isSocial", id.Social)
	}
	o := obj("user_id", u.ID, "email_verified", u.EmailVerified, "identities", identities,
		"created_at", u.CreatedAt, "updated_at", u.UpdatedAt)
	for name, v := range map[string]string{
		"email": u.Email, "username": u.Username, "phone_number": u.PhoneNumber, "name": u.Name, "nickname": u.Nickname,
		"given_name": u.GivenName, "family_name": u.FamilyName, "picture": u.Picture, "last_ip": u.LastIP,
	} {
		if v != "" {
			o.set(name, v)
		}
	}
	if u.PhoneVerified {
		o.set("phone_verified", true)
	}
	if u.Blocked {
		o.set("blocked", true)
	}
	if !u.LastLoginAt.IsZero() {
		o.set("last_login", u.LastLoginAt)
		o.set("logins_count", u.LoginsCount)
	}
	if !u.LastPasswordResetAt.IsZero() {
		o.set("last_password_reset", u.LastPasswordResetAt)
	}
	for name, text := range map[string][]byte{"user_metadata": u.UserMetadata, "app_metadata": u.AppMetadata} {
		if len(text) == 0 {
			continue
		}
		v, err := parseObject(text)
		if err != nil {
			return nil, err
		}
		o.set(name, v)
	}
	return o, nil
}

func (c *call) listUsers() (any, error) {
	where, err := userSearch(c.query.text("q"))
	if err != nil {
		return nil, err
	}
	if name := c.query.text("connection"); name != "" {
		only := tenant.Condition{Op: "eq", Field: "identities.connection", Value: name}
		if where != nil {
			only = tenant.Condition{Op: "and", Nodes: []tenant.Condition{only, *where}}
		}
		where = &only
	}
	q := tenant.UserQuery{Where: where}
	if q.Sort, q.Descending, err = sorting(c.query.text("sort"), func(name string) bool {
		_, ok := tenant.UserField(name)
		return ok && !strings.Contains(name, ".")
	}); err != nil {
		return nil, err
	}
	found, err := c.store.Users(c.ctx, c.t.ID, q, c.page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	items, err := userViews(found.Items)
	return listing{items: items, total: found.Total, next: found.Next}, err
}

// sorting reads field:1 or field:-1.
func sorting(text string, known func(string) bool) (field string, descending bool, err error) {
	if text == "" {
		return "", false, nil
	}
	field, order, _ := strings.Cut(text, ":")
	if !known(field) || order != "" && order != "1" && order != "-1" {
		return "", false, (&fault{reason: "The list cannot be sorted by " + echo(text), path: "sort",
			doc: "field:1 for ascending, field:-1 for descending"}).invalidQuery()
	}
	return field, order == "-1", nil
}

func (c *call) createUser() (any, error) {
	u, hash, err := c.newUser(c.body)
	if err != nil {
		return nil, err
	}
	view, err := userView(u)
	if err != nil {
		return nil, err
	}
	e := c.written(view)
	e.Connection = u.Connection()
	if err := c.store.CreateUser(c.ctx, u, hash, e); err != nil {
		return nil, meaning(err, nil, errUserExists)
	}
	c.store.Record(c.about(audit.SignupSucceeded, u))
	return view, nil
}

// about is the event of what a write did to a user, beside its own.
func (c *call) about(kind string, u tenant.User) tenant.Event {
	return tenant.Event{
		TenantID: c.t.ID, At: c.clock.Now(), Type: kind, UserID: u.ID, UserName: u.Email, Connection: u.Connection(),
		Strategy: tenant.DatabaseStrategy, StrategyType: "database", ClientID: c.claims.ClientID, Origin: c.origin,
	}
}

func (c *call) updateUser() (any, error) {
	id := c.path["id"]
	now, err := c.store.User(c.ctx, c.t.ID, id)
	if err != nil {
		return nil, meaning(err, errNoUser, nil)
	}
	if err := c.checkUserPatch(now); err != nil {
		return nil, err
	}
	var hash string
	if p := c.body.text("password"); p != "" {
		connection, err := c.store.Connection(c.ctx, c.t, now.Connection())
		if err != nil {
			return nil, meaning(err, errNoConnectionOf, nil)
		}
		if hash, err = c.hashPassword(connection, p, now); err != nil {
			return nil, err
		}
	}
	e := c.written(nil)
	e.UserID, e.UserName, e.Connection = now.ID, now.Email, now.Connection()
	updated, err := c.store.UpdateUser(c.ctx, c.t.ID, id, func(u tenant.User) (tenant.User, error) {
		before, err := userView(u)
		if err != nil {
			return u, err
		}
		changed, err := patchUser(u, c.body)
		if err != nil {
			return u, err
		}
		changed.UpdatedAt = c.now
		if hash != "" {
			changed.LastPasswordResetAt = c.now
		}
		after, err := userView(changed)
		c.tell(e, before, after)
		return changed, err
	}, hash, e)
	if err != nil {
		return nil, meaning(err, errNoUser, badRequest("auth0_idp_error", "The specified new email already exists"))
	}
	if hash != "" {
		// A new password ends what the old one began (security.md §30).
		if err := c.revokeAll(tenant.RefreshTokenFilter{UserID: id}, "password_changed"); err != nil {
			return nil, err
		}
		c.store.Record(c.about(audit.PasswordChanged, updated))
	}
	return userView(updated)
}

func (c *call) deleteUser() (any, error) {
	u, err := c.store.User(c.ctx, c.t.ID, c.path["id"])
	if err != nil {
		return nil, deleted(err)
	}
	return nil, c.endUser(u)
}

// endUser deletes a user with all that is theirs.
func (c *call) endUser(u tenant.User) error {
	if _, err := c.end(u.ID, "user_deleted", c.store.DeleteUser); err != nil {
		return err
	}
	c.store.Record(c.about(audit.UserDeleted, u))
	return nil
}

// revokeAll ends every live family that matches, a few hundred at a time, so
// that no single commit holds up the writer.
func (c *call) revokeAll(filter tenant.RefreshTokenFilter, reason string) error {
	const batch = 200
	for {
		d, failed, err := c.deletion("", reason)
		if err != nil {
			return err
		}
		d.Event = c.familyEnded(reason)
		n, err := c.store.RevokeFamilies(c.ctx, filter, d, batch)
		if err != nil || n == 0 {
			return err
		}
		if err := failed(); err != nil {
			return err
		}
	}
}

var errNoConnectionOf = errors.New("the user's connection is gone")
