package tenant

import (
	"encoding/json"
	"time"
)

// Tenant is an issuer: a domain, and everything under it. The value is what one
// request read on arrival: ConfigVersion is the version of all configuration
// under it, and a cached object counts only under that version (D6, SEC-129).
type Tenant struct {
	ID string
	// Domain is host[:port], as in the Host header, lower case.
	Domain    string
	Settings  Settings
	CreatedAt time.Time
	// ConfigVersion rises with every write of configuration: settings, clients,
	// resource servers, client grants, connections, keys.
	ConfigVersion int64
	// DataKey is the tenant's data key, sealed by the master key (D7).
	DataKey string
	// Test: the tenant is for tests, has a clock of its own, which is Advanced
	// ahead of ours, and is served at its own port alone (D2).
	Test     bool
	Advanced time.Duration
}

// Issuer is the iss of every token, with the trailing slash (tokens.md §3.2).
func (t Tenant) Issuer() string { return "https://" + t.Domain + "/" }

// ManagementAudience is the identifier of the system API.
func (t Tenant) ManagementAudience() string { return "https://" + t.Domain + "/api/v2/" }

// UserinfoAudience is the audience of the userinfo endpoint.
func (t Tenant) UserinfoAudience() string { return "https://" + t.Domain + "/userinfo" }

// Settings are the tenant's settings the server acts on; Document is the whole
// object of the Management API. The zero value means the documented defaults.
type Settings struct {
	FriendlyName      string   `json:"friendly_name,omitempty"`
	SupportEmail      string   `json:"support_email,omitempty"`
	SupportURL        string   `json:"support_url,omitempty"`
	DefaultAudience   string   `json:"default_audience,omitempty"`
	DefaultDirectory  string   `json:"default_directory,omitempty"`
	AllowedLogoutURLs []string `json:"allowed_logout_urls,omitempty"`
	// SessionLifetimeHours and IdleSessionLifetimeHours are hours; zero means
	// 168 and 72 (authentication-api.md §2). Fractions come from …_in_minutes.
	SessionLifetimeHours     float64   `json:"session_lifetime,omitempty"`
	IdleSessionLifetimeHours float64   `json:"idle_session_lifetime,omitempty"`
	SessionCookie            *Cookie   `json:"session_cookie,omitempty"`
	Flags                    Flags     `json:"flags"`
	ErrorPage                *ErrPage  `json:"error_page,omitempty"`
	IssParameter             *bool     `json:"authorization_response_iss_parameter_supported,omitempty"`
	OIDCLogout               *Discover `json:"oidc_logout,omitempty"`
	// DeviceFlow is how user codes look; nil means the default.
	DeviceFlow *DeviceFlow `json:"device_flow,omitempty"`
	// RefreshTokenLimit is how many live families one user has with one client,
	// 1 to 200; zero means 200 (SEC-112).
	RefreshTokenLimit int `json:"refresh_token_limit,omitempty"`
	// SigningKeys are the settings of the key ring; nil is their zero value.
	SigningKeys *KeySettings `json:"signing_keys,omitempty"`

	Document json.RawMessage `json:"-"`
}

// KeySettings are a tenant's settings of its signing keys.
type KeySettings struct {
	// RotationIntervalSeconds is the age at which a key is replaced; zero: only
	// by call.
	RotationIntervalSeconds int64 `json:"rotation_interval,omitempty"`
	// PublicationTimeSeconds is how long a key is published before it signs;
	// zero means 86400, and less than KeySetLifetime is as much as that.
	PublicationTimeSeconds int64 `json:"publication_time,omitempty"`
	// RSABits is the size of new RSA keys: 2048 (default), 3072 or 4096.
	RSABits int `json:"rsa_bits,omitempty"`
}

// KeyRotationInterval is the age at which a signing key is replaced; zero: only by call.
func (s Settings) KeyRotationInterval() time.Duration {
	if s.SigningKeys == nil {
		return 0
	}
	return time.Duration(max(s.SigningKeys.RotationIntervalSeconds, 0)) * time.Second
}

// KeyPublicationTime is how long a key is published before it signs (SEC-141).
// Many verifiers keep a key set for 10 to 15 minutes whatever we announce.
func (s Settings) KeyPublicationTime() time.Duration {
	if s.SigningKeys == nil || s.SigningKeys.PublicationTimeSeconds <= 0 {
		return 24 * time.Hour
	}
	return max(time.Duration(s.SigningKeys.PublicationTimeSeconds)*time.Second, KeySetLifetime)
}

