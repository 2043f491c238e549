package management

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// TestTenants makes, moves and drops tenants for tests (D2). Drop and Advance
// answer tenant.ErrNotFound for a tenant that is none.
type TestTenants interface {
	Create(ctx context.Context) (TestTenant, error)
	// Advance moves the tenant's clock forward and returns its time.
	Advance(ctx context.Context, t tenant.Tenant, d time.Duration) (time.Time, error)
	// Drop ends the tenant's server and deletes everything it has.
	Drop(ctx context.Context, id string) error
}

// TestTenant is one that was made, with a client of its own that has every scope.
type TestTenant struct {
	Tenant                 tenant.Tenant
	ClientID, ClientSecret string
	Now                    time.Time
}

// ErrTooManyTestTenants is Create's answer when there are as many as there may be.
var ErrTooManyTestTenants = errors.New("too many test tenants")

var errNotTest = forbidden("operation_not_supported", "Only a test tenant has a clock that can be moved.")

// maxAdvance is ten years: longer than any lifetime there is.
const maxAdvance = 10 * 366 * 24 * 60 * 60

// testTenants are there only where the server was told to have test tenants. The
// scope is that of the tenant's settings: who has it may do anything to a tenant.
func (a *API) testTenants() group {
	made := &resource{name: "TestTenant", doc: "A tenant with a port and a clock of its own.", fields: []field{
		f("id", str(), "Names the tenant").readOnly(),
		f("domain", str(), "Host and port it is served at").readOnly(),
		f("issuer", str(), "The issuer of its tokens").readOnly(),
		f("audience", str(), "Audience of its Management API").readOnly(),
		f("client_id", str(), "A machine client with every scope there").readOnly(),
		f("client_secret", str(), "The client's secret, shown once").readOnly().concealed(),
		f("now", str().as("date-time"), "What its clock says").readOnly(),
	}}
	scopes := []string{"update:tenant_settings"}
	return group{tag: "test", operations: []operation{
		{
			method: http.MethodPost, path: "/test/tenants", title: "Create a test tenant",
			doc:    "Makes a tenant at localhost with a port of its own. It is served until it is dropped, also after a restart.",
			scopes: scopes, body: accepts("TestTenantCreate", closed()), status: http.StatusCreated, answer: one(made),
			serve: (*call).createTestTenant,
		},
		{
			method: http.MethodDelete, path: "/test/tenants/{id}", title: "Delete a test tenant",
			doc:    "Drops the tenant with everything it has. Deleting what is not there succeeds; no other tenant can be dropped so.",
			scopes: scopes, params: []field{f("id", str().chars(1, 64), "The tenant's id")}, status: http.StatusNoContent,
			serve: func(c *call) (any, error) {
				if c.t.Test {
					return nil, forbidden("operation_not_supported", "A test tenant does not drop tenants.")
				}
				if err := c.tests.Drop(c.ctx, c.path["id"]); err != nil {
					return nil, deleted(err)
				}
				c.store.Record(c.written(nil))
				return nil, nil
			},
		},
		{
			method: http.MethodPost, path: "/test/clock", title: "Advance the clock of a test tenant",
			doc:    "Moves the clock of the tenant that is asked forward, at once and for good. Other tenants have no such clock.",
			scopes: scopes,
			body:   accepts("TestClock", closed(f("advance_seconds", integer().between(0, maxAdvance), "How far, in seconds; never back").must())),
			status: http.StatusOK, answer: answer{resource: &resource{name: "TestTime", fields: []field{f("now", str().as("date-time"), "What the clock says").readOnly()}}},
			serve: func(c *call) (any, error) {
				now, err := c.tests.Advance(c.ctx, c.t, time.Duration(c.body.number("advance_seconds"))*time.Second)
				if err != nil {
					return nil, meaning(err, errNotTest, nil)
				}
				return obj("now", now), nil
			},
		},
	}}
}

func (c *call) createTestTenant() (any, error) {
	if c.t.Test {
		return nil, forbidden("operation_not_supported", "A test tenant does not make tenants.")
	}
	x, err := c.tests.Create(c.ctx)
	if errors.Is(err, ErrTooManyTestTenants) {
		return nil, forbidden("too_many_entities", "You reached the limit of test tenants: drop those that are not needed.")
	}
	if err != nil {
		return nil, err
	}
	view := obj("id", x.Tenant.ID, "domain", x.Tenant.Domain, "issuer", x.Tenant.Issuer(), "audience", x.Tenant.ManagementAudience(),
		"client_id", x.ClientID, "client_secret", x.ClientSecret, "now", x.Now)
	c.store.Record(c.written(view))
	return view, nil
}
