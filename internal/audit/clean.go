package audit

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// MaxValue is the longest value of an event, in bytes (SEC-231).
const MaxValue = 256

// Redacted stands where a secret would be.
const Redacted = "[redacted]"

// Printable is s cut at 256 bytes, with everything that is not a printable
// character written as an escape: line breaks, control sequences, marks that
// turn the direction of writing, bytes that are not UTF-8 (SEC-231). A cut
// value ends in an ellipsis.
func Printable(s string) string {
	if len(s) <= MaxValue && plain(s) {
		return s
	}
	const more = "…"
	var b strings.Builder
	end := 0 // the length at which the ellipsis still fits
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = `\x` + hex2(s[i])
		case !unicode.IsPrint(r):
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(piece) > MaxValue {
			return b.String()[:end] + more
		}
		b.WriteString(piece)
		if b.Len() <= MaxValue-len(more) {
			end = b.Len()
		}
		i += size
	}
	return b.String()
}

func hex2(c byte) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[c>>4], digits[c&15]})
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Clean is the event with every value made printable and cut, members of
// Details that are named like a secret redacted, and the description of its
// code where it has none. The store calls it for each event it writes.
func Clean(e tenant.Event) tenant.Event {
	if e.Description == "" {
		e.Description = Description(e.Type)
	}
	for _, s := range []*string{
		&e.Type, &e.Description, &e.Reason, &e.ClientID, &e.ClientName, &e.Connection, &e.ConnectionID,
		&e.UserID, &e.UserName, &e.Audience, &e.Scope, &e.Strategy, &e.StrategyType, &e.SessionID,
		&e.Origin.IP, &e.Origin.UserAgent, &e.Origin.Host,
	} {
		*s = Printable(*s)
	}
	if len(e.Origin.SDK) > 0 && (len(e.Origin.SDK) > 4*MaxValue || !json.Valid(e.Origin.SDK)) {
		e.Origin.SDK = nil
	}
	if e.Details != nil {
		e.Details = cleanMap(e.Details, 1)
	}
	return e
}

// maxDepth bounds the nesting of Details; what is deeper is left out (SEC-225).
const maxDepth = 8

func cleanMap(m map[string]any, depth int) map[string]any {
	out := make(map[string]any, len(m))
	for name, value := range m {
		if secretName(name) {
			out[name] = Redacted
			continue
		}
		out[Printable(name)] = cleanValue(value, depth)
	}
	return out
}

func cleanValue(v any, depth int) any {
	switch v := v.(type) {
	case nil, bool, int, int64, uint32, uint64, float64, json.Number:
		return v
	case string:
		return Printable(v)
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = Printable(s)
		}
		return out
	}
	if depth >= maxDepth {
		return Redacted
	}
	switch v := v.(type) {
	case map[string]any:
		return cleanMap(v, depth+1)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = cleanValue(e, depth+1)
		}
		return out
	}
	// A value of another type could hide a secret in a member: it is read as
	// the JSON it would be written as.
	b, err := json.Marshal(v)
	if err != nil {
		return Redacted
	}
	var generic any
	if err := json.Unmarshal(b, &generic); err != nil {
		return Redacted
	}
	return cleanValue(generic, depth+1)
}

// secretNames are the members that hold secrets in the requests and answers of
// our APIs; compared in lower case without _ and -.
var secretNames = map[string]bool{
	"accesstoken": true, "idtoken": true, "idtokenhint": true, "refreshtoken": true, "token": true,
	"logintoken": true, "mfatoken": true, "subjecttoken": true, "actortoken": true, "logouttoken": true,
	"code": true, "codeverifier": true, "assertion": true, "clientassertion": true, "ticket": true,
	"clientsecret": true, "secret": true, "signingsecret": true, "password": true, "passwordhash": true,
	"newpassword": true, "oldpassword": true, "customsignature": true, "privatekey": true, "pem": true,
	"authorization": true, "cookie": true, "setcookie": true, "dpop": true, "otp": true,
	"encryptionkey": true, "samlp": true, "apikey": true, "verificationcode": true,
}

func secretName(name string) bool {
	return secretNames[strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))]
}
