package token

import (
	"strconv"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// The encoder only appends: one pass, no map, no reflection, as the signature
// beside it is all that a token should cost (performance.md).

// appendName appends a member's name; dst is an object that is open.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = jose.AppendString(dst, name)
	return append(dst, ':')
}

func appendText(dst []byte, name, value string) []byte {
	return jose.AppendString(appendName(dst, name), value)
}

// appendSeconds appends an integer: some clients refuse a number with a fraction
// or an exponent (keys-and-validation.md §4).
func appendSeconds(dst []byte, name string, at time.Time) []byte {
	return strconv.AppendInt(appendName(dst, name), at.Unix(), 10)
}

func appendTexts(dst []byte, name string, values []string) []byte {
	dst = append(appendName(dst, name), '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jose.AppendString(dst, v)
	}
	return append(dst, ']')
}

// appendScope appends the values as one string, separated by spaces (RFC 6749
// §3.3). Its characters need no escape; AppendString sees to those that do.
func appendScope(dst []byte, scopes []string) []byte {
	dst = append(appendName(dst, "scope"), '"')
	for i, s := range scopes {
		if i > 0 {
			dst = append(dst, ' ')
		}
		mark := len(dst)
		dst = jose.AppendString(dst, s)
		dst = append(dst[:mark], dst[mark+1:len(dst)-1]...) // without its quotes
	}
	return append(dst, '"')
}
