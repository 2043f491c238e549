package server

import (
	"net/http"
	"net/url"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// exposedHeaders are those a page's script may read of our answers.
const exposedHeaders = "DPoP-Nonce, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, WWW-Authenticate"

// handlePreflight answers what a browser asks before a cross-origin call. No
// client is named there, so it says yes to any origin; whether the answer to the
// call itself may be read is decided with its client (authentication-api.md §0.1).
func (s *Server) handlePreflight(w http.ResponseWriter, r *http.Request, _ tenant.Tenant) error {
	s.allowAnyOrigin(w, r)
	if h := w.Header(); h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "content-type, authorization, auth0-client, dpop, x-request-language, bulla-attempt")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// allowClientOrigin lets a page at one of the client's origins, and none else,
// read the answer (SEC-69). Cookies are never part of it: no credentials.
func (s *Server) allowClientOrigin(w http.ResponseWriter, r *http.Request, t tenant.Tenant, clientID string) {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || clientID == "" || len(r.Header.Values("Origin")) > 1 {
		return
	}
	if origin+"/" != t.Issuer() {
		c, err := s.directory.Client(r.Context(), t, clientID)
		if err != nil || !c.AllowsOrigin(origin) {
			return
		}
	}
	allowOrigin(w, origin)
}

// allowAnyOrigin lets a page of any web origin read an answer that holds nothing
// of anybody. An opaque origin (null) is none (SEC-69).
func (s *Server) allowAnyOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	u, err := url.Parse(origin)
	if err != nil || len(r.Header.Values("Origin")) > 1 || len(origin) > 256 ||
		u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host != origin {
		return
	}
	allowOrigin(w, origin)
}

func allowOrigin(w http.ResponseWriter, origin string) {
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", exposedHeaders)
}
