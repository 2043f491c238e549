package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

//go:embed pages
var pageFiles embed.FS

// parsePages reads the templates; a fault in them is a programmer's.
func parsePages() *template.Template {
	functions := template.FuncMap{
		"say": func(name string, values ...any) (string, error) {
			text, ok := words[name]
			if !ok {
				return "", fmt.Errorf("no words for %q", name)
			}
			return fmt.Sprintf(text, values...), nil
		},
	}
	return template.Must(template.New("").Funcs(functions).ParseFS(pageFiles, "pages/*.html"))
}

// tagOf is a hash of an embedded file, which stands in its address.
func tagOf(name string) (content []byte, tag string) {
	content, err := pageFiles.ReadFile("pages/" + name)
	if err != nil {
		panic(err) // embedded: cannot be missing
	}
	sum := sha256.Sum256(content)
	return content, hex.EncodeToString(sum[:6])
}

// asset serves an embedded file, the same for all tenants and callers.
func asset(name, contentType string) http.Handler {
	content, tag := tagOf(name)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		h.Set("Cache-Control", "public, max-age=86400")
		h.Set("ETag", `"`+tag+`"`)
		if r.Header.Get("If-None-Match") == `"`+tag+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(content)
	})
}

// content is one page to render.
type content struct {
	name   string
	status int
	// formTargets is nil on a page without a form; else where, beside our own
	// pages, the form's answer may lead.
	formTargets []string
	// keepOpener: the page may stand in a popup whose opener waits for it. The
	// vendor's SDKs open one; an opener policy would cut it off (SEC-223).
	keepOpener bool
	data       any
}

// frame is what every template gets.
type frame struct {
	Style string
	// Brand is the tenant's name.
	Brand string
	Page  any
}

// form is the data of the pages with a form.
type form struct {
	Client  string
	Entered entered
	Fault   *fault
	State   string
	Login   authorize.LoginView
}

// fault is a FormError in words. Field is empty for one about the whole form.
type fault struct {
	Field string
	Text  string
	Rules []authorize.PasswordRule
}

func describe(e *authorize.FormError) *fault {
	if e == nil {
		return nil
	}
	return &fault{Field: e.Field, Text: faultText(e), Rules: e.Rules}
}

// At tells whether the fault is about the field.
func (f *fault) At(field string) bool { return f != nil && f.Field == field }

type consentData struct {
	View     authorize.ConsentView
	Standard []string
	API      []string
	Lifetime string
	State    string
}

// consentPage sorts what is asked for: of the account, and of the API.
func consentPage(v authorize.ConsentView, state string) consentData {
	d := consentData{View: v, Lifetime: lifetimeText(v.Lifetime), State: state}
	for _, sc := range v.Scopes {
		switch text, standard := scopeWords[sc.Value]; {
		case sc.Value == tenant.OfflineAccess: // has its own sentence
		case sc.Description != "":
			d.API = append(d.API, sc.Description)
		case standard:
			d.Standard = append(d.Standard, text)
		default:
			d.Standard = append(d.Standard, sc.Value)
		}
	}
	return d
}

type logoutPage struct {
	Client string
	// Again are the parameters the form sends; they are judged anew.
	Again map[string]string
}

// pageHeaders are those of every HTML response until its page says more
// (SEC-46, SEC-154, SEC-223). There is no opener policy here: on a redirect it
// would cut a popup off from its opener too.
func pageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", policy("'none'"))
}

func policy(formAction string, more ...string) string {
	return strings.Join(append([]string{
		"default-src 'none'", "style-src 'self'", "img-src 'self'", "form-action " + formAction,
		"base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'",
	}, more...), "; ")
}

// render sends a page. It is made whole before the first byte leaves.
func (s *Server) render(w http.ResponseWriter, t tenant.Tenant, c content) error {
	brand := t.Settings.FriendlyName
	if brand == "" {
		brand = t.Domain
	}
	if brand == "" {
		brand = "Bulla"
	}
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, c.name, frame{Style: "/u/style.css?" + s.styleTag, Brand: brand, Page: c.data}); err != nil {
		return fmt.Errorf("render page %s: %w", c.name, err)
	}
	h := w.Header()
	if c.formTargets != nil {
		h.Set("Content-Security-Policy", policy(strings.Join(append([]string{"'self'"}, c.formTargets...), " ")))
	}
	if !c.keepOpener {
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(c.status)
	_, _ = b.WriteTo(w)
	return nil
}

