package server

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleAuthorize serves GET and POST /authorize (RFC 6749 §3.1).
func (s *Server) handleAuthorize(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseAuthorizationRequest(r)
	if err != nil {
		return err
	}
	out, err := s.authorize.Begin(r.Context(), t, req, s.browser(r, t))
	if err != nil {
		return err
	}
	return s.send(w, r, t, out)
}

// send carries an outcome out: cookies first, then the client's response or the
// way to a page of ours.
func (s *Server) send(w http.ResponseWriter, r *http.Request, t tenant.Tenant, out authorize.Outcome) error {
	if out.Failure != nil {
		e := oauth.AsError(out.Failure)
		s.logFailure(r, t.ID, e.Status, e.Code, e.Reason, e.Err)
	}
	setCookies(w, t, out.Cookies)
	if out.Response != nil {
		return s.deliver(w, r, *out.Response)
	}
	location := pagePath(out.Page)
	if out.State != "" {
		location += "?state=" + url.QueryEscape(out.State)
	}
	redirect(w, r, location)
	return nil
}

func pagePath(p authorize.Page) string {
	switch p {
	case authorize.SignupPage:
		return "/u/signup"
	case authorize.ConsentPage:
		return "/u/consent"
	case authorize.DevicePage:
		return "/u/device"
	case authorize.DeviceAllowedPage:
		return "/device/success"
	case authorize.DeviceDeniedPage:
		return "/device/denied"
	}
	return "/u/login"
}

// redirect sends the browser on. After a form it must be 303: 307 would send the
// password along, 302 might (SEC-27). There is no body: codes never stand in one
// (SEC-53).
func redirect(w http.ResponseWriter, r *http.Request, location string) {
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther
	}
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// deliver takes a response to the client in the mode it asked for.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, a authorize.Response) error {
	switch a.Mode {
	case "form_post":
		return s.formPost(w, a)
	case "web_message":
		return s.webMessage(w, a)
	}
	redirect(w, r, a.Location())
	return nil
}

// state is the transaction's value in the page's address.
func state(r *http.Request) (string, error) {
	p, err := oauth.ReadQuery(r)
	if err != nil {
		return "", err
	}
	return p.Text("state"), nil
}

// handleLogin serves the login page.
func (s *Server) handleLogin(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	return s.showLogin(w, r, t, "login", entered{}, nil)
}

// handleSignup serves the sign-up page.
func (s *Server) handleSignup(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	return s.showLogin(w, r, t, "signup", entered{}, nil)
}

// showLogin shows the login or the sign-up page: empty, or with what was typed
// and why it was not taken.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request, t tenant.Tenant, page string, typed entered, fault *authorize.FormError) error {
	st, err := state(r)
	if err != nil {
		return err
	}
	v, err := s.authorize.Login(r.Context(), t, st, s.browser(r, t))
	if err != nil {
		return err
	}
	if page == "signup" && !v.SignupAllowed {
		return oauth.NewError(oauth.AccessDenied, "Public signup is disabled.", nil).WithReason("signup_disabled")
	}
	if fault == nil && typed == (entered{}) {
		typed = entered{Identifier: v.LoginHint, Email: v.LoginHint}
	}
	return s.render(w, t, content{
		name: page, status: formStatus(w, fault), formTargets: v.FormTargets, keepOpener: true,
		data: form{Client: v.ClientName, Entered: typed, Fault: describe(fault), State: st, Login: v},
	})
}

// entered is what the user typed, passwords excepted.
type entered struct{ Identifier, Email, Username string }

// formStatus: a busy server keeps what was typed and says when to come back.
func formStatus(w http.ResponseWriter, fault *authorize.FormError) int {
	switch {
	case fault == nil:
		return http.StatusOK
	case fault.Reason == authorize.Busy:
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// handleLoginForm takes the login form.
func (s *Server) handleLoginForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, p, err := submitted(r)
	if err != nil {
		return err
	}
	sent := authorize.LoginForm{Identifier: p.Text("identifier"), Password: p.Text("password")}
	out, err := s.authorize.SubmitLogin(r.Context(), t, st, sent, s.browser(r, t))
	var fault *authorize.FormError
	if errors.As(err, &fault) {
		return s.showLogin(w, r, t, "login", entered{Identifier: sent.Identifier, Email: sent.Identifier}, fault)
	}
	setCookies(w, t, out.Cookies)
	if err != nil {
		return err
	}
	out.Cookies = authorize.Cookies{}
	return s.send(w, r, t, out)
}

// handleSignupForm takes the sign-up form.
func (s *Server) handleSignupForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, p, err := submitted(r)
	if err != nil {
		return err
	}
	sent := authorize.SignupForm{Email: p.Text("email"), Username: p.Text("username"), Password: p.Text("password")}
	out, err := s.authorize.SubmitSignup(r.Context(), t, st, sent, s.browser(r, t))
	var fault *authorize.FormError
	if errors.As(err, &fault) {
		return s.showLogin(w, r, t, "signup", entered{Email: sent.Email, Username: sent.Username, Identifier: sent.Email}, fault)
	}
	setCookies(w, t, out.Cookies)
	if err != nil {
		return err
	}
	out.Cookies = authorize.Cookies{}
	return s.send(w, r, t, out)
}

// submitted reads a form and the transaction it belongs to.
func submitted(r *http.Request) (string, *oauth.Parameters, error) {
	st, err := state(r)
	if err != nil {
		return "", nil, err
	}
	p, err := oauth.ReadForm(r)
	return st, p, err
}

// handleConsent serves the consent page.
func (s *Server) handleConsent(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, err := state(r)
	if err != nil {
		return err
	}
	v, out, err := s.authorize.Consent(r.Context(), t, st, s.browser(r, t))
	if err != nil {
		return err
	}
	if out.Page != authorize.NoPage {
		return s.send(w, r, t, out)
	}
	return s.render(w, t, content{
		name: "consent", status: http.StatusOK, formTargets: v.FormTargets, keepOpener: true,
		data: consentPage(v, st),
	})
}

// handleConsentForm takes the user's decision.
func (s *Server) handleConsentForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, p, err := submitted(r)
	if err != nil {
		return err
	}
	decision := p.Text("decision")
	if decision != "allow" && decision != "deny" {
		return oauth.NewError(oauth.InvalidRequest, "Missing required parameter: decision", nil)
	}
	out, err := s.authorize.SubmitConsent(r.Context(), t, st, decision == "allow", s.browser(r, t))
	if err != nil {
		return err
	}
	return s.send(w, r, t, out)
}
