package verify

import (
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// authorization is the first part of a token's jti: what all tokens of one
// authorization have in common (D5).
type authorization [16]byte

// strictBase64 has one spelling for each value.
var strictBase64 = base64.RawURLEncoding.Strict()

// firstPart reads the authorization from a jti: the first 16 of the 32 bytes
// that it stands for. Tokens of other issuers have none.
func firstPart(jti string) (authorization, bool) {
	var all [32]byte
	if len(jti) != base64.RawURLEncoding.EncodedLen(len(all)) {
		return authorization{}, false
	}
	n, err := strictBase64.Decode(all[:], []byte(jti))
	if err != nil || n != len(all) { // fewer if there were line breaks
		return authorization{}, false
	}
	return authorization(all[:16]), true
}

// mark refuses what was issued before a moment to a user, a client, …
type mark struct {
	before int64 // Unix milliseconds
	exp    int64 // Unix seconds; no token of before lives longer
}

type markKey struct{ kind, id string }

// The kinds of marks.
const (
	markUser     = "user"     // sub
	markClient   = "client"   // client_id, azp
	markAudience = "audience" // one of aud
	markTenant   = "tenant"   // iss
	// markGrant is on what a client may have for itself: client_id and one of aud.
	markGrant = "client_grant"
	// markConsent is on what a user allowed a client: sub, client_id and one of aud.
	markConsent = "consent"
)

const (
	// maxDenied bounds the memory of a feed: about 100 bytes an entry.
	maxDenied = 4 << 20
	// sweepEvery is how often entries that ended are looked for, in seconds.
	sweepEvery = 60
	// slack is how much longer an entry is kept than it says: a verifier
	// accepts a token for up to ClockSkew after its exp.
	slack = int64(2 * maxSkew / time.Second)
)

// denylist is what may not pass. Entries leave by minutes, so that a sweep
// looks only at those that end.
type denylist struct {
	denied  map[authorization]int64 // until when, Unix seconds
	marks   map[markKey]mark
	ends    map[int64][]any // keys of both maps, by the minute in which they end
	sweptAt int64
}

func newDenylist() *denylist {
	return &denylist{denied: make(map[authorization]int64), marks: make(map[markKey]mark), ends: make(map[int64][]any)}
}

func (d *denylist) deny(a authorization, exp int64) {
	if until := exp + slack; until > d.denied[a] {
		d.denied[a] = until
		d.ends[until/sweepEvery] = append(d.ends[until/sweepEvery], a)
	}
}

// mark sets a mark, in place of the one before. With before 0 it is lifted.
func (d *denylist) mark(key markKey, m mark) {
	if m.before == 0 {
		delete(d.marks, key)
		return
	}
	m.exp += slack
	d.marks[key] = m
	d.ends[m.exp/sweepEvery] = append(d.ends[m.exp/sweepEvery], key)
}

func (d *denylist) sweep(now int64) {
	minute := now / sweepEvery
	if minute == d.sweptAt {
		return
	}
	d.sweptAt = minute
	for end, keys := range d.ends {
		if end >= minute {
			continue
		}
		for _, key := range keys {
			switch key := key.(type) {
			case authorization:
				if d.denied[key]/sweepEvery <= end {
					delete(d.denied, key)
				}
			case markKey:
				if d.marks[key].exp/sweepEvery <= end {
					delete(d.marks, key)
				}
			}
		}
		delete(d.ends, end)
	}
}

func (d *denylist) len() int { return len(d.denied) + len(d.marks) }

// refuses reports whether the token of c may not pass.
func (d *denylist) refuses(c *claims) bool {
	if len(d.denied) > 0 {
		if a, ok := firstPart(c.text("jti")); ok {
			if _, denied := d.denied[a]; denied {
				return true
			}
		}
	}
	if len(d.marks) == 0 {
		return false
	}
	if d.marked(c, markTenant, c.iss) || d.marked(c, markUser, c.sub) ||
		d.marked(c, markClient, c.text("client_id")) || d.marked(c, markClient, c.text("azp")) {
		return true
	}
	client := c.text("client_id")
	if client == "" {
		client = c.text("azp")
	}
	for _, a := range c.aud {
		if d.marked(c, markAudience, a) || d.marked(c, markConsent, c.sub+" "+client+" "+a) ||
			c.sub == client+machine && d.marked(c, markGrant, client+" "+a) {
			return true
		}
	}
	return false
}

// machine follows the client in the subject of a client's own token.
const machine = "@clients"

// marked compares in milliseconds. A token that does not say when it was
// issued is taken for an old one: the zero time is before all others.
func (d *denylist) marked(c *claims, kind, id string) bool {
	m, ok := d.marks[markKey{kind, id}]
	return ok && id != "" && c.iat.UnixMilli() < m.before
}

// The feed's data is read as strictly as a token's: a line that two readers
// could understand differently ends the connection.

var errFeedData = errors.New("event with unusable data")

// parseDeny reads {"hash":"…","exp":…}.
func parseDeny(data []byte) (authorization, int64, error) {
	members, err := jose.AppendMembers(nil, data)
	if err != nil {
		return authorization{}, 0, errFeedData
	}
	text, isText := jose.StringValue(jose.Find(members, "hash"))
	hash, err := strictBase64.DecodeString(text)
	exp, ok := whole(jose.Find(members, "exp"))
	if !isText || err != nil || len(hash) != len(authorization{}) || len(text) != 22 || !ok {
		return authorization{}, 0, errFeedData
	}
	return authorization(hash), exp, nil
}

// parseMark reads {"kind":"…","id":"…","before":…,"exp":…}.
func parseMark(data []byte) (markKey, mark, error) {
	members, err := jose.AppendMembers(nil, data)
	if err != nil {
		return markKey{}, mark{}, errFeedData
	}
	kind, isText := jose.StringValue(jose.Find(members, "kind"))
	id, alsoText := jose.StringValue(jose.Find(members, "id"))
	before, ok := whole(jose.Find(members, "before"))
	exp, alsoOK := whole(jose.Find(members, "exp"))
	if !isText || !alsoText || kind == "" || id == "" || !ok || !alsoOK {
		return markKey{}, mark{}, errFeedData
	}
	return markKey{kind, id}, mark{before, exp}, nil
}

// whole reads a number of digits alone that JavaScript can hold too.
func whole(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 16 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && n <= 1<<53
}