// RSABits is the size of new RSA keys (SEC-78).
func (s Settings) RSABits() int {
	if s.SigningKeys != nil && (s.SigningKeys.RSABits == 3072 || s.SigningKeys.RSABits == 4096) {
		return s.SigningKeys.RSABits
	}
	return 2048
}

// Cookie is the mode of the session cookie: persistent (default) or non-persistent.
type Cookie struct {
	Mode string `json:"mode"`
}

// ErrPage is a tenant's own error page.
type ErrPage struct {
	URL string `json:"url,omitempty"`
}

// DeviceFlow is the form of user codes: Charset is base20 or digits, and each
// asterisk of Mask one of its characters.
type DeviceFlow struct {
	Charset string `json:"charset,omitempty"`
	Mask    string `json:"mask,omitempty"`
}

// Discover says whether discovery names the end-session endpoint; absent means yes.
type Discover struct {
	EndSession *bool `json:"rp_logout_end_session_endpoint_discovery,omitempty"`
}

// Flags are the tenant's switches that the server acts on.
type Flags struct {
	// RevokeRefreshTokenGrant makes revoking a refresh token delete the consent
	// it was issued under, and so every sibling (refresh-tokens.md §9.2).
	RevokeRefreshTokenGrant bool `json:"revoke_refresh_token_grant,omitempty"`
	RemoveAlgFromJWKS       bool `json:"remove_alg_from_jwks,omitempty"`
	// EnablePublicSignupUserExistsError makes sign-up say that a user exists.
	EnablePublicSignupUserExistsError bool `json:"enable_public_signup_user_exists_error,omitempty"`
}

// SessionLifetime is the absolute life of a login session.
func (s Settings) SessionLifetime() time.Duration { return hours(s.SessionLifetimeHours, 168) }

// IdleSessionLifetime is the life of a login session that is not used.
func (s Settings) IdleSessionLifetime() time.Duration { return hours(s.IdleSessionLifetimeHours, 72) }

// FamilyLimit is the number of live families of one user with one client.
func (s Settings) FamilyLimit() int {
	if s.RefreshTokenLimit < 1 || s.RefreshTokenLimit > 200 {
		return 200
	}
	return s.RefreshTokenLimit
}

// ResponseIss tells whether authorization responses carry iss (SEC-35): yes
// unless the tenant turned it off.
func (s Settings) ResponseIss() bool { return s.IssParameter == nil || *s.IssParameter }

// EndSessionDiscovery tells whether discovery names the end-session endpoint.
func (s Settings) EndSessionDiscovery() bool {
	return s.OIDCLogout == nil || s.OIDCLogout.EndSession == nil || *s.OIDCLogout.EndSession
}

func hours(h float64, otherwise float64) time.Duration {
	if h <= 0 {
		h = otherwise
	}
	return time.Duration(h * float64(time.Hour))
}

// Origin is where a request came from, for events and device records. Every
// value is cut to 256 bytes before it gets here.
type Origin struct {
	IP        string
	UserAgent string
	Host      string
	// SDK is the decoded Auth0-Client header, or nil.
	SDK json.RawMessage
}

// Guard is what a write depends on beyond its own row: it happens only if the
// configuration and the user are as the request judged them, else ErrConflict
// (SEC-124: refresh is linearizable with whatever ends the right to it).
type Guard struct {
	// ConfigVersion is Tenant.ConfigVersion as judged.
	ConfigVersion int64
	// UserID and UserVersion name the user as judged; empty UserID means none.
	UserID      string
	UserVersion int64
	// SessionID names a session that must be alive, or is empty.
	SessionID string
	// ConsentID names a consent that must exist, or is empty.
	ConsentID string
}

// Page asks for a part of a list. The zero value asks for everything.
type Page struct {
	// Limit is the number of items; zero means no limit unless Empty.
	Limit int
	// Empty asks for no items at all, only the total (per_page=0).
	Empty bool
	// Offset skips items.
	Offset int
	// After is the position that List.Next gave, for checkpoint paging.
	After string
	// Checkpoint asks for Next instead of Total.
	Checkpoint bool
	// Total asks for the exact number of items that match.
	Total bool
}

// List is a part of a list.
type List[T any] struct {
	Items []T
	// Total is exact when Page.Total asked for it.
	Total int
	// Next is where the next part begins; empty at the end.
	Next string
}
