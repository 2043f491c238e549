package tenant

import (
	"encoding/json"
	"fmt"
	"time"
)

// ResourceServer is the API a token is for; the UI and the wire call it API.
type ResourceServer struct {
	TenantID string `json:"-"`
	// ID is 24 lower-case hex digits.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Identifier is the audience (RFC 7519 §4.1.3).
	Identifier string  `json:"identifier"`
	System     bool    `json:"is_system,omitempty"`
	Scopes     []Scope `json:"scopes,omitempty"`
	// SigningAlg is RS256, PS256, HS256, ES256 or EdDSA; empty means RS256.
	SigningAlg              string `json:"signing_alg,omitempty"`
	AllowOfflineAccess      bool   `json:"allow_offline_access"`
	SkipConsent             bool   `json:"skip_consent_for_verifiable_first_party_clients"`
	TokenLifetimeSeconds    int64  `json:"token_lifetime"`
	TokenLifetimeWebSeconds int64  `json:"token_lifetime_for_web"`
	EnforcePolicies         bool   `json:"enforce_policies,omitempty"`
	// TokenDialect is access_token, access_token_authz, rfc9068_profile or
	// rfc9068_profile_authz; empty means access_token.
	TokenDialect   string                `json:"token_dialect,omitempty"`
	Authorizations *SubjectAuthorization `json:"subject_type_authorization,omitempty"`

	CreatedAt time.Time `json:"-"`
	// SigningSecret is the sealed HS256 secret, made with the API that chose
	// HS256; empty for the others.
	SigningSecret string `json:"-"`

	Document json.RawMessage `json:"-"`
}

// Scope is a scope that a resource server defines.
type Scope struct {
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
}

// SubjectAuthorization says who may get tokens for an API.
type SubjectAuthorization struct {
	User   *SubjectPolicy `json:"user,omitempty"`
	Client *SubjectPolicy `json:"client,omitempty"`
}

// SubjectPolicy is allow_all, deny_all or require_client_grant.
type SubjectPolicy struct {
	Policy string `json:"policy"`
}

// UserPolicy is the policy for tokens of users; allow_all unless set.
func (r ResourceServer) UserPolicy() string {
	if r.Authorizations == nil || r.Authorizations.User == nil || r.Authorizations.User.Policy == "" {
		return "allow_all"
	}
	return r.Authorizations.User.Policy
}

// ClientPolicy is the policy for tokens of machines; require_client_grant unless set.
func (r ResourceServer) ClientPolicy() string {
	if r.Authorizations == nil || r.Authorizations.Client == nil || r.Authorizations.Client.Policy == "" {
		return "require_client_grant"
	}
	return r.Authorizations.Client.Policy
}

// Alg is the algorithm of the API's access tokens.
func (r ResourceServer) Alg() string {
	if r.SigningAlg == "" {
		return "RS256"
	}
	return r.SigningAlg
}

// TokenLifetime is the life of access tokens from the token endpoint.
func (r ResourceServer) TokenLifetime() time.Duration {
	if r.TokenLifetimeSeconds <= 0 {
		return 86400 * time.Second
	}
	return time.Duration(r.TokenLifetimeSeconds) * time.Second
}

// WebTokenLifetime is the life of access tokens given in the front channel.
func (r ResourceServer) WebTokenLifetime() time.Duration {
	l := time.Duration(r.TokenLifetimeWebSeconds) * time.Second
	if l <= 0 {
		l = 7200 * time.Second
	}
	return min(l, r.TokenLifetime())
}

// ScopeValues are the values of the scopes the API defines.
func (r ResourceServer) ScopeValues() []string {
	out := make([]string, len(r.Scopes))
	for i, s := range r.Scopes {
		out[i] = s.Value
	}
	return out
}

// RFC9068 tells whether the tokens have the profile of RFC 9068.
func (r ResourceServer) RFC9068() bool {
	return r.TokenDialect == "rfc9068_profile" || r.TokenDialect == "rfc9068_profile_authz"
}

// WithPermissions tells whether the tokens carry the permissions claim.
func (r ResourceServer) WithPermissions() bool {
	return r.TokenDialect == "access_token_authz" || r.TokenDialect == "rfc9068_profile_authz"
}

// ParseResourceServer reads the document of a resource server.
func ParseResourceServer(tenantID string, document []byte) (ResourceServer, error) {
	r := ResourceServer{TenantID: tenantID, Document: document}
	if err := json.Unmarshal(document, &r); err != nil {
		return ResourceServer{}, fmt.Errorf("parse resource server document: %w", err)
	}
	return r, nil
}

// ClientGrant is what a client may ask for itself.
type ClientGrant struct {
	TenantID string   `json:"-"`
	ID       string   `json:"id"`
	ClientID string   `json:"client_id,omitempty"`
	Audience string   `json:"audience"`
	Scope    []string `json:"scope"`
	// SubjectType is client (default) or user.
	SubjectType    string `json:"subject_type"`
	AllowAllScopes bool   `json:"allow_all_scopes,omitempty"`

	// Epoch rises when the grant's tokens are revoked: it is part of the hash in
	// their jti, so that later machine tokens live (D5).
	Epoch     int64     `json:"-"`
	CreatedAt time.Time `json:"-"`

	Document json.RawMessage `json:"-"`
}

// ParseClientGrant reads the document of a client grant.
func ParseClientGrant(tenantID string, document []byte) (ClientGrant, error) {
	g := ClientGrant{TenantID: tenantID, Document: document}
	if err := json.Unmarshal(document, &g); err != nil {
		return ClientGrant{}, fmt.Errorf("parse client grant document: %w", err)
	}
	return g, nil
}
