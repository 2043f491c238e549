package grant

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Store is what the back channel reads and writes. Lookups answer
// tenant.ErrNotFound; conditional writes answer tenant.ErrConflict when a row is
// not as it was judged; anything else is a fault (503).
type Store interface {
	// Tenant reads the tenant again, with its configuration version of now.
	Tenant(ctx context.Context, id string) (tenant.Tenant, error)

	// Client, ResourceServer, ClientGrant and Connection may come from a cache
	// under t.ConfigVersion.
	Client(ctx context.Context, t tenant.Tenant, id string) (tenant.Client, error)
	ResourceServer(ctx context.Context, t tenant.Tenant, audience string) (tenant.ResourceServer, error)
	// ClientGrant is the grant of a client for an audience; subjectType is client or user.
	ClientGrant(ctx context.Context, t tenant.Tenant, clientID, audience, subjectType string) (tenant.ClientGrant, error)
	// Connection finds by name.
	Connection(ctx context.Context, t tenant.Tenant, name string) (tenant.Connection, error)

	User(ctx context.Context, tenantID, userID string) (tenant.User, error)
	// UserForPassword finds a database user by e-mail address or user name
	// (canonical forms) in a connection, with the encoded password hash.
	UserForPassword(ctx context.Context, tenantID, connection, identifier string) (tenant.User, string, error)
	Session(ctx context.Context, tenantID, id string) (tenant.Session, error)
	Consent(ctx context.Context, tenantID, userID, clientID, audience string) (tenant.Consent, error)

	Code(ctx context.Context, tenantID, hash string) (tenant.Code, error)
	// RedeemCode uses the code up and inserts what it proves, in one commit:
	// ErrConflict when it is used up already or the guard does not hold.
	RedeemCode(ctx context.Context, r tenant.Redemption) error
	// SpendCode uses the code up without issuing anything (SEC-51).
	SpendCode(ctx context.Context, tenantID, hash string, at time.Time, e tenant.Event) error

	// CreateDeviceCode inserts a device's request; ErrExists when its user code is
	// in use.
	CreateDeviceCode(ctx context.Context, d tenant.DeviceCode) error
	DeviceCode(ctx context.Context, tenantID, hash string) (tenant.DeviceCode, error)
	// PollDeviceCode notes that the client asked at at; ErrConflict when it has
	// asked after before already.
	PollDeviceCode(ctx context.Context, tenantID, hash string, at, before time.Time) error
	// TellDeviceExpired notes that the client was told that it came too late;
	// ErrConflict when it was told before.
	TellDeviceExpired(ctx context.Context, tenantID, hash string, e tenant.Event) error
	// RedeemDeviceCode is RedeemCode for a device code.
	RedeemDeviceCode(ctx context.Context, r tenant.Redemption) error

	RefreshToken(ctx context.Context, tenantID string, id tenant.FamilyID) (tenant.RefreshToken, error)
	// IssueRefreshToken inserts a family that comes from no code (password grant).
	IssueRefreshToken(ctx context.Context, issue tenant.Issue, g tenant.Guard, e tenant.Event) error
	// RotateRefreshToken writes one successful exchange (all kinds).
	RotateRefreshToken(ctx context.Context, r tenant.Rotation) error
	// RevokeFamily ends a family. Revoking one that is ended already changes
	// nothing and is no error; the event is then not written.
	RevokeFamily(ctx context.Context, r tenant.Revocation) error

	// DenyAuthorization puts the keyed hash of an authorization on the denylist
	// until the last of its tokens has expired (D5).
	DenyAuthorization(ctx context.Context, tenantID, hash string, until time.Time, e tenant.Event) error
	// Denied tells whether the hash is on the denylist at now, and Mark answers
	// the latest "not before" mark of any of the subjects (user, client, API,
	// tenant), zero for none: tokens issued before it are refused.
	Denied(ctx context.Context, tenantID, hash string, now time.Time) (bool, error)
	Mark(ctx context.Context, tenantID string, subjects []tenant.MarkSubject) (time.Time, error)

	// FeedPosition is how far the tenant's notices are numbered, Notices are those
	// beyond a number that count at now, and NoticesChanged is closed when this
	// process has committed one after the call.
	FeedPosition(ctx context.Context, tenantID string) (tenant.FeedPosition, error)
	Notices(ctx context.Context, tenantID string, after int64, now time.Time, limit int) ([]tenant.Notice, error)
	NoticesChanged(tenantID string) <-chan struct{}

	// UseAssertion uses the id of a client assertion up; ErrExists when it was
	// used before (SEC-11).
	UseAssertion(ctx context.Context, tenantID, clientID, hash string, expires time.Time) error

	// Record queues an event that changes nothing for the next commit (D13). It
	// never blocks.
	Record(e tenant.Event)
}
