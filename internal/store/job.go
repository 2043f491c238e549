package store

import (
	"context"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const jobColumns = `tenant_id, id, type, filter, event, reason, total, done, created_at, updated_at, finished_at`

// jobsKept is how long a job that has finished can be asked about.
const jobsKept = 30 * 24 * time.Hour

func scanJob(row scanner) (tenant.Job, error) {
	var j tenant.Job
	err := row.Scan(&j.TenantID, &j.ID, &j.Type, jsonOf{&j.Filter}, jsonOf{&j.Event}, &j.Reason, &j.Total, &j.Done,
		instant{&j.CreatedAt}, instant{&j.UpdatedAt}, instant{&j.FinishedAt})
	return j, err
}

// Job finds a job.
func (s *Store) Job(ctx context.Context, tenantID, id string) (tenant.Job, error) {
	return jobByID(ctx, s.read, tenantID, id)
}

func jobByID(ctx context.Context, run runner, tenantID, id string) (tenant.Job, error) {
	rows, err := run.query(ctx, `SELECT `+jobColumns+` FROM jobs WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, scanJob)
}

// CreateJob inserts a job and counts what it has to do. Jobs that finished long
// ago leave with it. A filter that names nothing is refused: it would be all.
func (s *Store) CreateJob(ctx context.Context, j tenant.Job, e tenant.Event) (tenant.Job, error) {
	f := j.Filter
	if f.UserID == "" && f.ClientID == "" && f.Audience == "" && f.SessionID == "" && len(f.IDs) == 0 {
		return j, tenant.ErrQuery
	}
	return written(ctx, s, j.TenantID, "", func(tx *Tx, out *tenant.Job) error {
		*out = j
		f := f
		f.Now = j.CreatedAt
		found, err := list(tx.ctx, tx.run, familyListing(), s.familyWhere(j.TenantID, f), tenant.Page{Total: true, Empty: true})
		if err != nil {
			return err
		}
		out.Total, out.UpdatedAt = found.Total, j.CreatedAt
		if _, err := tx.exec(`DELETE FROM jobs WHERE tenant_id = $1 AND finished_at < $2`,
			j.TenantID, j.CreatedAt.Add(-jobsKept).UnixMilli()); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO jobs (`+jobColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			j.TenantID, j.ID, j.Type, jsonText(f), jsonText(j.Event), j.Reason, out.Total, j.Done,
			millis(j.CreatedAt), millis(out.UpdatedAt), millis(j.FinishedAt)); err != nil {
			return err
		}
		tx.appendEvent(e)
		return nil
	})
}

// OpenJobs lists the jobs that have something left to do and that nobody has
// moved on since before.
func (s *Store) OpenJobs(ctx context.Context, tenantID string, before time.Time) ([]tenant.Job, error) {
	rows, err := s.read.query(ctx, `
		SELECT `+jobColumns+` FROM jobs WHERE tenant_id = $1 AND finished_at IS NULL AND updated_at <= $2 ORDER BY updated_at, id`,
		tenantID, before.UnixMilli())
	return all(rows, err, scanJob)
}

// AdvanceJob ends at most limit of the families a job is for, and writes how far
// it has come, in one commit; d says when and for how long access tokens are
// denied. A job that has finished stays as it is.
func (s *Store) AdvanceJob(ctx context.Context, d tenant.Deletion, limit int) (tenant.Job, error) {
	return written(ctx, s, d.TenantID, "job "+d.ID, func(tx *Tx, out *tenant.Job) error {
		j, err := jobByID(tx.ctx, tx.run, d.TenantID, d.ID)
		if err != nil {
			return err
		}
		*out = j
		if !j.FinishedAt.IsZero() {
			return nil
		}
		j.Filter.Now, d.Reason, d.Event = d.At, j.Reason, j.Event
		d.Event.At = d.At
		n, err := tx.revokeFamilies(s.familyWhere(d.TenantID, j.Filter), d, limit)
		if err != nil {
			return err
		}
		j.Done, j.UpdatedAt = j.Done+n, d.At
		j.Total = max(j.Total, j.Done)
		if n < max(limit, 1) {
			j.FinishedAt = d.At
		}
		*out = j
		return tx.must(`
			UPDATE jobs SET total = $3, done = $4, updated_at = $5, finished_at = $6 WHERE tenant_id = $1 AND id = $2`,
			j.TenantID, j.ID, j.Total, j.Done, millis(j.UpdatedAt), millis(j.FinishedAt))
	})
}
