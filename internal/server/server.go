// Package server is the HTTP edge: it finds the tenant, decodes requests, calls
// authorize, grant and management, and renders their answers and errors as
// OAuth JSON or as pages.
//
// It promises: an unknown host gets 421 and never somebody's tenant (SEC-215);
// limits hold before work is done (SEC-225); a failed request makes one log line
// without secrets (SEC-230); a panic ends one request, with a fixed error
// (SEC-229). It refuses to decide anything but which page to show.
package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Directory is what the edge looks up before it knows what is asked.
type Directory interface {
	// TenantByHost finds a tenant by its exact domain; tenant.ErrNotFound when
	// there is none.
	TenantByHost(ctx context.Context, host string) (tenant.Tenant, error)
	// Client finds a client for the cross-origin rules.
	Client(ctx context.Context, t tenant.Tenant, id string) (tenant.Client, error)
}

// KeySet renders a tenant's JWKS.
type KeySet interface {
	JWKS(ctx context.Context, t tenant.Tenant) ([]byte, error)
}

// Management serves everything under /api/v2/.
type Management interface {
	ServeTenant(w http.ResponseWriter, r *http.Request, t tenant.Tenant, origin tenant.Origin)
}

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Options are the parts a Server joins. Those without a default are required.
type Options struct {
	Directory  Directory
	Authorize  *authorize.Service
	Grants     *grant.Service
	Keys       KeySet
	Management Management
	// Ready answers nil when requests can be served; nil means always.
	Ready func(context.Context) error
	// Wall is the machine's clock. Request rates protect the machine, so they do
	// not follow the virtual clock of a test tenant.
	Wall   Clock
	Rand   io.Reader
	Logger *slog.Logger
	// TrustedProxies may say who the caller is (SEC-168); empty means nobody may.
	TrustedProxies []netip.Prefix
	// Draining is closed when the server is about to stop: what would never end
	// by itself ends then (REL-16). Nil means never.
	Draining <-chan struct{}
	// Heartbeat is the longest silence of a revocation feed; zero means 5 seconds.
	Heartbeat time.Duration
	// Rates are the request rates of each endpoint class; zero members mean the
	// defaults.
	Rates Rates
}

// Server is the HTTP edge; it is an http.Handler and safe for concurrent use.
type Server struct {
	directory  Directory
	authorize  *authorize.Service
	grants     *grant.Service
	keys       KeySet
	management Management
	ready      func(context.Context) error
	wall       Clock
	rand       io.Reader
	log        *slog.Logger
	trusted    []netip.Prefix
	limiter    *limiter
	followers  followers
	draining   <-chan struct{}
	heartbeat  time.Duration
	crossSite  *http.CrossOriginProtection
	pages      *template.Template
	styleTag   string
	mux        *http.ServeMux
}

// New joins the parts. It panics on a missing part: that is a programmer's slip.
func New(opts Options) *Server {
	if opts.Directory == nil || opts.Authorize == nil || opts.Grants == nil || opts.Keys == nil ||
		opts.Management == nil || opts.Wall == nil || opts.Rand == nil || opts.Logger == nil {
		panic("server: New with a part missing")
	}
	s := &Server{
		directory: opts.Directory, authorize: opts.Authorize, grants: opts.Grants, keys: opts.Keys,
		management: opts.Management, ready: opts.Ready, wall: opts.Wall, rand: opts.Rand, log: opts.Logger,
		trusted: opts.TrustedProxies, limiter: newLimiter(opts.Rates, opts.Wall),
		crossSite: newCrossSite(), pages: parsePages(), draining: opts.Draining, heartbeat: opts.Heartbeat,
	}
	if s.heartbeat <= 0 {
		s.heartbeat = 5 * time.Second
	}
	_, s.styleTag = tagOf("style.css")
	s.mux = s.routes()
	return s
}

// ServeHTTP applies what holds for every request, whatever it asks for.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := s.requestID()
	rec := &recorder{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	defer s.recoverPanic(rec, r)
	h := rec.Header()
	h.Set("Strict-Transport-Security", "max-age=31536000") // SEC-223
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", id)
	switch {
	case err != nil:
		s.refuse(rec, r, http.StatusServiceUnavailable, err)
	case len(r.RequestURI) > maxURL: // SEC-225
		s.refuse(rec, r, http.StatusRequestURITooLong, nil)
	case ambiguous(r): // SEC-227
		s.refuse(rec, r, http.StatusBadRequest, errors.New("ambiguous request"))
	default:
		s.dispatch(rec, r)
	}
}

// dispatch finds the route. Where there is none the mux would answer in its own
// words, or redirect to a tidier path with the method and body kept (SEC-27).
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	raw := r.URL.EscapedPath()
	if clean := path.Clean(raw); clean != raw && clean+"/" != raw {
		s.refuse(w, r, http.StatusNotFound, nil)
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	probe := &silent{header: http.Header{}, status: http.StatusNotFound}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		s.refuse(w, r, http.StatusMethodNotAllowed, nil)
		return
	}
	s.refuse(w, r, http.StatusNotFound, nil)
}

// Limits of SEC-225; the listener sets those on headers and times.
const (
	maxURL     = 8 << 10
	maxBody    = 64 << 10
	maxParams  = 100
	maxCookies = 50
)

// ambiguous tells whether two programs could read the request in two ways
// (SEC-227). The Management API takes URLs as ids, so only there a path may
// carry an encoded slash.
func ambiguous(r *http.Request) bool {
	if len(r.Header.Values("Content-Type")) > 1 {
		return true
	}
	raw := strings.ToLower(r.URL.EscapedPath())
	if strings.Contains(raw, "%2e") || strings.Contains(raw, "%5c") || strings.Contains(raw, "%00") {
		return !strings.HasPrefix(raw, "/api/v2/") || strings.Contains(raw, "%00")
	}
	return strings.Contains(raw, "%2f") && !strings.HasPrefix(raw, "/api/v2/")
}

type requestIDKey struct{}

// requestID names a request in the log, in X-Request-Id and on error pages.
func (s *Server) requestID() (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a request id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// recoverPanic ends a request whose handler panicked with a fixed error. When a
// part of the answer is out already the connection is cut instead, so that
// nobody takes it for a whole one (SEC-229).
func (s *Server) recoverPanic(w *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	s.log.ErrorContext(r.Context(), "panic", "request", requestID(r), "route", r.Pattern, "panic", fmt.Sprintf("%T", v), "stack", stack())
	if w.wrote {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for _, name := range []string{"Set-Cookie", "Location", "Content-Length", "Content-Security-Policy"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	_ = writeJSON(w, http.StatusInternalServerError, errorBody{Error: "server_error", Description: "Internal error. Request " + requestID(r) + "."})
}

// recorder remembers whether the answer has begun.
type recorder struct {
	http.ResponseWriter
	wrote  bool
	status int
}

func (w *recorder) WriteHeader(status int) {
	if status >= 200 {
		w.wrote, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// silent takes the mux's own answer, of which only status and Allow are used.
type silent struct {
	header http.Header
	status int
}

func (w *silent) Header() http.Header         { return w.header }
func (w *silent) Write(b []byte) (int, error) { return len(b), nil }
func (w *silent) WriteHeader(status int)      { w.status = status }
