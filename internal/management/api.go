package management

import (
	"context"
	"crypto"
	"io"
	"log/slog"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Authenticator judges our own access tokens: signature, life, denylist, marks,
// and whether user and client may still act. Its errors are tenant.ErrToken…;
// anything else is a fault.
type Authenticator interface {
	Authenticate(ctx context.Context, t tenant.Tenant, raw string) (tenant.Claims, error)
}

// Vault seals the tenant's secrets and derives its keys (D7).
type Vault interface {
	Seal(ctx context.Context, t tenant.Tenant, purpose, id string, plaintext []byte) (string, error)
	Open(ctx context.Context, t tenant.Tenant, purpose, id, sealed string) ([]byte, error)
	Derive(ctx context.Context, t tenant.Tenant, label string) ([]byte, error)
	NewClientSecret(ctx context.Context, t tenant.Tenant, clientID, secret string) (tenant.ClientSecret, error)
	OpenClientSecret(ctx context.Context, t tenant.Tenant, clientID string, s tenant.ClientSecret) (string, error)
	SealSigningSecret(ctx context.Context, t tenant.Tenant, apiID, secret string) (string, error)
	OpenSigningSecret(ctx context.Context, t tenant.Tenant, r tenant.ResourceServer) (string, error)
}

// Passwords hashes the passwords of database users.
type Passwords interface {
	Hash(ctx context.Context, password string) (string, error)
}

// Hashes names an authorization in the jti of its tokens (D5).
type Hashes interface {
	AuthorizationHash(ctx context.Context, t tenant.Tenant, authorization string) (string, error)
}

// Keyring makes and moves the tenant's signing keys; token.Keyring is one. The
// event given to a method is the frame of its report: the keys complete it.
type Keyring interface {
	// Ensure gives the tenant keys for an algorithm unless it has them.
	Ensure(ctx context.Context, t tenant.Tenant, alg string, e tenant.Event) error
	// Rotate replaces the keys that sign by the next ones and gives the RSA key
	// that is next now; with force it does not wait until verifiers know them.
	Rotate(ctx context.Context, t tenant.Tenant, force bool, e tenant.Event) (tenant.SigningKey, error)
	// Revoke removes a previous key from the key set, with force also while
	// tokens need it. It is tenant.ErrConflict for a key in another state.
	Revoke(ctx context.Context, t tenant.Tenant, kid string, force bool, e tenant.Event) (tenant.SigningKey, error)
}

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Options are what the API is made of; all are required.
type Options struct {
	Store         Store
	Authenticator Authenticator
	Vault         Vault
	Passwords     Passwords
	Hashes        Hashes
	Keyring       Keyring
	// TestTenants is nil where there are none; the operations are then unknown.
	TestTenants TestTenants
	// Thumbprint names a public key (RFC 7638).
	Thumbprint func(crypto.PublicKey) (string, error)
	Clock      Clock
	// Rand is where ids and secrets come from.
	Rand   io.Reader
	Logger *slog.Logger
}

// API is the Management API of every tenant. It is safe for concurrent use.
type API struct {
	store      Store
	auth       Authenticator
	vault      Vault
	passwords  Passwords
	hashes     Hashes
	keyring    Keyring
	thumbprint func(crypto.PublicKey) (string, error)
	clock      Clock
	rand       io.Reader
	log        *slog.Logger

	tests TestTenants
	// wake tells RunJobs that there is a job.
	wake chan struct{}

	table   *table
	openAPI []byte
}

// New is an API over its parts. It panics when a route declares no scope or
// describes nothing: such a server must not start (SEC-185).
func New(o Options) *API {
	a := &API{
		store: o.Store, auth: o.Authenticator, vault: o.Vault, passwords: o.Passwords, hashes: o.Hashes, keyring: o.Keyring,
		thumbprint: o.Thumbprint, clock: o.Clock, rand: o.Rand, log: o.Logger,
		tests: o.TestTenants, wake: make(chan struct{}, 1),
	}
	groups := []group{
		a.clients(),
		a.clientCredentials(),
		a.clientGrants(),
		a.connections(),
		a.deviceCredentials(),
		a.grants(),
		a.jobs(),
		a.keys(),
		a.logs(),
		a.refreshTokens(),
		a.resourceServers(),
		a.sessions(),
		a.tenantSettings(),
		a.users(),
		a.description(),
	}
	if a.tests != nil {
		groups = append(groups, a.testTenants())
	}
	a.table = newTable(groups)
	a.openAPI = openAPI(a.table)
	return a
}
