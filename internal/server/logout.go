package server

import (
	"errors"
	"net/http"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleLogout serves GET /v2/logout. The session ends for a page that the user
// is led to, not for an image or a frame (security.md §30); federated is ignored
// while there are no upstream providers.
func (s *Server) handleLogout(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	p, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	b := s.browser(r, t)
	if b.Embedded {
		return oauth.NewError(oauth.InvalidRequest, "Logout works only as a page of its own.", nil)
	}
	site := r.Header.Get("Sec-Fetch-Site")
	out, err := s.authorize.Logout(r.Context(), t, authorize.LogoutRequest{
		ClientID: p.Text("client_id"), ReturnTo: p.Text("returnTo"), FromOrigin: tenant.WebOrigin(r.Referer()),
		OwnSite: site == "" || site == "none" || site == "same-origin", ByUser: r.Header.Get("Sec-Fetch-User") == "?1",
	}, b)
	if err != nil {
		return err
	}
	form := map[string]string{"client_id": p.Text("client_id"), "post_logout_redirect_uri": p.Text("returnTo")}
	return s.loggedOut(w, r, t, out, form)
}

// handleOIDCLogout serves GET and POST /oidc/logout (RP-Initiated Logout §2).
func (s *Server) handleOIDCLogout(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	read := oauth.ReadQuery
	if r.Method == http.MethodPost {
		read = oauth.ReadForm
	}
	p, err := read(r)
	if err != nil {
		return err
	}
	return s.endSession(w, r, t, p, "")
}

// handleLogoutForm takes the button of the confirmation page.
func (s *Server) handleLogoutForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	p, err := oauth.ReadForm(r)
	if err != nil {
		return err
	}
	return s.endSession(w, r, t, p, p.Text("confirmation"))
}

func (s *Server) endSession(w http.ResponseWriter, r *http.Request, t tenant.Tenant, p *oauth.Parameters, confirmation string) error {
	b := s.browser(r, t)
	if b.Embedded {
		return oauth.NewError(oauth.InvalidRequest, "Logout works only as a page of its own.", nil)
	}
	req := authorize.EndSessionRequest{
		ClientID: p.Text("client_id"), IDTokenHint: p.Text("id_token_hint"), LogoutHint: p.Text("logout_hint"),
		RedirectURI: p.Text("post_logout_redirect_uri"), State: p.Text("state"), Confirmation: confirmation,
	}
	out, err := s.authorize.EndSession(r.Context(), t, req, b)
	if err != nil {
		return err
	}
	form := map[string]string{"client_id": req.ClientID, "post_logout_redirect_uri": req.RedirectURI, "state": req.State}
	if req.ClientID == "" { // the hint named the client
		form["client_id"] = out.ClientID
	}
	return s.loggedOut(w, r, t, out, form)
}

// loggedOut sends the browser where it asked to go, or shows how it ended.
func (s *Server) loggedOut(w http.ResponseWriter, r *http.Request, t tenant.Tenant, out authorize.LogoutOutcome, again map[string]string) error {
	if out.Confirmation != "" {
		again["confirmation"] = out.Confirmation
		return s.render(w, t, content{
			name: "logout", status: http.StatusOK, formTargets: append([]string{}, out.FormTargets...),
			data: logoutPage{Client: out.ClientName, Again: again},
		})
	}
	setCookies(w, t, authorize.Cookies{EndSession: out.Ended})
	if out.Ended {
		w.Header().Set("Clear-Site-Data", `"storage"`) // SEC-238
	}
	if out.Location != "" {
		redirect(w, r, out.Location)
		return nil
	}
	return s.render(w, t, content{name: "loggedout", status: http.StatusOK})
}

// handleSetup serves the page of the first administrator's one-time link (SEC-177).
func (s *Server) handleSetup(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	return s.showSetup(w, r, t, entered{}, nil)
}

func (s *Server) showSetup(w http.ResponseWriter, r *http.Request, t tenant.Tenant, typed entered, fault *authorize.FormError) error {
	p, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	v, err := s.authorize.Setup(r.Context(), t, p.Text("ticket"))
	if err != nil {
		return err
	}
	return s.render(w, t, content{
		name: "setup", status: formStatus(w, fault), formTargets: []string{},
		data: form{Entered: typed, Fault: describe(fault), State: p.Text("ticket"), Login: v},
	})
}

// handleSetupForm makes the first administrator.
func (s *Server) handleSetupForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	q, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	p, err := oauth.ReadForm(r)
	if err != nil {
		return err
	}
	sent := authorize.SignupForm{Email: p.Text("email"), Username: p.Text("username"), Password: p.Text("password")}
	err = s.authorize.SubmitSetup(r.Context(), t, q.Text("ticket"), sent, s.browser(r, t))
	var fault *authorize.FormError
	if errors.As(err, &fault) {
		return s.showSetup(w, r, t, entered{Email: sent.Email, Username: sent.Username}, fault)
	}
	if err != nil {
		return err
	}
	return s.render(w, t, content{name: "setupdone", status: http.StatusOK})
}
