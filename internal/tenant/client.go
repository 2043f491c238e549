package tenant

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Client is the application that asks (RFC 6749 §1.1).
type Client struct {
	TenantID string `json:"-"`
	ID       string `json:"client_id"`
	Name     string `json:"name"`
	// Description is at most 140 characters.
	Description string `json:"description,omitempty"`
	LogoURI     string `json:"logo_uri,omitempty"`
	// AppType is native, spa, regular_web, non_interactive, … or empty.
	AppType string `json:"app_type,omitempty"`
	// ResourceServerIdentifier is the API that a client of type resource_server
	// stands for: it may introspect its tokens and hear of those that end.
	ResourceServerIdentifier string `json:"resource_server_identifier,omitempty"`

	Global         bool `json:"global"`
	FirstParty     bool `json:"is_first_party"`
	OIDCConformant bool `json:"oidc_conformant"`
	// Callbacks are the registered redirect URIs; the first is the default.
	Callbacks         []string `json:"callbacks,omitempty"`
	AllowedOrigins    []string `json:"allowed_origins,omitempty"`
	WebOrigins        []string `json:"web_origins,omitempty"`
	AllowedLogoutURLs []string `json:"allowed_logout_urls,omitempty"`
	GrantTypes        []string `json:"grant_types"`
	// AuthMethod is none, client_secret_post, client_secret_basic, or empty:
	// a secret, sent either way.
	AuthMethod string             `json:"token_endpoint_auth_method,omitempty"`
	AuthByKey  *KeyAuthentication `json:"client_authentication_methods,omitempty"`
	JWT        JWTConfiguration   `json:"jwt_configuration"`
	Refresh    RefreshPolicy      `json:"refresh_token"`
	// SkipLocalConsent: nil means the rule of the specification holds, that a
	// callback anybody on the machine can open asks for consent.
	SkipLocalConsent *bool `json:"skip_non_verifiable_callback_uri_confirmation_prompt,omitempty"`
	// AllowPlainPKCE is the legacy opt-in of security.md §30. Ours.
	AllowPlainPKCE bool `json:"allow_plain_pkce,omitempty"`
	// RequirePKCE asks a confidential client for a challenge too. Ours.
	RequirePKCE bool `json:"require_pkce,omitempty"`

	CreatedAt time.Time `json:"-"`
	// Secrets are the secrets the client may authenticate with, newest first.
	Secrets []ClientSecret `json:"-"`
	// Keys are the public keys its assertions may be signed with.
	Keys []ClientKey `json:"-"`

	Document json.RawMessage `json:"-"`
}

// ClientSecret is a client's secret at rest: a keyed hash to compare, and a
// sealed copy for those who must show or use it (D7, SEC-7). The sealed copy is
// empty when the tenant dropped it.
type ClientSecret struct {
	Hash   string
	Sealed string
	// ExpiresAt is when it stops to work, after a rotation; zero means never (SEC-9).
	ExpiresAt time.Time
}

// ClientKey is a public key of private_key_jwt (management-endpoints.md §1.1).
type ClientKey struct {
	ID        string
	Kid       string
	Name      string
	Alg       string
	PEM       string
	ExpiresAt time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// KeyAuthentication is set for clients that authenticate by key.
type KeyAuthentication struct {
	PrivateKeyJWT *struct {
		Credentials []struct {
			ID string `json:"id"`
		} `json:"credentials"`
	} `json:"private_key_jwt,omitempty"`
}

// JWTConfiguration is how a client's ID tokens are made.
type JWTConfiguration struct {
	// LifetimeInSeconds of ID tokens; zero means 36000.
	LifetimeInSeconds int64 `json:"lifetime_in_seconds,omitempty"`
	SecretEncoded     bool  `json:"secret_encoded"`
	// Alg is RS256, HS256, PS256 or empty for RS256.
	Alg string `json:"alg,omitempty"`
}

// RefreshPolicy is client.refresh_token (refresh-tokens.md §4).
type RefreshPolicy struct {
	RotationType              string           `json:"rotation_type"`
	ExpirationType            string           `json:"expiration_type"`
	LeewaySeconds             int64            `json:"leeway"`
	TokenLifetimeSeconds      int64            `json:"token_lifetime"`
	InfiniteTokenLifetime     bool             `json:"infinite_token_lifetime"`
	IdleTokenLifetimeSeconds  int64            `json:"idle_token_lifetime"`
	InfiniteIdleTokenLifetime bool             `json:"infinite_idle_token_lifetime"`
	Policies                  []ResourcePolicy `json:"policies,omitempty"`
}

// ResourcePolicy lets a refresh token serve another API (refresh-tokens.md §11).
type ResourcePolicy struct {
	Audience string   `json:"audience"`
	Scope    []string `json:"scope"`
}

// Rotating tells whether each use replaces the value.
func (p RefreshPolicy) Rotating() bool { return p.RotationType == "rotating" }

// Leeway is how long the direct predecessor may be presented again.
func (p RefreshPolicy) Leeway() time.Duration { return time.Duration(p.LeewaySeconds) * time.Second }

// AbsoluteLifetime is counted from the family's first value; zero means never ends.
func (p RefreshPolicy) AbsoluteLifetime() time.Duration {
	if p.ExpirationType != "expiring" || p.InfiniteTokenLifetime {
		return 0
	}
	return time.Duration(p.TokenLifetimeSeconds) * time.Second
}

// IdleLifetime restarts at each exchange; zero means never ends.
func (p RefreshPolicy) IdleLifetime() time.Duration {
	if p.ExpirationType != "expiring" || p.InfiniteIdleTokenLifetime {
		return 0
	}
	return time.Duration(p.IdleTokenLifetimeSeconds) * time.Second
}

// Public tells whether the client cannot keep a secret (RFC 6749 §2.1).
func (c Client) Public() bool { return c.AuthMethod == "none" && c.AuthByKey == nil }

// ByKey tells whether the client authenticates with private_key_jwt.
func (c Client) ByKey() bool { return c.AuthByKey != nil && c.AuthByKey.PrivateKeyJWT != nil }

// AllowsGrant tells whether the client may use the grant type (SEC-63).
func (c Client) AllowsGrant(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// IDTokenAlg is the algorithm of the client's ID tokens. A public client cannot
// keep the HS256 secret and gets RS256 whatever it says (tokens.md §9).
func (c Client) IDTokenAlg() string {
	if c.JWT.Alg == "" || c.JWT.Alg == "HS256" && c.Public() {
		return "RS256"
	}
	return c.JWT.Alg
}

// IDTokenLifetime is the life of the client's ID tokens.
func (c Client) IDTokenLifetime() time.Duration {
	if c.JWT.LifetimeInSeconds <= 0 {
		return 36000 * time.Second
	}
	return time.Duration(c.JWT.LifetimeInSeconds) * time.Second
}

// ParseClient reads the document of a client.
func ParseClient(tenantID string, document []byte) (Client, error) {
	c := Client{TenantID: tenantID, Document: document}
	if err := json.Unmarshal(document, &c); err != nil {
		return Client{}, fmt.Errorf("parse client document: %w", err)
	}
	return c, nil
}
