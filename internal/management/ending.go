package management

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// maxTokenLifetime is the longest life an access token can have been given
// (management-endpoints.md §2). What ends an authorization denies its tokens for
// that long: the API's setting of today may be shorter than that of yesterday.
const maxTokenLifetime = 2592000 * time.Second

// end deletes something with all that hangs on it. Deleting what is not there
// succeeds (management-api.md §3).
func (c *call) end(id, reason string, remove func(context.Context, tenant.Deletion) error) (any, error) {
	d, failed, err := c.deletion(id, reason)
	if err != nil {
		return nil, err
	}
	if err := remove(c.ctx, d); err != nil {
		return nil, deleted(err)
	}
	return nil, failed()
}

// deletion is the end of id. failed tells afterwards whether a family could not
// be named for the denylist.
func (c *call) deletion(id, reason string) (d tenant.Deletion, failed func() error, err error) {
	hash, failed, err := c.familyHash(c.ctx, c.t)
	if err != nil {
		return d, nil, err
	}
	now := c.clock.Now()
	return tenant.Deletion{
		TenantID: c.t.ID, ID: id, At: now, Reason: reason, DeniedUntil: now.Add(maxTokenLifetime),
		FamilyHash: hash, Event: c.written(nil),
	}, failed, nil
}

// familyHash names families for the denylist. The key is fetched here, before
// anything is written, so that the store's calls only compute.
func (a *API) familyHash(ctx context.Context, t tenant.Tenant) (hash func(tenant.FamilyID) string, failed func() error, err error) {
	if _, err := a.hashes.AuthorizationHash(ctx, t, "warm"); err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var problem error
	hash = func(id tenant.FamilyID) string {
		h, err := a.hashes.AuthorizationHash(ctx, t, string(id))
		if err != nil {
			mu.Lock()
			problem = errors.Join(problem, err)
			mu.Unlock()
		}
		return h
	}
	return hash, func() error { mu.Lock(); defer mu.Unlock(); return problem }, nil
}
