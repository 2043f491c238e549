package management

import (
	"crypto/md5" // the address of a picture at Gravatar is made with it; it protects nothing
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/password"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// newUser makes a user of a validated body, and the hash of the password.
func (c *call) newUser(body *object) (tenant.User, string, error) {
	connection, err := c.store.Connection(c.ctx, c.t, body.text("connection"))
	if err != nil {
		return tenant.User{}, "", meaning(err, badRequest("inexistent_connection", "The connection does not exist."), nil)
	}
	if !connection.Database() {
		return tenant.User{}, "", invalid("Connection does not support user creation through the API. It must either be a database or passwordless connection.")
	}
	u := tenant.User{
		TenantID:      c.t.ID,
		Email:         tenant.CanonicalEmail(body.text("email")),
		EmailVerified: body.flag("email_verified"),
		Username:      strings.ToLower(body.text("username")),
		PhoneNumber:   body.text("phone_number"),
		PhoneVerified: body.flag("phone_verified"),
		Name:          body.text("name"),
		Nickname:      body.text("nickname"),
		GivenName:     body.text("given_name"),
		FamilyName:    body.text("family_name"),
		Picture:       body.text("picture"),
		Blocked:       body.flag("blocked"),
		UserMetadata:  metadata(body.child("user_metadata")),
		AppMetadata:   metadata(body.child("app_metadata")),
		CreatedAt:     c.now,
		UpdatedAt:     c.now,
	}
	switch {
	case u.Username != "" && !connection.Options.RequiresUsername:
		return u, "", invalid("Cannot set username for connection without requires_username.")
	case u.Username == "" && connection.Options.RequiresUsername:
		return u, "", (&fault{reason: "Missing required property: username"}).invalidBody()
	case u.Email == "" && u.Username == "":
		return u, "", (&fault{reason: "Missing required property: email"}).invalidBody()
	case body.text("password") == "":
		return u, "", (&fault{reason: "Missing required property: password"}).invalidBody()
	}
	local := body.text("user_id")
	if local == "" {
		if local, err = hexID(c.rand); err != nil {
			return u, "", err
		}
	}
	u.ID = tenant.DatabaseStrategy + "|" + local
	u.Identities = []tenant.Identity{{Connection: connection.Name, UserID: local, Provider: tenant.DatabaseStrategy}}
	hash, err := c.hashPassword(connection, body.text("password"), u)
	if err != nil {
		return u, "", err
	}
	profileDefaults(&u)
	return u, hash, nil
}

func metadata(o *object) json.RawMessage {
	if o == nil || len(o.members) == 0 {
		return nil
	}
	return o.bytes()
}

// profileDefaults are the vendor's: the name is the address, the nickname its
// local part, the picture that of Gravatar.
func profileDefaults(u *tenant.User) {
	address := u.Email
	if address == "" {
		address = u.Username
	}
	if u.Name == "" {
		u.Name = address
	}
	if u.Nickname == "" {
		u.Nickname, _, _ = strings.Cut(address, "@")
	}
	if u.Picture == "" && u.Email != "" {
		sum := md5.Sum([]byte(u.Email)) // see the import
		initials := strings.ToLower(u.Name + "  ")[:2]
		if !isLetters(initials) {
			initials = "un"
		}
		u.Picture = "https://s.gravatar.com/avatar/" + hex.EncodeToString(sum[:]) + "?s=480&r=pg&d=" +
			url.QueryEscape("https://cdn.auth0.com/avatars/"+initials+".png")
	}
}

func isLetters(s string) bool { return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }

// hashPassword judges a new password by the connection's policy and hashes it.
func (c *call) hashPassword(connection tenant.Connection, value string, u tenant.User) (string, error) {
	policy := password.Policy{Level: connection.Options.PasswordPolicy, MinLength: connection.Options.Complexity.MinLength}
	result, err := policy.Check(value, u.Email, u.Username, u.Name, u.Nickname, u.GivenName, u.FamilyName)
	if errors.Is(err, password.ErrTooLong) {
		return "", badRequest("auth0_idp_error", "PasswordStrengthError: Password is too long")
	}
	if err != nil {
		return "", err
	}
	if result.Name != "" {
		return "", badRequest("auth0_idp_error", result.Name+": "+result.Message)
	}
	hash, err := c.passwords.Hash(c.ctx, value)
	if errors.Is(err, password.ErrBusy) {
		return "", &oauth.Error{Code: oauth.TooManyRequests, Status: http.StatusTooManyRequests, Description: "Global limit has been reached", Err: err}
	}
	return hash, err
}

// checkUserPatch refuses what may not be changed together, or at all
// (management-endpoints.md §4).
func (c *call) checkUserPatch(u tenant.User) error {
	b := c.body
	for _, pair := range [][2]string{
		{"password", "email"}, {"password", "email_verified"}, {"username", "email"}, {"username", "email_verified"}, {"username", "password"},
	} {
		if b.has(pair[0]) && b.has(pair[1]) {
			return invalid("Cannot update " + pair[0] + " and " + pair[1] + " simultaneously.")
		}
	}
	if name := b.text("connection"); name != "" && name != u.Connection() {
		return invalid("Connection does not exist.")
	}
	database := strings.HasPrefix(u.ID, tenant.DatabaseStrategy+"|")
	for _, name := range []string{"email", "username", "password"} {
		if b.has(name) && !database {
			return invalid("Cannot update " + name + " for non-database user.")
		}
	}
	if v, ok := b.get("password"); ok && v == nil {
		return invalid("The password cannot be removed.")
	}
	return nil
}

// patchUser merges a PATCH into a user (management-api.md §7).
func patchUser(u tenant.User, b *object) (tenant.User, error) {
	for name, to := range map[string]*string{
		"name": &u.Name, "nickname": &u.Nickname, "given_name": &u.GivenName, "family_name": &u.FamilyName,
		"picture": &u.Picture, "phone_number": &u.PhoneNumber,
	} {
		if b.has(name) {
			*to = b.text(name)
		}
	}
	for name, to := range map[string]*bool{
		"email_verified": &u.EmailVerified, "phone_verified": &u.PhoneVerified, "blocked": &u.Blocked,
	} {
		if b.has(name) {
			*to = b.flag(name)
		}
	}
	if b.has("email") {
		email := tenant.CanonicalEmail(b.text("email"))
		if email != u.Email && !b.has("email_verified") {
			u.EmailVerified = false // nobody has shown that the new address is theirs
		}
		u.Email = email
	}
	if b.has("username") {
		u.Username = strings.ToLower(b.text("username"))
	}
	if u.Email == "" && u.Username == "" {
		return u, invalid("A database user needs an email or a username.")
	}
	for name, to := range map[string]*json.RawMessage{"user_metadata": &u.UserMetadata, "app_metadata": &u.AppMetadata} {
		v, ok := b.get(name)
		if !ok {
			continue
		}
		given, _ := v.(*object)
		if given == nil || len(given.members) == 0 { // null removes, {} clears
			*to = nil
			continue
		}
		old, err := parseObject(*to)
		if err != nil {
			return u, err
		}
		*to = metadata(old.mergePatch(given))
	}
	return u, nil
}
