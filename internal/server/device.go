package server

import (
	"errors"
	"net/http"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// handleDeviceCode serves POST /oauth/device/code (RFC 8628 §3.1).
func (s *Server) handleDeviceCode(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseDeviceRequest(r)
	s.allowClientOrigin(w, r, t, req.Client.ClientID)
	if err != nil {
		s.grants.RecordDeviceRefusal(t, req, s.origin(r), err)
		return err
	}
	resp, err := s.grants.AuthorizeDevice(r.Context(), t, req, s.origin(r))
	if err != nil {
		challengeBasic(w, r, t, err)
		return err
	}
	return writeJSON(w, http.StatusOK, resp)
}

// handleActivate serves the page for the code that a device shows. A code in the
// address fills the field in and no more: the user sends it himself, and is asked
// again which device he lets in (RFC 8628 §3.3.1, §5.4, SEC-66).
func (s *Server) handleActivate(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	p, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	cookies, err := s.authorize.Activation(s.browser(r, t))
	if err != nil {
		return err
	}
	setCookies(w, t, cookies)
	return s.showActivate(w, t, cut(p.Text("user_code")), nil)
}

func (s *Server) showActivate(w http.ResponseWriter, t tenant.Tenant, typed string, fault *authorize.FormError) error {
	status := formStatus(w, fault)
	if fault != nil && fault.Reason == authorize.TooManyTries {
		w.Header().Set("Retry-After", "3600")
		status = http.StatusTooManyRequests
	}
	return s.render(w, t, content{
		name: "activate", status: status, formTargets: []string{}, data: activatePage{Code: typed, Fault: describe(fault)},
	})
}

type activatePage struct {
	Code  string
	Fault *fault
}

// handleActivateForm takes the code.
func (s *Server) handleActivateForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	p, err := oauth.ReadForm(r)
	if err != nil {
		return err
	}
	typed := p.Text("user_code")
	out, err := s.authorize.SubmitUserCode(r.Context(), t, typed, s.browser(r, t))
	var fault *authorize.FormError
	if errors.As(err, &fault) {
		return s.showActivate(w, t, cut(typed), fault)
	}
	if err != nil {
		return err
	}
	return s.send(w, r, t, out)
}

// handleDevice serves the page that asks whether the device is let in.
func (s *Server) handleDevice(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, err := state(r)
	if err != nil {
		return err
	}
	v, out, err := s.authorize.Device(r.Context(), t, st, s.browser(r, t))
	if err != nil {
		return err
	}
	if out.Page != authorize.NoPage {
		return s.send(w, r, t, out)
	}
	d := devicePage{
		consentData: consentPage(v.ConsentView, st),
		From:        v.Device.InitialIP, Program: v.Device.InitialUserAgent, Asked: lifetimeText(v.Asked),
	}
	return s.render(w, t, content{name: "device", status: http.StatusOK, formTargets: v.FormTargets, data: d})
}

type devicePage struct {
	consentData
	// From, Program and Asked are where the request came from, and how long ago.
	From, Program, Asked string
}

// handleDeviceForm takes the yes or the no.
func (s *Server) handleDeviceForm(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	st, p, err := submitted(r)
	if err != nil {
		return err
	}
	decision := p.Text("decision")
	if decision != "allow" && decision != "deny" {
		return oauth.NewError(oauth.InvalidRequest, "Missing required parameter: decision", nil)
	}
	out, err := s.authorize.SubmitDevice(r.Context(), t, st, decision == "allow", s.browser(r, t))
	if err != nil {
		return err
	}
	return s.send(w, r, t, out)
}

// handleDeviceEnd serves one of the two pages after the decision.
func (s *Server) handleDeviceEnd(name string) handler {
	return func(w http.ResponseWriter, _ *http.Request, t tenant.Tenant) error {
		return s.render(w, t, content{name: name, status: http.StatusOK})
	}
}
