package server

import (
	"net/http"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleIntrospect serves POST /oauth/introspect (RFC 7662). Its callers have
// credentials of their own, so no page of a browser may read it.
func (s *Server) handleIntrospect(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseIntrospectionRequest(r)
	if err != nil {
		return err
	}
	resp, err := s.grants.Introspect(r.Context(), t, req, s.origin(r))
	if err != nil {
		challengeBasic(w, r, t, err)
		return err
	}
	return writeJSON(w, http.StatusOK, resp)
}
