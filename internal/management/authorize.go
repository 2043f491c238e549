package management

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// errMissing is the one 401 without attributes.
var errMissing = &oauth.Error{Status: http.StatusUnauthorized, Description: "Missing authentication"}

func unauthorized(message string, err error) error {
	return &oauth.Error{Status: http.StatusUnauthorized, Description: message, Err: err}
}

// authenticate finds out who asks (management-api.md §2).
func (c *call) authenticate() error {
	values := c.r.Header.Values("Authorization")
	if len(values) == 0 {
		return errMissing
	}
	raw, ok := bearer(values)
	if !ok {
		return &oauth.Error{Code: "Bearer", Status: http.StatusBadRequest, Description: "Bad HTTP authentication header format"}
	}
	claims, err := c.auth.Authenticate(c.ctx, c.t, raw)
	switch {
	case err == nil:
	case errors.Is(err, tenant.ErrTokenExpired):
		return unauthorized("Expired token received for JSON Web Token validation", err)
	case errors.Is(err, tenant.ErrTokenSignature):
		return unauthorized("Invalid signature received for JSON Web Token validation", err)
	case errors.Is(err, tenant.ErrTokenMalformed), errors.Is(err, tenant.ErrTokenInvalid), errors.Is(err, tenant.ErrTokenInactive):
		return unauthorized("Invalid token", err)
	default:
		return err
	}
	if !slices.Contains(claims.Audience, c.t.ManagementAudience()) {
		return unauthorized("Invalid token", nil)
	}
	c.claims = claims
	c.allowOrigin()
	return nil
}

// bearer takes a JWS in compact form out of the header, and nothing else: an
// opaque token is never one for this API.
func bearer(values []string) (string, bool) {
	scheme, raw, ok := strings.Cut(values[0], " ")
	if !ok || len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	parts := strings.Split(raw, ".")
	return raw, len(parts) == 3 && !slices.Contains(parts, "")
}

// authorize asks for any one of the operation's scopes. A scope of the current
// user is worth something only on that user.
func (c *call) authorize() error {
	c.own = true
	held := false
	for _, s := range c.op.scopes {
		if !slices.Contains(c.claims.Scopes, s) {
			continue
		}
		held = true
		if !strings.Contains(s, ":current_user") {
			c.own = false
		}
	}
	if !held {
		return insufficientScope(c.op.scopes)
	}
	if id, ok := c.path["id"]; c.own && ok && strings.HasPrefix(c.op.path, "/users/") && id != c.claims.Subject {
		return &oauth.Error{Code: oauth.InsufficientScope, Status: http.StatusForbidden, Description: "User to be acted on does not match subject in bearer token."}
	}
	return nil
}

func insufficientScope(scopes []string) error {
	return &oauth.Error{Code: oauth.InsufficientScope, Status: http.StatusForbidden,
		Description: "Insufficient scope, expected any of: " + strings.Join(scopes, ",")}
}

// holds tells whether the token has any of the scopes; none asked is held.
func (c *call) holds(scopes []string) bool {
	return len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(c.claims.Scopes, s) })
}

// mayWrite refuses members of the body that need a scope the token lacks
// (SEC-187).
func (c *call) mayWrite() error {
	b := c.op.body
	if b.resource == nil || c.body == nil {
		return nil
	}
	for _, d := range b.shape.fields {
		if !c.body.has(d.name) {
			continue
		}
		need, otherwise := d.createWith, b.resource.createWith
		if b.part == inUpdate {
			need, otherwise = d.updateWith, b.resource.updateWith
		}
		if need == nil {
			need = otherwise
		}
		if !c.holds(need) {
			return &oauth.Error{Code: oauth.InsufficientScope, Status: http.StatusForbidden,
				Description: "Some fields cannot be updated with the permissions granted by the bearer token scopes: " + d.name + " needs any of " + strings.Join(need, ",")}
		}
	}
	return nil
}

// preflight answers OPTIONS (management-api.md §12). It is not known yet whose
// token will come, so it tells nothing: whether the page may read the answer is
// decided with the token.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && isOrigin(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "authorization, content-type, auth0-client, x-correlation-id")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// allowOrigin lets a page of the token's client read the answer. The origin
// must be that of a callback, an allowed origin or a web origin of the client.
func (c *call) allowOrigin() {
	origin := c.r.Header.Get("Origin")
	if origin == "" || c.claims.ClientID == "" {
		return
	}
	client, err := c.store.Client(c.ctx, c.t, c.claims.ClientID)
	if err != nil {
		return // the answer is then not readable from a page, and nothing else changes
	}
	for _, list := range [][]string{client.Callbacks, client.AllowedOrigins, client.WebOrigins} {
		if slices.ContainsFunc(list, func(registered string) bool { return sameOrigin(registered, origin) }) {
			c.header.Set("Access-Control-Allow-Origin", origin)
			c.header.Set("Access-Control-Allow-Credentials", "true")
			c.header.Set("Access-Control-Expose-Headers", "Link, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset")
			return
		}
	}
}

// sameOrigin compares scheme and host of a registered URL with an origin; *.
// at the left of the registered host stands for one label.
func sameOrigin(registered, origin string) bool {
	scheme, rest, ok := strings.Cut(registered, "://")
	if !ok {
		return false
	}
	wild := strings.HasPrefix(rest, "*.")
	want, err := url.Parse(scheme + "://" + strings.TrimPrefix(rest, "*."))
	if err != nil || want.Host == "" {
		return false
	}
	got, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(got.Scheme, want.Scheme) || got.User != nil {
		return false
	}
	if wild {
		label, host, ok := strings.Cut(got.Host, ".")
		return ok && label != "" && strings.EqualFold(host, want.Host)
	}
	return strings.EqualFold(got.Host, want.Host)
}
