package verify

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MiddlewareOptions configure Verifier.Middleware. Nil means the defaults.
type MiddlewareOptions struct {
	// Realm is named in challenges (RFC 9110 §11.5). Default none.
	Realm string
	// Optional lets requests without a token pass, without Claims in their
	// context. A bad token is refused all the same.
	Optional bool
	// OnError is told why a request was refused, for a log or a metric. The
	// error holds nothing of the token.
	OnError func(r *http.Request, err error)
}

type contextKey struct{}

// NewContext returns a context with Claims in it, for middleware of other
// frameworks. Only a Verifier makes Claims, so nobody can put in what was not
// verified.
func NewContext(ctx context.Context, c Claims) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the Claims that Middleware put into the request's
// context, and whether there are any.
func FromContext(ctx context.Context) (Claims, bool) {
	c, ok := ctx.Value(contextKey{}).(Claims)
	return c, ok
}

var (
	errNoToken    = errors.New("verify: request without a bearer token")
	errBadRequest = errors.New("verify: not exactly one bearer token")
	errNoScope    = errors.New("verify: insufficient scope")
)

// Middleware lets only requests with a valid token through and puts its Claims
// into their context. The answers are those of RFC 6750 §3: 401 with a
// challenge, 400 for a request with several tokens, and 503 with Retry-After
// when the keys cannot be had, so that nobody throws a good token away.
//
// The token is read from the Authorization header and from nowhere else
// (SEC-103). CORS preflights carry no token: put CORS handling outside of it.
func (v *Verifier) Middleware(opts *MiddlewareOptions) func(http.Handler) http.Handler {
	var o MiddlewareOptions
	if opts != nil {
		o = *opts
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, err := bearer(r)
			if errors.Is(err, errNoToken) && o.Optional {
				next.ServeHTTP(w, r)
				return
			}
			var claims Claims
			if err == nil {
				claims, err = v.Verify(r.Context(), raw)
			}
			if err != nil {
				if o.OnError != nil {
					o.OnError(r, err)
				}
				v.refuse(w, o.Realm, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), claims)))
		})
	}
}

// RequireScope goes inside of Middleware and lets requests through whose token
// has all the scopes. Others get 403 insufficient_scope and the scopes they
// need (RFC 6750 §3.1); requests without Claims get 401.
func RequireScope(scopes ...string) func(http.Handler) http.Handler {
	need := strings.Join(scopes, " ")
	return require(need, func(c Claims) bool {
		for _, s := range scopes {
			if !c.HasScope(s) {
				return false
			}
		}
		return true
	})
}

// RequirePermission is RequireScope for the permissions claim.
func RequirePermission(permissions ...string) func(http.Handler) http.Handler {
	need := strings.Join(permissions, " ")
	return require(need, func(c Claims) bool {
		for _, p := range permissions {
			if !c.HasPermission(p) {
				return false
			}
		}
		return true
	})
}

func require(need string, has func(Claims) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			claims, ok := FromContext(r.Context())
			switch {
			case !ok:
				challenge(w, http.StatusUnauthorized, params{})
			case !has(claims):
				challenge(w, http.StatusForbidden, params{
					code: "insufficient_scope", text: errNoScope, scope: need,
				})
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// bearer reads the one token of a request (RFC 6750 §2.1).
func bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0:
		return "", errNoToken
	case len(headers) > 1:
		return "", errBadRequest
	}
	scheme, raw, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1
		return "", errNoToken
	}
	raw = strings.TrimLeft(raw, " ")
	if raw == "" || strings.ContainsAny(raw, " \t,") {
		return "", errBadRequest
	}
	// Two ways at once are refused, even though the second does not count.
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return "", errBadRequest
	}
	return raw, nil
}

// refuse answers for an error of bearer or Verify.
func (v *Verifier) refuse(w http.ResponseWriter, realm string, err error) {
	switch {
	case errors.Is(err, errNoToken): // RFC 6750 §3.1: then no error code
		challenge(w, http.StatusUnauthorized, params{realm: realm})
	case errors.Is(err, errBadRequest):
		challenge(w, http.StatusBadRequest, params{realm: realm, code: "invalid_request", text: err})
	case errors.Is(err, ErrInvalidToken):
		challenge(w, http.StatusUnauthorized, params{realm: realm, code: "invalid_token", text: err})
	default:
		seconds := int64((v.retryIn() + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		answer(w, http.StatusServiceUnavailable, "temporarily_unavailable", ErrUnavailable)
	}
}

// params are the parameters of a challenge (RFC 6750 §3). Text is one of this
// package's fixed errors, so that nothing of the request is repeated.
type params struct {
	realm, code, scope string
	text               error
}

func challenge(w http.ResponseWriter, status int, p params) {
	var b strings.Builder
	b.WriteString("Bearer")
	sep := " "
	add := func(name, value string) {
		if value != "" {
			b.WriteString(sep + name + `="` + quotable(value) + `"`)
			sep = ", "
		}
	}
	add("realm", p.realm)
	add("error", p.code)
	if p.text != nil {
		add("error_description", description(p.text))
	}
	add("scope", p.scope)
	w.Header().Set("WWW-Authenticate", b.String())
	if p.code == "" {
		answer(w, status, "unauthorized", errNoToken)
		return
	}
	answer(w, status, p.code, p.text)
}

func description(err error) string { return strings.TrimPrefix(err.Error(), "verify: ") }

// quotable keeps a value inside its quotes.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// answer writes the body, whose parts are fixed texts of this package.
func answer(w http.ResponseWriter, status int, code string, text error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The status is sent; a client that went away needs no body.
	_, _ = w.Write([]byte(`{"error":"` + code + `","error_description":"` + description(text) + `"}` + "\n"))
}
