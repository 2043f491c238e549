package tenant

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// ErrRedirectURI is why a value cannot be a redirect URI.
var ErrRedirectURI = errors.New("not a usable redirect URI")

// dangerousSchemes run or read something in the browser that follows them (SEC-23).
var dangerousSchemes = []string{
	"javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source",
}

// uri is a redirect URI taken apart by hand. net/url would decode and repair,
// and what two parsers read differently is how redirects are stolen (SEC-24).
type uri struct {
	scheme string // as written
	// host is as written, brackets included; port is without its colon. Both are
	// empty for custom schemes.
	host, port string
	rest       string // path and query, as written
}

// CheckRedirectURI tells whether raw may be registered, and used, as a redirect
// URI (SEC-23, SEC-24). A * may stand for one label, or a part of one, at the
// left of a host name (SEC-21).
func CheckRedirectURI(raw string) error {
	_, err := parseURI(raw)
	return err
}

func parseURI(raw string) (uri, error) {
	if raw == "" || len(raw) > 2048 {
		return uri{}, ErrRedirectURI
	}
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte(`\#"<>^`+"`", c) >= 0 {
			return uri{}, ErrRedirectURI
		}
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || rest == "" || !isScheme(scheme) || slices.Contains(dangerousSchemes, strings.ToLower(scheme)) {
		return uri{}, ErrRedirectURI
	}
	if !strings.EqualFold(scheme, "https") && !strings.EqualFold(scheme, "http") {
		if strings.Contains(rest, "*") {
			return uri{}, ErrRedirectURI
		}
		return uri{scheme: scheme, rest: rest}, nil
	}
	rest, ok = strings.CutPrefix(rest, "//")
	if !ok {
		return uri{}, ErrRedirectURI
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	u := uri{scheme: scheme, rest: rest[end:]}
	if u.host, u.port, ok = splitAuthority(rest[:end]); !ok || strings.Contains(u.rest, "*") {
		return uri{}, ErrRedirectURI
	}
	if strings.EqualFold(scheme, "http") && !u.loopback() {
		return uri{}, ErrRedirectURI
	}
	return u, nil
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// splitAuthority reads host[:port]; user information is refused (SEC-23).
func splitAuthority(s string) (host, port string, ok bool) {
	host = s
	if v6, after, found := strings.Cut(s, "]"); found && strings.HasPrefix(s, "[") {
		host = v6 + "]"
		if after != "" {
			if port, ok = strings.CutPrefix(after, ":"); !ok {
				return "", "", false
			}
		}
	} else if h, p, found := strings.Cut(s, ":"); found {
		host, port = h, p
	}
	if strings.HasSuffix(s, ":") || port != "" && !isPort(port) {
		return "", "", false
	}
	return host, port, isHost(host)
}

func isPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && n > 0 && p[0] != '0'
}

func isHost(h string) bool {
	if strings.HasPrefix(h, "[") {
		inner := strings.TrimSuffix(h[1:], "]")
		return len(inner) > 1 && strings.Trim(inner, "0123456789abcdefABCDEF:.") == ""
	}
	labels := strings.Split(h, ".")
	for i, label := range labels {
		if label == "" && (i == 0 || i < len(labels)-1) {
			return false
		}
		for j := 0; j < len(label); j++ {
			c := label[j]
			if c != '-' && c != '_' && c != '*' && !('0' <= c && c <= '9') && !('a' <= c|0x20 && c|0x20 <= 'z') {
				return false
			}
		}
	}
	switch strings.Count(h, "*") {
	case 0:
		return true
	case 1:
		// Never in the registrable domain: two labels must be fixed (SEC-21).
		return strings.Contains(labels[0], "*") && len(labels) >= 3 && labels[len(labels)-1] != ""
	}
	return false
}

// loopback tells whether only this machine answers at the host.
func (u uri) loopback() bool {
	h := strings.ToLower(u.host)
	return h == "localhost" || strings.HasSuffix(h, ".localhost") || h == "127.0.0.1" || h == "[::1]"
}

// RedirectMatch says how a redirect URI was found among the registered ones.
type RedirectMatch int

const (
	// RedirectRefused: it is not one of them.
	RedirectRefused RedirectMatch = iota
	// RedirectExact: byte for byte (SEC-20), or the port of a loopback address
	// of a native client is another (SEC-22).
	RedirectExact
	// RedirectWildcard: by the one-label wildcard of an imported entry; never
	// with response mode web_message (SEC-21).
	RedirectWildcard
)

// MatchRedirect looks the redirect URI of a request up among the client's
// callbacks. Nothing is decoded or normalised (SEC-20).
func (c Client) MatchRedirect(requested string) RedirectMatch {
	u, err := parseURI(requested)
	if err != nil || strings.Contains(requested, "*") {
		return RedirectRefused
	}
	if slices.Contains(c.Callbacks, requested) {
		return RedirectExact
	}
	if !c.FirstParty { // authentication-api.md §0.2: third-party clients, exact only
		return RedirectRefused
	}
	for _, entry := range c.Callbacks {
		e, err := parseURI(entry)
		if err != nil { // SEC-24: an entry that no longer passes counts for nothing
			continue
		}
		if c.AppType == "native" && u.sameButPort(e) {
			return RedirectExact
		}
		if e.covers(u) {
			return RedirectWildcard
		}
	}
	return RedirectRefused
}

// sameButPort is the freedom of RFC 8252 §7.3, for the two literal addresses
// alone: a name like localhost may resolve elsewhere (§8.3).
func (u uri) sameButPort(e uri) bool {
	return u.scheme == "http" && e.scheme == "http" && (e.host == "127.0.0.1" || e.host == "[::1]") &&
		u.host == e.host && u.rest == e.rest
}

// covers tells whether the entry's wildcard label matches the host of u: one
// label, not an empty one, all else byte for byte.
func (e uri) covers(u uri) bool {
	label, domain, ok := strings.Cut(e.host, ".")
	if !ok || !strings.Contains(label, "*") || e.scheme != u.scheme || e.port != u.port || e.rest != u.rest {
		return false
	}
	got, gotDomain, ok := strings.Cut(u.host, ".")
	before, after, _ := strings.Cut(label, "*")
	return ok && gotDomain == domain && len(got) > len(before)+len(after) &&
		strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
}

// MatchReturnURL tells whether a browser may be sent to requested after logout.
// Query and fragment are not compared (authentication-api.md §14.1).
func MatchReturnURL(registered []string, requested string) bool {
	for i := 0; i < len(requested); i++ {
		if c := requested[i]; c <= 0x20 || c >= 0x7f || c == '\\' {
			return false
		}
	}
	bare := cutQuery(requested)
	u, err := parseURI(bare)
	if err != nil || strings.Contains(bare, "*") {
		return false
	}
	for _, entry := range registered {
		e, err := parseURI(cutQuery(entry))
		if err == nil && (e == u || e.covers(u)) {
			return true
		}
	}
	return false
}

func cutQuery(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i]
	}
	return s
}

// WebOrigin is the origin of an http or https URL as browsers write it (RFC 6454
// §6.2), or empty.
func WebOrigin(raw string) string {
	u, err := parseURI(cutQuery(raw))
	if err != nil || u.host == "" || strings.Contains(u.host, "*") {
		return ""
	}
	scheme, port := strings.ToLower(u.scheme), u.port
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		port = ""
	}
	if port != "" {
		port = ":" + port
	}
	return scheme + "://" + strings.ToLower(u.host) + port
}

// VerifiableRedirect tells whether only the client's operator can receive what is
// sent to the URI: an https address. Anybody on the user's machine may answer at
// a loopback address or a custom scheme (RFC 8252 §8.6).
func VerifiableRedirect(raw string) bool {
	u, err := parseURI(raw)
	return err == nil && strings.EqualFold(u.scheme, "https")
}

// LoopbackRedirect tells whether the URI is an http address of this machine.
func LoopbackRedirect(raw string) bool {
	u, err := parseURI(raw)
	return err == nil && strings.EqualFold(u.scheme, "http") && u.loopback()
}
