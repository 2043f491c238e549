package authorize

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Store is what the front channel reads and writes. Lookups answer
// tenant.ErrNotFound; conditional writes answer tenant.ErrConflict when a row is
// not as it was judged; anything else is a fault (503).
type Store interface {
	Tenant(ctx context.Context, id string) (tenant.Tenant, error)
	Client(ctx context.Context, t tenant.Tenant, id string) (tenant.Client, error)
	ResourceServer(ctx context.Context, t tenant.Tenant, audience string) (tenant.ResourceServer, error)
	ClientGrant(ctx context.Context, t tenant.Tenant, clientID, audience, subjectType string) (tenant.ClientGrant, error)
	Connection(ctx context.Context, t tenant.Tenant, name string) (tenant.Connection, error)
	// ConnectionsFor lists the connections enabled for a client, oldest first.
	ConnectionsFor(ctx context.Context, t tenant.Tenant, clientID string) ([]tenant.Connection, error)

	User(ctx context.Context, tenantID, userID string) (tenant.User, error)
	UserForPassword(ctx context.Context, tenantID, connection, identifier string) (tenant.User, string, error)
	// CreateUser inserts a user with an encoded password hash (or ""); ErrExists
	// when the address, the user name or the id is taken in the connection.
	CreateUser(ctx context.Context, u tenant.User, passwordHash string, e tenant.Event) error

	// SessionByHash finds a session by the hash of its cookie's value.
	SessionByHash(ctx context.Context, tenantID, hash string) (tenant.Session, error)
	Session(ctx context.Context, tenantID, id string) (tenant.Session, error)
	CompleteLogin(ctx context.Context, l tenant.Login) error
	EndSession(ctx context.Context, tenantID, id string, e tenant.Event) error

	CreateTransaction(ctx context.Context, tx tenant.Transaction) error
	Transaction(ctx context.Context, tenantID, id string) (tenant.Transaction, error)
	// SaveTransaction writes the transaction at its revision.
	SaveTransaction(ctx context.Context, tx tenant.Transaction) error
	DeleteTransaction(ctx context.Context, tenantID, id string, e tenant.Event) error

	Consent(ctx context.Context, tenantID, userID, clientID, audience string) (tenant.Consent, error)
	// Answer writes a whole authorization answer (code, consent, session use,
	// end of the transaction, event) in one commit.
	Answer(ctx context.Context, g tenant.Grant) error

	// FindUserCode finds the device that waits under a user code: ErrNotFound
	// counts the try, ErrLimited says that there were too many.
	FindUserCode(ctx context.Context, try tenant.CodeTry) (tenant.DeviceCode, error)
	DeviceCode(ctx context.Context, tenantID, hash string) (tenant.DeviceCode, error)
	// DecideDevice writes the user's decision about a device in one commit.
	DecideDevice(ctx context.Context, d tenant.DeviceDecision) error

	// UseTicket uses a one-time link up and creates the administrator, in one
	// commit; ErrNotFound when it is unknown, used or late.
	Ticket(ctx context.Context, tenantID, hash string, now time.Time) (tenant.Ticket, error)
	UseTicket(ctx context.Context, tenantID, hash string, now time.Time, u tenant.User, passwordHash string, e tenant.Event) error

	Record(e tenant.Event)
}
