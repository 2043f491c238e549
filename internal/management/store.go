package management

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Store is what the Management API reads and writes. Lookups answer
// tenant.ErrNotFound, creations tenant.ErrExists, conditional writes
// tenant.ErrConflict; anything else is a fault (503). Every write of
// configuration raises the tenant's configuration version in the same commit,
// and every write takes its event (SEC-194).
//
// The Update… methods read the row inside their transaction, hand it to change
// and write what change returns; an error of change is passed through and
// nothing is written. change may run more than once and must be pure.
type Store interface {
	Tenant(ctx context.Context, id string) (tenant.Tenant, error)
	Tenants(ctx context.Context) ([]tenant.Tenant, error)
	UpdateSettings(ctx context.Context, tenantID string, change func(tenant.Settings) (tenant.Settings, error), e tenant.Event) (tenant.Settings, error)

	Client(ctx context.Context, t tenant.Tenant, id string) (tenant.Client, error)
	Clients(ctx context.Context, tenantID string, f tenant.ClientFilter, p tenant.Page) (tenant.List[tenant.Client], error)
	CreateClient(ctx context.Context, c tenant.Client, e tenant.Event) error
	// UpdateClient writes document, secrets and keys.
	UpdateClient(ctx context.Context, tenantID, id string, change func(tenant.Client) (tenant.Client, error), e tenant.Event) (tenant.Client, error)
	// DeleteClient deletes a client and all that is its own (management-api.md
	// §14): client grants, consents, families, codes, its place in connections.
	DeleteClient(ctx context.Context, d tenant.Deletion) error

	ResourceServer(ctx context.Context, t tenant.Tenant, audience string) (tenant.ResourceServer, error)
	ResourceServerByID(ctx context.Context, tenantID, id string) (tenant.ResourceServer, error)
	ResourceServers(ctx context.Context, tenantID string, identifiers []string, p tenant.Page) (tenant.List[tenant.ResourceServer], error)
	CreateResourceServer(ctx context.Context, r tenant.ResourceServer, e tenant.Event) error
	UpdateResourceServer(ctx context.Context, tenantID, id string, change func(tenant.ResourceServer) (tenant.ResourceServer, error), e tenant.Event) (tenant.ResourceServer, error)
	DeleteResourceServer(ctx context.Context, d tenant.Deletion) error

	ClientGrantByID(ctx context.Context, tenantID, id string) (tenant.ClientGrant, error)
	ClientGrants(ctx context.Context, tenantID string, f tenant.ClientGrantFilter, p tenant.Page) (tenant.List[tenant.ClientGrant], error)
	CreateClientGrant(ctx context.Context, g tenant.ClientGrant, e tenant.Event) error
	// UpdateClientGrant raises the epoch when scopes were taken away.
	UpdateClientGrant(ctx context.Context, tenantID, id string, change func(tenant.ClientGrant) (tenant.ClientGrant, error), e tenant.Event) (tenant.ClientGrant, error)
	DeleteClientGrant(ctx context.Context, d tenant.Deletion) error

	Connection(ctx context.Context, t tenant.Tenant, name string) (tenant.Connection, error)
	ConnectionByID(ctx context.Context, tenantID, id string) (tenant.Connection, error)
	Connections(ctx context.Context, tenantID string, f tenant.ConnectionFilter, p tenant.Page) (tenant.List[tenant.Connection], error)
	CreateConnection(ctx context.Context, c tenant.Connection, e tenant.Event) error
	UpdateConnection(ctx context.Context, tenantID, id string, change func(tenant.Connection) (tenant.Connection, error), e tenant.Event) (tenant.Connection, error)
	DeleteConnection(ctx context.Context, d tenant.Deletion) error

	User(ctx context.Context, tenantID, userID string) (tenant.User, error)
	Users(ctx context.Context, tenantID string, q tenant.UserQuery, p tenant.Page) (tenant.List[tenant.User], error)
	UsersByEmail(ctx context.Context, tenantID, email string) ([]tenant.User, error)
	CreateUser(ctx context.Context, u tenant.User, passwordHash string, e tenant.Event) error
	// UpdateUser writes the user and raises its version; a non-empty
	// passwordHash replaces the stored one and ends the user's sessions; so does
	// a change of address, user name or phone.
	UpdateUser(ctx context.Context, tenantID, id string, change func(tenant.User) (tenant.User, error), passwordHash string, e tenant.Event) (tenant.User, error)
	DeleteUser(ctx context.Context, d tenant.Deletion) error

	RefreshToken(ctx context.Context, tenantID string, id tenant.FamilyID) (tenant.RefreshToken, error)
	RefreshTokens(ctx context.Context, tenantID string, f tenant.RefreshTokenFilter, p tenant.Page) (tenant.List[tenant.RefreshToken], error)
	// SetRefreshTokenMetadata replaces the metadata of a live family.
	SetRefreshTokenMetadata(ctx context.Context, tenantID string, id tenant.FamilyID, metadata map[string]string, e tenant.Event) (tenant.RefreshToken, error)
	RevokeFamily(ctx context.Context, r tenant.Revocation) error
	// RevokeFamilies ends at most limit live families that match and tells how
	// many it ended; callers go on until it says 0.
	RevokeFamilies(ctx context.Context, f tenant.RefreshTokenFilter, d tenant.Deletion, limit int) (int, error)

	Job(ctx context.Context, tenantID, id string) (tenant.Job, error)
	// CreateJob keeps a job and counts what it has to do; OpenJobs are those that
	// nobody has moved on since before.
	CreateJob(ctx context.Context, j tenant.Job, e tenant.Event) (tenant.Job, error)
	OpenJobs(ctx context.Context, tenantID string, before time.Time) ([]tenant.Job, error)
	// AdvanceJob ends at most limit of the families that the job of d.ID is for and
	// writes its progress, in one commit.
	AdvanceJob(ctx context.Context, d tenant.Deletion, limit int) (tenant.Job, error)

	Session(ctx context.Context, tenantID, id string) (tenant.Session, error)
	Sessions(ctx context.Context, tenantID string, f tenant.SessionFilter, p tenant.Page) (tenant.List[tenant.Session], error)
	// SetSessionMetadata replaces the metadata of a session that has not ended.
	SetSessionMetadata(ctx context.Context, tenantID, id string, metadata map[string]string, e tenant.Event) (tenant.Session, error)
	// EndSessions ends some of what matches and tells how many; callers go on
	// until it says less than the limit.
	EndSessions(ctx context.Context, d tenant.SessionEnd) (int, error)
	// RefuseIssued marks a subject: access tokens given until at are refused.
	RefuseIssued(ctx context.Context, tenantID string, subject tenant.MarkSubject, at, until time.Time, e tenant.Event) error

	Consents(ctx context.Context, tenantID string, f tenant.ConsentFilter, p tenant.Page) (tenant.List[tenant.Consent], error)
	// DeleteConsents deletes the consents that match (by id, or all of a user)
	// and ends the families issued under them.
	DeleteConsents(ctx context.Context, tenantID string, f tenant.ConsentFilter, d tenant.Deletion) error

	SigningKeys(ctx context.Context, tenantID string) ([]tenant.SigningKey, error)

	Events(ctx context.Context, tenantID string, q tenant.EventQuery, p tenant.Page) (tenant.List[tenant.Event], error)
	Event(ctx context.Context, tenantID, id string) (tenant.Event, error)

	Mark(ctx context.Context, tenantID string, subjects []tenant.MarkSubject) (time.Time, error)
	Record(e tenant.Event)
}
