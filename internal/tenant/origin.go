package tenant

import "strings"

// AllowsOrigin tells whether a page at origin, as a browser's Origin header
// names it, may read our answers to this client: the origins of its callbacks,
// allowed origins and web origins (authentication-api.md §0.1). Scheme, host and
// port must all be the same (SEC-69); a wildcard entry of a first-party client
// stands for one label, as in a redirect URI.
func (c Client) AllowsOrigin(origin string) bool {
	u, err := parseURI(origin)
	if err != nil || u.host == "" || u.rest != "" || strings.Contains(origin, "*") {
		return false
	}
	u = u.origin()
	for _, entries := range [][]string{c.Callbacks, c.AllowedOrigins, c.WebOrigins} {
		for _, entry := range entries {
			e, err := parseURI(entry)
			if err != nil || e.host == "" {
				continue
			}
			if e = e.origin(); e == u || c.FirstParty && e.covers(u) {
				return true
			}
		}
	}
	return false
}

// origin is scheme, host and port in the spelling of a browser (RFC 6454 §6.2).
func (u uri) origin() uri {
	o := uri{scheme: strings.ToLower(u.scheme), host: strings.ToLower(u.host), port: u.port}
	if o.scheme == "https" && o.port == "443" || o.scheme == "http" && o.port == "80" {
		o.port = ""
	}
	return o
}
