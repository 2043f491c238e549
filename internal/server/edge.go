package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handler is an endpoint of one tenant. What it returns, its wrapper renders.
type handler func(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error

// errorBody is an OAuth error (RFC 6749 §5.2).
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// oauthEndpoint wraps an endpoint that speaks OAuth JSON (SEC-154: no-store
// unless the handler knows better).
func (s *Server) oauthEndpoint(c class, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		t, err := s.arrive(w, r, c)
		if err != nil {
			// The caller's script may read why it was turned away: nothing but the
			// fixed text is in it, and no credential was looked at.
			s.allowAnyOrigin(w, r)
		} else {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			err = h(w, r, t)
		}
		if err != nil {
			s.writeError(w, r, t, err)
		}
	})
}

// page wraps an endpoint that a person looks at. State-changing requests need
// the same origin (SEC-155); the transaction or ticket they name is their token.
func (s *Server) page(c class, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pageHeaders(w.Header())
		t, err := s.arrive(w, r, c)
		switch {
		case errors.Is(err, errPlainHTTP) && (r.Method == http.MethodGet || r.Method == http.MethodHead) && t.ID != "":
			// D11: to the configured issuer, never to what Host says (SEC-169).
			redirect(w, r, strings.TrimSuffix(t.Issuer(), "/")+r.URL.RequestURI())
			return
		case err == nil && r.Method == http.MethodHead || speculative(r):
			// Nobody will see the answer, and some pages act when they are opened.
			err = oauth.NewError(oauth.InvalidRequest, "This page is not loaded ahead.", nil).WithStatus(http.StatusMethodNotAllowed)
			w.Header().Set("Allow", "GET, POST")
		case err == nil:
			if err = s.crossSite.Check(r); err != nil {
				err = oauth.NewError(oauth.AccessDenied, "The request came from another site.", err).WithReason("cross_site")
			}
		}
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			err = h(w, r, t)
		}
		if err != nil {
			s.errorPage(w, r, t, err)
		}
	})
}

// speculative tells whether a browser loads the page only in case the user goes there.
func speculative(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Header.Get("Purpose") == "prefetch"
}

// newCrossSite is the same-origin proof of SEC-155. The exempt paths are those
// OpenID Connect lets a client's page post to; neither changes anything before
// the user has acted on a page of ours.
func newCrossSite() *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	p.AddInsecureBypassPattern("POST /authorize")   // OIDC Core §3.1.2.1
	p.AddInsecureBypassPattern("POST /oidc/logout") // RP-Initiated Logout §2
	return p
}

// managementEndpoint hands a request to the Management API, which speaks its own
// dialect of errors and sets its own limit on bodies.
func (s *Server) managementEndpoint(c class) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		t, err := s.arrive(w, r, c)
		if err != nil {
			e := oauth.AsError(err)
			s.logFailure(r, t.ID, e.Status, e.Code, e.Reason, e.Err)
			retryAfter(w, e.Status)
			_ = writeJSON(w, e.Status, managementError{e.Status, http.StatusText(e.Status), e.Description, e.Code})
			return
		}
		s.management.ServeTenant(w, r, t, s.origin(r))
		if rec, ok := w.(*recorder); ok && rec.status >= 400 {
			s.logFailure(r, t.ID, rec.status, "", "", nil)
		}
	})
}

// managementError is management-api.md §3.
type managementError struct {
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
	ErrorCode  string `json:"errorCode,omitempty"`
}

var (
	errPlainHTTP   = errors.New("plain http")
	errUnknownHost = errors.New("no tenant at this host")
)

// arrive finds the tenant by the exact Host, refuses plain HTTP and counts the
// request. The tenant is returned with some errors too, for their page and log.
func (s *Server) arrive(w http.ResponseWriter, r *http.Request, c class) (tenant.Tenant, error) {
	host := s.host(r)
	if host == "" || len(host) > 261 {
		return tenant.Tenant{}, oauth.NewError(oauth.InvalidRequest, "This host is not served here.", errUnknownHost).WithStatus(http.StatusMisdirectedRequest)
	}
	t, err := s.directory.TenantByHost(r.Context(), host)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.Tenant{}, oauth.NewError(oauth.InvalidRequest, "This host is not served here.", errUnknownHost).WithStatus(http.StatusMisdirectedRequest)
	}
	if err != nil {
		return tenant.Tenant{}, oauth.Unavailable(err)
	}
	if !s.secure(r) { // SEC-218
		return t, oauth.NewError(oauth.InvalidRequest, "HTTPS is required.", errPlainHTTP)
	}
	if !s.limiter.allow(w.Header(), t.ID, c) {
		return t, oauth.NewError(oauth.TooManyRequests,
			"Too many requests. Check the X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset headers.", nil)
	}
	return t, nil
}

// writeError renders err as OAuth JSON.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, t tenant.Tenant, err error) {
	e := oauth.AsError(err)
	h := w.Header()
	if e.Code == oauth.InvalidClient && h.Get("WWW-Authenticate") == "" && strings.HasPrefix(strings.ToLower(r.Header.Get("Authorization")), "basic ") {
		h.Set("WWW-Authenticate", `Basic realm="`+t.Domain+`"`) // RFC 6749 §5.2
	}
	h.Set("Cache-Control", "no-store")
	retryAfter(w, e.Status)
	s.logFailure(r, t.ID, e.Status, e.Code, e.Reason, e.Err)
	_ = writeJSON(w, e.Status, errorBody{e.Code, e.Description})
}

// refuse answers what never reached a route, in the form the caller can read.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, cause error) {
	e := &oauth.Error{Code: oauth.InvalidRequest, Description: http.StatusText(status) + ".", Status: status, Err: cause}
	if status == http.StatusServiceUnavailable {
		e = oauth.Unavailable(cause)
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		pageHeaders(w.Header())
		s.errorPage(w, r, tenant.Tenant{}, e)
		return
	}
	s.writeError(w, r, tenant.Tenant{}, e)
}

// retryAfter makes a caller wait a moment where waiting helps. A rate limit has
// set the exact second already.
func retryAfter(w http.ResponseWriter, status int) {
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
}

// logFailure is the one line of a failed request. The path is the route's, since
// what the caller wrote there may be a secret (SEC-230, SEC-231).
func (s *Server) logFailure(r *http.Request, tenantID string, status int, code, reason string, cause error) {
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("request", requestID(r)), slog.String("route", r.Pattern), slog.String("tenant", tenantID),
		slog.Int("status", status), slog.String("code", code), slog.String("ip", s.clientIP(r)),
	}
	if reason != "" {
		attrs = append(attrs, slog.String("reason", reason))
	}
	if cause != nil {
		attrs = append(attrs, slog.String("error", oauth.Quote(cause.Error())))
	}
	s.log.LogAttrs(r.Context(), level, "request failed", attrs...)
}

// writeJSON sends v whole: it is encoded before the first byte leaves.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller hung up: nothing left to tell
	return nil
}

func stack() string { return string(debug.Stack()) }
