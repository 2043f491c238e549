package tenant

import (
	"slices"
	"strings"
	"time"
)

// Notice is one thing that ends access tokens, as resource servers hear of it
// (D5): an entry of the denylist, or a mark.
type Notice struct {
	// Number orders the notices of a tenant as they were committed; an entry that
	// is written again gets a new one.
	Number int64
	// Hash is the keyed hash of an authorization, the first part of its tokens'
	// jti; empty for a mark.
	Hash string
	// Audiences are the APIs its tokens can be for; Everybody means that they are
	// not known.
	Audiences []string
	Everybody bool
	// Mark and NotBefore: what was issued to Mark before NotBefore is refused.
	Mark      MarkSubject
	NotBefore time.Time
	// ExpiresAt is when the last of the tokens has expired.
	ExpiresAt time.Time
}

// Concerns tells whether tokens for the audience can be among those that end.
func (n Notice) Concerns(audience string) bool {
	switch n.Mark.Kind {
	case "":
		return n.Everybody || slices.Contains(n.Audiences, audience)
	case "audience":
		return n.Mark.ID == audience
	case "client_grant", ConsentMark:
		return strings.HasSuffix(n.Mark.ID, " "+audience)
	}
	return true // a user, a client, the tenant: of any API
}

// FeedPosition is how far the notices of a tenant are numbered. Another Epoch
// means that the numbers began anew.
type FeedPosition struct{ Epoch, Number int64 }

// ConsentMark is the kind of the mark of a consent that was withdrawn; its id is
// ConsentMarkID.
const ConsentMark = "consent"

// ConsentMarkID names a user's consent to a client for an audience, which is
// empty for tokens without an API.
func ConsentMarkID(userID, clientID, audience string) string {
	return userID + " " + clientID + " " + audience
}