// nonce is a value for one script of one page.
func (s *Server) nonce() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a nonce: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// formPost is the page that posts a response to the client (OAuth 2.0 Form Post
// Response Mode §2). Only the registered target may be its form's action (SEC-30).
func (s *Server) formPost(w http.ResponseWriter, a authorize.Response) error {
	nonce, err := s.nonce()
	if err != nil {
		return err
	}
	target := a.Origin
	if target == "" {
		scheme, _, _ := strings.Cut(a.RedirectURI, ":")
		target = scheme + ":"
	}
	w.Header().Set("Content-Security-Policy", policy(target, "script-src 'nonce-"+nonce+"'"))
	return s.scripted(w, "formpost", struct {
		Nonce  string
		Action template.URL // registered: its scheme may be the client's own
		Params []authorize.Param
	}{nonce, template.URL(a.RedirectURI), a.Params})
}

// webMessage is the page that hands a response to the page that opened it, at
// the registered origin and no other (SEC-29). It must be framed to work.
func (s *Server) webMessage(w http.ResponseWriter, a authorize.Response) error {
	nonce, err := s.nonce()
	if err != nil {
		return err
	}
	members := make(map[string]any, len(a.Params))
	for _, p := range a.Params {
		members[p.Name] = p.Value
		if p.Name == "expires_in" { // a number to the vendor's SDKs
			members[p.Name] = json.Number(p.Value)
		}
	}
	w.Header().Del("X-Frame-Options")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; object-src 'none'; form-action 'none'; script-src 'nonce-"+nonce+"'")
	return s.scripted(w, "webmessage", struct {
		Nonce  string
		Data   map[string]any
		Origin string
	}{nonce, map[string]any{"type": "authorization_response", "response": members}, a.Origin})
}

// scripted sends one of the two pages with a script; they are seen by nobody and
// set their own policy.
func (s *Server) scripted(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, frame{Style: "/u/style.css?" + s.styleTag, Brand: "Bulla", Page: data}); err != nil {
		return fmt.Errorf("render page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = b.WriteTo(w)
	return nil
}

// errorData is what the error page shows.
type errorData struct {
	explanation
	Code, Description, Request string
	SupportEmail, SupportURL   string
}

// errorPage tells a person what went wrong (authentication-api.md §1.4): on the
// tenant's own page where there is one, else on ours.
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, t tenant.Tenant, err error) {
	e := oauth.AsError(err)
	s.logFailure(r, t.ID, e.Status, e.Code, e.Reason, e.Err)
	retryAfter(w, e.Status)
	if location := ownErrorPage(t, r, e); location != "" {
		redirect(w, r, location)
		return
	}
	data := errorData{
		explanation: explain(e), Code: e.Code, Description: e.Description, Request: requestID(r),
		SupportEmail: t.Settings.SupportEmail, SupportURL: t.Settings.SupportURL,
	}
	if err := s.render(w, t, content{name: "error", status: e.Status, data: data}); err != nil {
		s.writeError(w, r, t, err)
	}
}

// ownErrorPage is the tenant's error page with what it needs to know. It is the
// operator's address, never the request's; faults of ours stay here.
func ownErrorPage(t tenant.Tenant, r *http.Request, e *oauth.Error) string {
	if t.Settings.ErrorPage == nil || e.Status >= 500 || !strings.HasPrefix(r.URL.Path, "/authorize") ||
		!tenant.VerifiableRedirect(t.Settings.ErrorPage.URL) {
		return ""
	}
	query := url.Values{
		"client_id": {cut(r.URL.Query().Get("client_id"))}, "lang": {words["lang"]},
		"error": {e.Code}, "error_description": {e.Description}, "tracking": {requestID(r)},
	}.Encode()
	separator := "?"
	if strings.Contains(t.Settings.ErrorPage.URL, "?") {
		separator = "&"
	}
	return t.Settings.ErrorPage.URL + separator + query
}
