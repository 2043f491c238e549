package grant

import (
	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// lockstepRun is how many values in a row two devices must have been given before
// it is reported: a client that lost an answer and came back from another network
// does that once, not three times on end.
const lockstepRun = 3

// twin tells whether a repetition that comes from origin gives the live value of f
// to a second device: one with another address or another program than the one
// that got it last. Two parties that each present the predecessor in time, value
// after value, both go on with one family, which nothing else would show: no
// value is ever presented too late.
func twin(f tenant.RefreshToken, origin tenant.Origin) bool {
	return f.Device.LastIP != origin.IP || f.Device.LastUserAgent != origin.UserAgent
}

// watchLockstep notes in the repetition r that it twins the live value, and
// reports a run of lockstepRun of them, once.
func watchLockstep(f tenant.RefreshToken, r *tenant.Rotation, origin tenant.Origin) {
	if r.Kind != tenant.Replay || !twin(f, origin) {
		return
	}
	r.Twin = true
	if f.Twinned || f.TwinRun+1 != lockstepRun {
		return
	}
	w := r.Event
	w.Type, w.Reason, w.Description = audit.LoginWarning, "lockstep", "Two devices go on in step with one refresh token"
	w.Details = map[string]any{
		"familyId": string(f.ID), "latestCounter": f.Generation, "generations": lockstepRun,
		"devices": []any{
			map[string]any{"ip": f.Device.LastIP, "user_agent": f.Device.LastUserAgent},
			map[string]any{"ip": origin.IP, "user_agent": origin.UserAgent},
		},
	}
	r.Warning = w
}
