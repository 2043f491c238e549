package server

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// origin is where the request came from, cut for events and device records.
func (s *Server) origin(r *http.Request) tenant.Origin {
	return tenant.Origin{
		IP:        s.clientIP(r),
		UserAgent: cut(r.UserAgent()),
		Host:      cut(s.host(r)),
		SDK:       sdk(r),
	}
}

// sdk decodes the telemetry header of the vendor's SDKs, or the parameter that
// browsers send instead. What is no small JSON object is nothing.
func sdk(r *http.Request) json.RawMessage {
	raw := r.Header.Get("Auth0-Client")
	if raw == "" {
		raw = r.URL.Query().Get("auth0Client")
	}
	if raw == "" || len(raw) > 1024 {
		return nil
	}
	raw = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(raw), "=")
	decoded, err := base64.RawStdEncoding.DecodeString(raw)
	if err != nil || len(decoded) == 0 || decoded[0] != '{' || !json.Valid(decoded) {
		return nil
	}
	return decoded
}

// peer is the address of the other end of the connection.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr, _ := netip.ParseAddr(host)
	return addr.Unmap()
}

func (s *Server) trusts(addr netip.Addr) bool {
	for _, p := range s.trusted {
		if addr.IsValid() && p.Contains(addr) {
			return true
		}
	}
	return false
}

// forwarded is a forwarding header when the direct peer may set it and it stands
// there once (SEC-168).
func (s *Server) forwarded(r *http.Request, name string) string {
	if len(s.trusted) == 0 {
		return ""
	}
	values := r.Header.Values(name)
	if len(values) != 1 || !s.trusts(peer(r)) {
		return ""
	}
	return strings.TrimSpace(values[0])
}

// clientIP is the right-most hop that is no proxy of ours (SEC-168).
func (s *Server) clientIP(r *http.Request) string {
	addr := peer(r)
	hops := strings.Split(s.forwarded(r, "X-Forwarded-For"), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	if !addr.IsValid() {
		return ""
	}
	return addr.WithZone("").String()
}

// host is the host the caller addressed, lower case.
func (s *Server) host(r *http.Request) string {
	if h := s.forwarded(r, "X-Forwarded-Host"); h != "" {
		return strings.ToLower(h)
	}
	return strings.ToLower(r.Host)
}

// secure tells whether the request travelled encrypted: our own TLS, or that of
// a declared proxy (SEC-218).
func (s *Server) secure(r *http.Request) bool {
	return r.TLS != nil || s.forwarded(r, "X-Forwarded-Proto") == "https"
}

// cut makes a value of the request fit for a record (SEC-231).
func cut(v string) string {
	v = strings.ToValidUTF8(v, "?")
	if len(v) <= 256 {
		return v
	}
	v = v[:256]
	for !utf8.ValidString(v) {
		v = v[:len(v)-1]
	}
	return v
}
