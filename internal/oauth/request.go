package oauth

// Grant types (RFC 6749 §4, RFC 8628 §3.4; the vendor's own are URLs).
const (
	GrantAuthorizationCode = "authorization_code"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
	GrantPassword          = "password"
	GrantPasswordRealm     = "http://auth0.com/oauth/grant-type/password-realm"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	GrantImplicit          = "implicit"
)

// Client authentication methods (RFC 7591 §2).
const (
	AuthNone          = "none"
	AuthSecretPost    = "client_secret_post"
	AuthSecretBasic   = "client_secret_basic"
	AuthPrivateKeyJWT = "private_key_jwt"
)

// AssertionTypeJWTBearer is the only client_assertion_type (RFC 7523 §2.2).
const AssertionTypeJWTBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ClientAuthentication is how a request says who asks. Method is how it came:
// AuthNone when only a client_id was sent.
type ClientAuthentication struct {
	Method   string
	ClientID string
	Secret   string
	// RawSecret is the secret of a Basic header as it stood there, when it reads
	// otherwise without the form-decoding of RFC 6749 §2.3.1; else empty.
	RawSecret     string
	Assertion     string
	AssertionType string
}

// TokenRequest is a decoded request to the token endpoint (RFC 6749 §3.2).
// A parameter that was absent, empty or JSON null is the empty string; an empty
// string and an absent one mean the same (security.md §30).
type TokenRequest struct {
	GrantType    string
	Client       ClientAuthentication
	Scope        string
	Audience     string
	Code         string
	RedirectURI  string
	CodeVerifier string
	RefreshToken string
	Username     string
	Password     string
	Realm        string
	DeviceCode   string
	// Device is the vendor's name of the device, shown with the credential.
	Device string
	// FromBrowser is set when the request carried an Origin header
	// (refresh-tokens.md §2.6).
	FromBrowser bool
	// Attempt is the Bulla-Attempt header: at least 128 random bits, fresh for
	// each rotation; or empty.
	Attempt string
}

// TokenResponse is a successful answer of the token endpoint (RFC 6749 §5.1).
type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
	// ExpiresIn is the life of the access token in seconds, exactly (SEC-71).
	ExpiresIn int64  `json:"expires_in"`
	TokenType string `json:"token_type"`
}

// RevocationRequest is a decoded request to the revocation endpoint (RFC 7009 §2.1).
type RevocationRequest struct {
	Client        ClientAuthentication
	Token         string
	TokenTypeHint string
}

// IntrospectionRequest is a decoded introspection request (RFC 7662 §2.1).
type IntrospectionRequest struct {
	Client        ClientAuthentication
	Token         string
	TokenTypeHint string
}

// Introspection is what a token is worth (RFC 7662 §2.2). Its zero value is the
// whole answer about everything that is not active: {"active":false} (SEC-132).
type Introspection struct {
	Active   bool   `json:"active"`
	Issuer   string `json:"iss,omitempty"`
	Subject  string `json:"sub,omitempty"`
	Audience any    `json:"aud,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	Scope    string `json:"scope,omitempty"`
	// ExpiresAt and IssuedAt are Unix seconds; a refresh token may have no end.
	ExpiresAt int64 `json:"exp,omitempty"`
	IssuedAt  int64 `json:"iat,omitempty"`
	// ID, TokenType and Permissions are of access tokens only.
	ID          string   `json:"jti,omitempty"`
	TokenType   string   `json:"token_type,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
}

// FeedRequest is a decoded request for the revocation feed.
type FeedRequest struct {
	Client ClientAuthentication
	// Cursor is where it begins, or empty.
	Cursor string
}

// AuthorizationRequest is a decoded request to the authorization endpoint
// (RFC 6749 §4.1.1, OIDC Core §3.1.2.1). It is kept with the login transaction:
// what the browser sends later can only name it (SEC-32).
type AuthorizationRequest struct {
	ClientID            string `json:"client_id"`
	ResponseType        string `json:"response_type"`
	ResponseMode        string `json:"response_mode,omitempty"`
	RedirectURI         string `json:"redirect_uri,omitempty"`
	Scope               string `json:"scope,omitempty"`
	Audience            string `json:"audience,omitempty"`
	State               string `json:"state,omitempty"`
	Nonce               string `json:"nonce,omitempty"`
	CodeChallenge       string `json:"code_challenge,omitempty"`
	CodeChallengeMethod string `json:"code_challenge_method,omitempty"`
	Prompt              string `json:"prompt,omitempty"`
	// MaxAge is the parameter's text; empty means absent, since 0 is a value.
	MaxAge      string `json:"max_age,omitempty"`
	LoginHint   string `json:"login_hint,omitempty"`
	ScreenHint  string `json:"screen_hint,omitempty"`
	Connection  string `json:"connection,omitempty"`
	UILocales   string `json:"ui_locales,omitempty"`
	ACRValues   string `json:"acr_values,omitempty"`
	IDTokenHint string `json:"-"`
	// Device is the hash of the device code that the login is for (RFC 8628). It
	// is never a parameter: the server sets it.
	Device string `json:"device,omitempty"`
}

// DeviceRequest is a decoded device authorization request (RFC 8628 §3.1).
type DeviceRequest struct {
	Client   ClientAuthentication
	Scope    string
	Audience string
}

// DeviceResponse is the answer to it (RFC 8628 §3.2).
type DeviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"`
	Interval                int64  `json:"interval"`
}
