package authorize

import (
	"net/url"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Param is a member of an authorization response.
type Param struct{ Name, Value string }

// Response is an authorization response (RFC 6749 §4.1.2, §4.2.2), and how it
// reaches the client.
type Response struct {
	// Mode is query, fragment, form_post or web_message.
	Mode string
	// RedirectURI is registered with the client.
	RedirectURI string
	// Origin is that of RedirectURI, for web_message; empty for custom schemes.
	Origin string
	Params []Param
}

// Location is the address the browser is redirected to in the modes query and
// fragment. The registered address stays as it is, byte for byte.
func (r Response) Location() string {
	var b strings.Builder
	b.WriteString(r.RedirectURI)
	switch {
	case r.Mode == modeFragment:
		b.WriteByte('#')
	case !strings.Contains(r.RedirectURI, "?"):
		b.WriteByte('?')
	case !strings.HasSuffix(r.RedirectURI, "?") && !strings.HasSuffix(r.RedirectURI, "&"):
		b.WriteByte('&')
	}
	for i, p := range r.Params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.Name)
		b.WriteByte('=')
		b.WriteString(escape(p.Value))
	}
	return b.String()
}

// escape encodes for a query and for a fragment alike. A space is %20 there, as
// readers of fragments do not all know the plus sign.
func escape(v string) string { return strings.ReplaceAll(url.QueryEscape(v), "+", "%20") }

// respond makes the response that carries the members, with state as it came
// and iss (SEC-35, SEC-36).
func (q *request) respond(params ...Param) *Response {
	if q.State != "" {
		params = append(params, Param{"state", q.State})
	}
	if q.tenant.Settings.ResponseIss() { // RFC 9207 §2
		params = append(params, Param{"iss", q.tenant.Issuer()})
	}
	return &Response{Mode: q.mode, RedirectURI: q.redirectURI, Origin: tenant.WebOrigin(q.redirectURI), Params: params}
}

// respondError is the response that tells the client why not (RFC 6749 §4.1.2.1).
func (q *request) respondError(e *oauth.Error) *Response {
	return q.respond(Param{"error", e.Code}, Param{"error_description", e.Description})
}
