package tokensource

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// AuthMethod is how a client proves who it is (RFC 6749 §2.3.1).
type AuthMethod string

// The methods. The default is ClientSecretPost with a secret, and None without.
const (
	ClientSecretPost  AuthMethod = "client_secret_post"
	ClientSecretBasic AuthMethod = "client_secret_basic"
	None              AuthMethod = "none"
)

// Config says where tokens come from and what they are for. Issuer or
// TokenURL, and ClientID, are required.
type Config struct {
	// Issuer is the issuer's identifier, "https://tenant.example.com/"; the
	// token endpoint is found by discovery. It must be https, or http on a
	// loopback address (SEC-220).
	Issuer string
	// TokenURL is the token endpoint itself, for issuers without discovery.
	TokenURL string

	ClientID     string
	ClientSecret Secret
	AuthMethod   AuthMethod

	// Audience is the API that the token is for.
	Audience string
	// Scopes are asked for; none means what the issuer gives by default.
	Scopes []string
	// Extra are further parameters of the token request, such as organization.
	Extra url.Values

	// Attempts says that the token endpoint understands AttemptHeader. With an
	// Issuer discovery says so itself.
	Attempts bool

	// Store keeps the tokens. Default a MemoryStore of its own; sources of
	// several users in one process share one.
	Store Store
	// HTTPClient makes the requests; its transport is where a private
	// authority goes. Redirects are refused. Default http.DefaultTransport.
	HTTPClient *http.Client
	// EarlyRefresh is how long before its end a token is replaced, less a
	// random part of up to a third, so that a fleet does not ask in step.
	// Default 60 s, at most a quarter of the token's life.
	EarlyRefresh time.Duration
	// Patience is how long a request is repeated when the issuer does not
	// answer, or answers that it cannot. Default 10 s.
	Patience time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

const (
	defaultEarly    = time.Minute
	defaultPatience = 10 * time.Second
	// attemptTimeout bounds one request.
	attemptTimeout = 10 * time.Second
)

// endpoint returns the client side of the token endpoint that c describes, and
// fills c's defaults.
func (c *Config) endpoint() (*endpoint, error) {
	switch {
	case c.Issuer == "" && c.TokenURL == "":
		return nil, errors.New("tokensource: Issuer or TokenURL is required")
	case c.ClientID == "":
		return nil, errors.New("tokensource: ClientID is required")
	}
	for name, raw := range map[string]string{"Issuer": c.Issuer, "TokenURL": c.TokenURL} {
		if raw == "" {
			continue
		}
		if err := checkURL(raw); err != nil {
			return nil, fmt.Errorf("tokensource: %s: %w", name, err)
		}
	}
	if c.AuthMethod == "" {
		c.AuthMethod = ClientSecretPost
		if c.ClientSecret.IsZero() {
			c.AuthMethod = None
		}
	}
	switch c.AuthMethod {
	case ClientSecretPost, ClientSecretBasic:
		if c.ClientSecret.IsZero() {
			return nil, fmt.Errorf("tokensource: AuthMethod %s needs a ClientSecret", c.AuthMethod)
		}
	case None:
	default:
		return nil, fmt.Errorf("tokensource: unknown AuthMethod %q", c.AuthMethod)
	}
	if c.Store == nil {
		c.Store = new(MemoryStore)
	}
	if c.EarlyRefresh <= 0 {
		c.EarlyRefresh = defaultEarly
	}
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var client http.Client
	if c.HTTPClient != nil {
		client = *c.HTTPClient
	}
	// A redirect would carry the secret somewhere else; it is an answer like
	// any other that is not a token.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &endpoint{config: *c, client: &client}, nil
}

// key is the store's key for tokens of user under this configuration.
func (c *Config) key(user string) Key {
	issuer := c.Issuer
	if issuer == "" {
		issuer = c.TokenURL
	}
	return Key{Issuer: issuer, ClientID: c.ClientID, User: user, Audience: c.Audience, Scopes: sortedScopes(c.Scopes)}
}

// refreshAt is when t is to be replaced: early, at a random point.
func (c *Config) refreshAt(t Token) time.Time {
	early := min(c.EarlyRefresh, t.ExpiresAt.Sub(t.IssuedAt)/4)
	if early <= 0 {
		return t.ExpiresAt
	}
	return t.ExpiresAt.Add(-early + rand.N(early/3+1))
}

// checkURL accepts https, and http to this machine (SEC-220).
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not an absolute URL")
	}
	if !secure(u) {
		return errors.New("must be https")
	}
	return nil
}

func secure(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
