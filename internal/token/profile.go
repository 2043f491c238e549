package token

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Claim is a name and its JSON value.
type Claim struct {
	Name  string
	Value json.RawMessage
}

// Profile is a user's claims in a fixed order; its JSON is one object.
type Profile []Claim

// MarshalJSON implements json.Marshaler.
func (p Profile) MarshalJSON() ([]byte, error) {
	dst := []byte{'{'}
	dst = p.appendMembers(dst)
	return append(dst, '}'), nil
}

// appendMembers appends the claims as members of an object that is open.
func (p Profile) appendMembers(dst []byte) []byte {
	for _, c := range p {
		dst = append(appendName(dst, c.Name), c.Value...)
	}
	return dst
}

// profileClaims is the table of tokens.md §7.1: each standard claim, the scope
// that releases it with others, and where its value comes from. Every claim name
// is a scope of its own as well (§7.2). A nil value means that the profile does
// not have the claim.
var profileClaims = []struct {
	name, scope string
	value       func(tenant.User) json.RawMessage
}{
	{"name", "profile", func(u tenant.User) json.RawMessage { return text(u.Name) }},
	{"family_name", "profile", func(u tenant.User) json.RawMessage { return text(u.FamilyName) }},
	{"given_name", "profile", func(u tenant.User) json.RawMessage { return text(u.GivenName) }},
	{"middle_name", "profile", attribute("middle_name")},
	{"nickname", "profile", func(u tenant.User) json.RawMessage { return text(u.Nickname) }},
	{"preferred_username", "profile", attribute("preferred_username")},
	{"profile", "profile", attribute("profile")},
	{"picture", "profile", func(u tenant.User) json.RawMessage { return text(u.Picture) }},
	{"website", "profile", attribute("website")},
	{"gender", "profile", attribute("gender")},
	{"birthdate", "profile", attribute("birthdate")},
	{"zoneinfo", "profile", attribute("zoneinfo")},
	{"locale", "profile", attribute("locale")},
	{"updated_at", "profile", func(u tenant.User) json.RawMessage { return instant(u.UpdatedAt) }},
	{"email", "email", func(u tenant.User) json.RawMessage { return text(u.Email) }},
	{"email_verified", "email", func(u tenant.User) json.RawMessage { return flag(u.EmailVerified, u.Email) }},
	{"address", "address", attribute("address")},
	{"phone_number", "phone", func(u tenant.User) json.RawMessage { return text(u.PhoneNumber) }},
	{"phone_number_verified", "phone", func(u tenant.User) json.RawMessage { return flag(u.PhoneVerified, u.PhoneNumber) }},
	{"created_at", "", func(u tenant.User) json.RawMessage { return instant(u.CreatedAt) }},
	{"identities", "", identities},
}

// ProfileClaims are the claims of u that the scopes release and the profile has,
// in the order of the table, for the ID token and for userinfo; sub is not among
// them. Names come from the table alone, so nothing a user has can set or hide a
// protocol claim (SEC-81, SEC-82).
func ProfileClaims(u tenant.User, scopes []string) Profile {
	var p Profile
	for _, c := range profileClaims {
		// The scope profile names a group and a claim; the group wins.
		if !slices.Contains(scopes, c.name) && (c.scope == "" || !slices.Contains(scopes, c.scope)) {
			continue
		}
		if v := c.value(u); v != nil {
			p = append(p, Claim{c.name, v})
		}
	}
	return p
}

// UserinfoClaims are sub and the claims of the scopes (OIDC Core §5.3.2).
func UserinfoClaims(u tenant.User, scopes []string) Profile {
	return append(Profile{{"sub", text(u.ID)}}, ProfileClaims(u, scopes)...)
}

func text(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return jose.AppendString(nil, s)
}

// instant is an ISO 8601 string, where OIDC Core §5.1 has a number: it is what
// the vendor sends and its clients parse (tokens.md §7.1).
func instant(t time.Time) json.RawMessage {
	if t.IsZero() {
		return nil
	}
	return jose.AppendString(nil, t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// flag is a verification mark, told only beside what it is about.
func flag(set bool, of string) json.RawMessage {
	switch {
	case of == "":
		return nil
	case set:
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

// attribute is a claim kept as JSON; what is not one JSON value, or null, counts
// as absent.
func attribute(name string) func(tenant.User) json.RawMessage {
	return func(u tenant.User) json.RawMessage {
		v, ok := u.Attributes[name]
		if !ok || string(v) == "null" || !json.Valid(v) {
			return nil
		}
		return v
	}
}

func identities(u tenant.User) json.RawMessage {
	if len(u.Identities) == 0 {
		return nil
	}
	b, err := json.Marshal(u.Identities)
	if err != nil {
		return nil // strings and a bool: cannot happen
	}
	return b
}
