package server

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// metadata is the discovery document (OpenID Connect Discovery §3, RFC 8414 §2).
// It names what is served here and nothing else.
type metadata struct {
	Issuer                      string   `json:"issuer"`
	AuthorizationEndpoint       string   `json:"authorization_endpoint"`
	TokenEndpoint               string   `json:"token_endpoint"`
	DeviceEndpoint              string   `json:"device_authorization_endpoint"` // RFC 8628 §4
	UserinfoEndpoint            string   `json:"userinfo_endpoint"`
	JWKSURI                     string   `json:"jwks_uri"`
	RevocationEndpoint          string   `json:"revocation_endpoint"`
	IntrospectionEndpoint       string   `json:"introspection_endpoint"` // RFC 8414 §2
	IntrospectionEndpointAuth   []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationFeed              string   `json:"revocation_feed_endpoint"` // ours (D5)
	EndSessionEndpoint          string   `json:"end_session_endpoint,omitempty"`
	Scopes                      []string `json:"scopes_supported"`
	ResponseTypes               []string `json:"response_types_supported"`
	ResponseModes               []string `json:"response_modes_supported"`
	GrantTypes                  []string `json:"grant_types_supported"`
	SubjectTypes                []string `json:"subject_types_supported"`
	IDTokenAlgs                 []string `json:"id_token_signing_alg_values_supported"`
	ChallengeMethods            []string `json:"code_challenge_methods_supported"`
	TokenEndpointAuth           []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthAlgs       []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationEndpointAuth      []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationEndpointAuthAlgs  []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	Claims                      []string `json:"claims_supported"`
	RequestParameter            bool     `json:"request_parameter_supported"`
	RequestURIParameter         bool     `json:"request_uri_parameter_supported"`
	AuthorizationResponseIssuer bool     `json:"authorization_response_iss_parameter_supported"`
	// RefreshTokenRetry: a rotation named by the Bulla-Attempt header can be
	// repeated, and until when. Ours (D4).
	RefreshTokenRetry       bool   `json:"refresh_token_retry_supported"`
	RefreshTokenRetryWindow string `json:"refresh_token_retry_window"`
}

// handleDiscovery serves /.well-known/openid-configuration and
// /.well-known/oauth-authorization-server (authentication-api.md §8.1).
func (s *Server) handleDiscovery(w http.ResponseWriter, _ *http.Request, t tenant.Tenant) error {
	public(w)
	w.Header().Set("Cache-Control", "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400")
	authentication := []string{oauth.AuthSecretBasic, oauth.AuthSecretPost, oauth.AuthPrivateKeyJWT, oauth.AuthNone}
	algs := []string{"RS256", "RS384", "PS256"}
	m := metadata{
		Issuer:                t.Issuer(),
		AuthorizationEndpoint: t.Issuer() + "authorize",
		TokenEndpoint:         t.Issuer() + "oauth/token",
		DeviceEndpoint:        t.Issuer() + "oauth/device/code",
		UserinfoEndpoint:      t.UserinfoAudience(),
		JWKSURI:               t.Issuer() + ".well-known/jwks.json",
		RevocationEndpoint:    t.Issuer() + "oauth/revoke",
		IntrospectionEndpoint: t.Issuer() + "oauth/introspect",
		RevocationFeed:        t.Issuer() + "oauth/revocations",
		// Nobody without a credential is answered there (SEC-131).
		IntrospectionEndpointAuth: []string{oauth.AuthSecretBasic, oauth.AuthSecretPost, oauth.AuthPrivateKeyJWT},
		Scopes: []string{
			"openid", "profile", "offline_access", "name", "given_name", "family_name", "nickname",
			"email", "email_verified", "picture", "created_at", "identities", "phone", "address",
		},
		ResponseTypes: []string{"code", "token", "id_token", "code token", "code id_token", "token id_token", "code token id_token"},
		ResponseModes: []string{"query", "fragment", "form_post"},
		GrantTypes: []string{
			oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantRefreshToken,
			oauth.GrantClientCredentials, oauth.GrantPassword, oauth.GrantPasswordRealm, oauth.GrantDeviceCode,
		},
		SubjectTypes:      []string{"public"},
		IDTokenAlgs:       []string{"HS256", "RS256", "PS256"},
		ChallengeMethods:  []string{"S256"}, // SEC-55
		TokenEndpointAuth: authentication, TokenEndpointAuthAlgs: algs,
		RevocationEndpointAuth: authentication, RevocationEndpointAuthAlgs: algs,
		Claims: []string{
			"aud", "auth_time", "created_at", "email", "email_verified", "exp", "family_name", "given_name", "iat",
			"identities", "iss", "name", "nickname", "phone_number", "picture", "sub",
		},
		AuthorizationResponseIssuer: t.Settings.ResponseIss(),
		RefreshTokenRetry:           true, RefreshTokenRetryWindow: "until_used",
	}
	if t.Settings.EndSessionDiscovery() {
		m.EndSessionEndpoint = t.Issuer() + "oidc/logout"
	}
	return writeJSON(w, http.StatusOK, m)
}

// handleJWKS serves /.well-known/jwks.json (RFC 7517 §5). Clients take max-age
// for their own cache, so it is short (keys-and-validation.md §2).
func (s *Server) handleJWKS(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	public(w)
	body, err := s.keys.JWKS(r.Context(), t)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400")
	h.Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // the caller hung up: nothing left to tell
	return nil
}

// public: anybody may read and keep it, from any page.
func public(w http.ResponseWriter) {
	h := w.Header()
	h.Del("Pragma")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
}

// matches is If-None-Match, by weak comparison (RFC 9110 §13.1.2).
func matches(values []string, tag string) bool {
	for _, v := range values {
		for _, candidate := range strings.Split(v, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
				return true
			}
		}
	}
	return false
}
