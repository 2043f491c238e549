package oauth

import "strings"

// Scopes is a set of scope values in the order they were asked for.
type Scopes []string

// maxScopes is how many scopes a request may name: more than an API can define
// (SEC-38).
const maxScopes = 1000

// checkScope refuses a scope parameter that is too long, before anything is done
// with it (SEC-38).
func checkScope(s string) error {
	n := 0
	for range strings.FieldsSeq(s) {
		if n++; n > maxScopes {
			return NewError(InvalidScope, "There are too many scopes.", nil).WithReason("malformed_request")
		}
	}
	return nil
}

// ParseScopes splits a scope parameter (RFC 6749 §3.3) and drops repeats.
func ParseScopes(s string) Scopes {
	fields := strings.Fields(s)
	out := make(Scopes, 0, len(fields))
	seen := make(map[string]bool, len(fields))
	for _, f := range fields {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// Has tells whether scope is in the set. Whole values only (SEC-104).
func (s Scopes) Has(scope string) bool {
	for _, v := range s {
		if v == scope {
			return true
		}
	}
	return false
}

// Intersect keeps what allowed holds too, in the order of s.
func (s Scopes) Intersect(allowed Scopes) Scopes {
	out := make(Scopes, 0, len(s))
	for _, v := range s {
		if allowed.Has(v) {
			out = append(out, v)
		}
	}
	return out
}

// Without is s less the given scopes.
func (s Scopes) Without(scopes ...string) Scopes {
	drop := Scopes(scopes)
	out := make(Scopes, 0, len(s))
	for _, v := range s {
		if !drop.Has(v) {
			out = append(out, v)
		}
	}
	return out
}

// Union appends what s lacks.
func (s Scopes) Union(more Scopes) Scopes {
	out := append(make(Scopes, 0, len(s)+len(more)), s...)
	for _, v := range more {
		if !out.Has(v) {
			out = append(out, v)
		}
	}
	return out
}

// String is the space-separated form (RFC 6749 §3.3).
func (s Scopes) String() string { return strings.Join(s, " ") }
