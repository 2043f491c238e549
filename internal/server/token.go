package server

import (
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleToken serves POST /oauth/token (RFC 6749 §3.2).
func (s *Server) handleToken(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseTokenRequest(r)
	s.allowClientOrigin(w, r, t, req.Client.ClientID)
	if err != nil {
		s.grants.RecordRefusal(t, req, s.origin(r), err)
		return err
	}
	resp, err := s.grants.Exchange(r.Context(), t, req, s.origin(r))
	if err != nil {
		challengeBasic(w, r, t, err)
		if oauth.AsError(err).Code == oauth.SlowDown {
			w.Header().Set("Retry-After", "5") // RFC 8628 §3.5
		}
		return err
	}
	return writeJSON(w, http.StatusOK, resp)
}

// challengeBasic names the scheme to a client that tried it and was not let in
// (RFC 6749 §5.2). The vendor's code for that is access_denied.
func challengeBasic(w http.ResponseWriter, r *http.Request, t tenant.Tenant, err error) {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if oauth.AsError(err).Status == http.StatusUnauthorized && strings.EqualFold(scheme, "Basic") {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+t.Domain+`"`)
	}
}
