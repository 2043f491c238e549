package management

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// jobBatch is how many families one commit of a job ends: few enough that no
	// other write waits long for it.
	jobBatch = 200
	// jobLease is after how long without progress somebody else goes on with a job.
	jobLease = time.Minute
	// jobPoll is how often this node looks for jobs that another one left.
	jobPoll = time.Minute

	revokeJob = "refresh_tokens_revoke"
)

var errNoJob = notFound("", "Job not found.")

func jobResource() *resource {
	return &resource{
		name: "Job",
		doc:  "Work that goes on after the answer. It survives a restart, and doing it twice does nothing twice.",
		fields: []field{
			f("id", str(), "Names the job").readOnly(),
			f("type", str(), "What is done: refresh_tokens_revoke").readOnly(),
			f("status", str(), "pending, processing or completed").readOnly(),
			f("created_at", str().as("date-time"), "When it was asked for; what was issued later is left alone").readOnly(),
			f("percentage_done", integer(), "How far it has come").readOnly(),
			f("summary", free(), "total: how many matched; revoked: how many have ended").readOnly(),
		},
	}
}

// jobs show how far work has come (management-endpoints.md §17). The vendor's
// scopes are those of users; ours are added for who may see refresh tokens.
func (a *API) jobs() group {
	job := jobResource()
	return group{tag: "jobs", operations: []operation{{
		method: http.MethodGet, path: "/jobs/{id}", title: "Read a job",
		scopes: []string{"create:users", "read:users", "read:refresh_tokens", "delete:refresh_tokens"},
		params: []field{f("id", str().chars(1, 64), "The job's id")}, status: http.StatusOK, answer: one(job),
		serve: func(c *call) (any, error) {
			j, err := c.store.Job(c.ctx, c.t.ID, c.path["id"])
			if err != nil {
				return nil, meaning(err, errNoJob, nil)
			}
			return jobView(j), nil
		},
	}}}
}

func jobView(j tenant.Job) *object {
	status, percent := "pending", 0
	switch {
	case !j.FinishedAt.IsZero():
		status, percent = "completed", 100
	case j.Done > 0:
		status, percent = "processing", 100*j.Done/max(j.Total, 1)
	}
	return obj("id", j.ID, "type", j.Type, "status", status, "created_at", j.CreatedAt, "percentage_done", percent,
		"summary", obj("total", j.Total, "revoked", j.Done))
}

// startRevocation keeps the job and does its first batch, so that what fits into
// one is done when answered. The rest is RunJobs' work.
func (c *call) startRevocation(filter tenant.RefreshTokenFilter) (*object, error) {
	id, err := alnum(c.rand, 16)
	if err != nil {
		return nil, err
	}
	now := c.clock.Now()
	filter.IssuedUntil = now
	j, err := c.store.CreateJob(c.ctx, tenant.Job{
		TenantID: c.t.ID, ID: "job_" + id, Type: revokeJob, Filter: filter,
		Reason: reasonByAdmin, Event: c.familyEnded(reasonByAdmin), CreatedAt: now,
	}, c.written(nil))
	if err != nil {
		return nil, err
	}
	if j, err = c.advance(c.ctx, c.t, j.ID); err != nil {
		return nil, err
	}
	if j.FinishedAt.IsZero() {
		select {
		case c.wake <- struct{}{}:
		default: // somebody has been woken already and looks at every job
		}
	}
	return jobView(j), nil
}

// advance does one batch of a job.
func (a *API) advance(ctx context.Context, t tenant.Tenant, id string) (tenant.Job, error) {
	hash, failed, err := a.familyHash(ctx, t)
	if err != nil {
		return tenant.Job{}, err
	}
	now := a.clock.Now()
	j, err := a.store.AdvanceJob(ctx, tenant.Deletion{
		TenantID: t.ID, ID: id, At: now, DeniedUntil: now.Add(maxTokenLifetime), FamilyHash: hash,
	}, jobBatch)
	return j, errors.Join(err, failed())
}

// RunJobs finishes jobs until ctx is done: those of this process as they come,
// and those that a crash or another node left behind.
func (a *API) RunJobs(ctx context.Context) {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	lease := jobLease
	if err := a.FinishJobs(ctx, jobLease); err != nil && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "jobs could not be finished; they are tried again", "error", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			lease = 0
		case <-tick.C:
			lease = jobLease
		}
		if err := a.FinishJobs(ctx, lease); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "jobs could not be finished; they are tried again", "error", err)
		}
	}
}

// FinishJobs does all that is left of the jobs of every tenant that nobody has
// moved on for idle.
func (a *API) FinishJobs(ctx context.Context, idle time.Duration) error {
	tenants, err := a.store.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		open, err := a.store.OpenJobs(ctx, t.ID, a.clock.Now().Add(-idle))
		if err != nil {
			return err
		}
		for _, j := range open {
			for j.FinishedAt.IsZero() {
				if j, err = a.advance(ctx, t, j.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
