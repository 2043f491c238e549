package server

import (
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleUserinfo serves GET and POST /userinfo (OIDC Core §5.3).
func (s *Server) handleUserinfo(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	raw, err := bearer(r)
	if err == nil && raw == "" {
		// RFC 6750 §3.1: without a token the challenge says nothing more.
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+t.Domain+`"`)
		err = oauth.NewError(oauth.InvalidToken, "Unauthorized", nil).WithReason("no_token")
	}
	if err != nil {
		s.allowAnyOrigin(w, r) // nothing but a fixed text is in the answer
		return err
	}
	info, err := s.grants.Userinfo(r.Context(), t, raw)
	if err != nil {
		s.allowAnyOrigin(w, r)
		challengeBearer(w, t, err)
		return err
	}
	s.allowClientOrigin(w, r, t, info.ClientID)
	return writeJSON(w, http.StatusOK, info.Claims)
}

// bearer is the access token of the request: in the Authorization header, or,
// with POST, in the form (RFC 6750 §2.1, §2.2). In the query it never counts, and
// more than one is refused (SEC-103). Without one it is empty.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	two := oauth.NewError(oauth.InvalidRequest, "The request must have one access token.", nil)
	if len(values) > 1 || r.URL.Query().Has("access_token") {
		return "", two
	}
	var fromHeader string
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", nil
		}
		fromHeader = strings.TrimSpace(token)
	}
	if r.Method != http.MethodPost || r.ContentLength == 0 || r.Header.Get("Content-Type") == "" {
		return fromHeader, nil
	}
	p, err := oauth.ReadBody(r)
	if err != nil {
		return "", err
	}
	fromBody := p.Text("access_token")
	if err := p.Err(); err != nil {
		return "", err
	}
	if fromBody != "" && fromHeader != "" {
		return "", two
	}
	return fromHeader + fromBody, nil
}

// challengeBearer is RFC 6750 §3. Codes and texts are ours and fixed.
func challengeBearer(w http.ResponseWriter, t tenant.Tenant, err error) {
	e := oauth.AsError(err)
	if e.Code != oauth.InvalidToken && e.Code != oauth.InsufficientScope {
		return
	}
	challenge := `Bearer realm="` + t.Domain + `", error="` + e.Code + `", error_description="` + e.Description + `"`
	if e.Code == oauth.InsufficientScope {
		challenge += `, scope="openid"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
}
