package tenant

import "time"

// Job is work that goes on after the answer to the request that asked for it: the
// end of all refresh tokens that match Filter. Each batch and the job's progress
// are one commit, so a job that was interrupted goes on where it was.
type Job struct {
	TenantID string
	// ID is job_ and 16 letters and digits.
	ID string
	// Type is refresh_tokens_revoke.
	Type   string
	Filter RefreshTokenFilter
	// Reason is why the families end; Event is written for each of them.
	Reason string
	Event  Event
	// Total is how many matched at the beginning, Done how many have ended.
	Total, Done int
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// FinishedAt is zero while there is something left to do.
	FinishedAt time.Time
}
