package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// Cookie names. Browsers send cookies to every port of a host, so the names
// carry the tenant (D2); __Host- keeps sibling domains from setting them (SEC-150).
func sessionCookie(t tenant.Tenant) string { return "__Host-bulla-session-" + tag(t) }
func bindingCookie(t tenant.Tenant) string { return "__Host-bulla-tx-" + tag(t) }

func tag(t tenant.Tenant) string {
	sum := sha256.Sum256([]byte(t.ID))
	return hex.EncodeToString(sum[:5])
}

// cookie is the value of a cookie of ours. Two of one name, or more than
// maxCookies in all, are an attack or an accident and count as none (SEC-157).
func cookie(r *http.Request, name string) string {
	n := 0
	for _, line := range r.Header.Values("Cookie") {
		n += strings.Count(line, ";") + 1
	}
	if n > maxCookies {
		return ""
	}
	found := r.CookiesNamed(name)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// browser is what the request brought along.
func (s *Server) browser(r *http.Request, t tenant.Tenant) authorize.Browser {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return authorize.Browser{
		Session:  cookie(r, sessionCookie(t)),
		Binding:  cookie(r, bindingCookie(t)),
		Embedded: dest != "" && dest != "document",
		Origin:   s.origin(r),
	}
}

// setCookies carries out the changes of an outcome. The session cookie is
// SameSite=None so that prompt=none works in a frame (security.md §30).
func setCookies(w http.ResponseWriter, t tenant.Tenant, c authorize.Cookies) {
	put := func(name, value string, age time.Duration, site http.SameSite) {
		k := http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: site}
		if k.MaxAge = int(age / time.Second); value == "" {
			k.MaxAge = -1
		}
		http.SetCookie(w, &k)
	}
	if c.Session != "" {
		put(sessionCookie(t), c.Session, c.SessionLifetime, http.SameSiteNoneMode)
	}
	if c.EndSession {
		put(sessionCookie(t), "", 0, http.SameSiteNoneMode)
	}
	if c.Binding != "" {
		put(bindingCookie(t), c.Binding, 0, http.SameSiteLaxMode)
	}
}
