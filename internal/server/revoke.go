package server

import (
	"net/http"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleRevoke serves POST /oauth/revoke (RFC 7009): 200 without a body once the
// family is ended, and for everything that there is nothing to end of.
func (s *Server) handleRevoke(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseRevocationRequest(r)
	s.allowClientOrigin(w, r, t, req.Client.ClientID)
	if err != nil {
		s.grants.RecordRefusal(t, oauth.TokenRequest{GrantType: oauth.GrantRefreshToken, Client: req.Client}, s.origin(r), err)
		return err
	}
	if err := s.grants.Revoke(r.Context(), t, req, s.origin(r)); err != nil {
		challengeBasic(w, r, t, err)
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
