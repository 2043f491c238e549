package server

import "net/http"

// routes is every endpoint, its methods and its wrapper. oauthEndpoint answers
// errors as OAuth JSON, page as HTML; both find the tenant, count the request
// and limit its body. The first argument is the class whose rate it counts on.
func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()

	// Front channel: the browser of the user.
	mux.Handle("GET /authorize", s.page(classPages, s.handleAuthorize))
	mux.Handle("POST /authorize", s.page(classPages, s.handleAuthorize))
	mux.Handle("GET /u/login", s.page(classPages, s.handleLogin))
	mux.Handle("POST /u/login", s.page(classLogin, s.handleLoginForm))
	mux.Handle("GET /u/signup", s.page(classPages, s.handleSignup))
	mux.Handle("POST /u/signup", s.page(classLogin, s.handleSignupForm))
	mux.Handle("GET /u/consent", s.page(classPages, s.handleConsent))
	mux.Handle("POST /u/consent", s.page(classPages, s.handleConsentForm))
	mux.Handle("GET /u/setup", s.page(classPages, s.handleSetup))
	mux.Handle("POST /u/setup", s.page(classLogin, s.handleSetupForm))
	mux.Handle("GET /activate", s.page(classPages, s.handleActivate))
	mux.Handle("POST /activate", s.page(classLogin, s.handleActivateForm))
	mux.Handle("GET /u/device", s.page(classPages, s.handleDevice))
	mux.Handle("POST /u/device", s.page(classPages, s.handleDeviceForm))
	mux.Handle("GET /device/success", s.page(classPages, s.handleDeviceEnd("deviceallowed")))
	mux.Handle("GET /device/denied", s.page(classPages, s.handleDeviceEnd("devicedenied")))
	mux.Handle("GET /v2/logout", s.page(classPages, s.handleLogout))
	mux.Handle("GET /oidc/logout", s.page(classPages, s.handleOIDCLogout))
	mux.Handle("POST /oidc/logout", s.page(classPages, s.handleOIDCLogout))
	mux.Handle("POST /u/logout", s.page(classPages, s.handleLogoutForm))
	mux.Handle("GET /u/style.css", asset("style.css", "text/css; charset=utf-8"))
	mux.Handle("GET /u/icon.svg", asset("icon.svg", "image/svg+xml"))

	// Back channel: the client and the resource server.
	mux.Handle("POST /oauth/token", s.oauthEndpoint(classToken, s.handleToken))
	mux.Handle("POST /oauth/device/code", s.oauthEndpoint(classToken, s.handleDeviceCode))
	mux.Handle("POST /oauth/revoke", s.oauthEndpoint(classToken, s.handleRevoke))
	mux.Handle("POST /oauth/introspect", s.oauthEndpoint(classUserinfo, s.handleIntrospect))
	mux.Handle("GET /oauth/revocations", s.oauthEndpoint(classToken, s.handleRevocations))
	mux.Handle("GET /userinfo", s.oauthEndpoint(classUserinfo, s.handleUserinfo))
	mux.Handle("POST /userinfo", s.oauthEndpoint(classUserinfo, s.handleUserinfo))
	mux.Handle("GET /.well-known/openid-configuration", s.oauthEndpoint(classMetadata, s.handleDiscovery))
	mux.Handle("GET /.well-known/oauth-authorization-server", s.oauthEndpoint(classMetadata, s.handleDiscovery))
	mux.Handle("GET /.well-known/jwks.json", s.oauthEndpoint(classMetadata, s.handleJWKS))

	// What a browser asks before it calls one of those (cors.go).
	for _, path := range []string{
		"/oauth/token", "/oauth/device/code", "/oauth/revoke", "/userinfo", "/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
	} {
		mux.Handle("OPTIONS "+path, s.oauthEndpoint(classMetadata, s.handlePreflight))
	}

	mux.Handle("/api/v2/", s.managementEndpoint(classManagement))
	mux.HandleFunc("/api/v2", func(w http.ResponseWriter, r *http.Request) { // else the mux redirects
		s.refuse(w, r, http.StatusNotFound, nil)
	})

	// For the machine that watches: status only (SEC-196).
	mux.HandleFunc("GET /healthz", s.handleHealth)
	mux.HandleFunc("GET /readyz", s.handleReady)
	return mux
}

func (s *Server) handleHealth(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) handleReady(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if s.ready != nil {
		if err := s.ready(r.Context()); err != nil {
			s.logFailure(r, "", http.StatusServiceUnavailable, "not_ready", "", err)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}
