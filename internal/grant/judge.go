package grant

import (
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// verdict is what the bearer of a refresh-token value may have.
type verdict int

const (
	// refuse: nothing, and the family stays as it is.
	refuse verdict = iota
	// rotate: tokens and the next value.
	rotate
	// migrate: as rotate; the client has moved to rotation, so the reusable
	// values beside this one go (SEC-111).
	migrate
	// stay: tokens and a last value that can then be used again.
	stay
	// keep: tokens; the value can be used again.
	keep
	// replay: tokens and the live value, once more (SEC-116).
	replay
	// breach: nothing, and the family ends (SEC-120).
	breach
	// busy: nothing now; no reuse either.
	busy
)

func (v verdict) String() string {
	return [...]string{"refuse", "rotate", "migrate", "stay", "keep", "replay", "breach", "busy"}[v]
}

// maxRepeats is how often a value is answered again inside the leeway (SEC-116).
const maxRepeats = 100

// judge decides what the bearer of value p of family f may have at now, and says
// why when that is nothing (D14). attempt is the hash of the nonce that the
// client sent with it, or empty. It reads neither clock nor store, so every
// boundary below is a row in a table. That p is genuine and comes from the right
// client is settled before.
func judge(f tenant.RefreshToken, p token.Presented, attempt string, policy tenant.RefreshPolicy, now time.Time) (verdict, string) {
	switch {
	case !f.RevokedAt.IsZero():
		return refuse, f.RevokedReason
	case !f.ExpiresAt.IsZero() && !now.Before(f.ExpiresAt):
		return refuse, "absolute"
	case !f.IdleExpiresAt.IsZero() && !now.Before(f.IdleExpiresAt):
		return refuse, "idle"
	case p.Generation > f.Generation:
		return refuse, "from_before_restore" // D4: only a restored backup forgets what it made
	case p.Generation == f.Generation && p.KeyVersion != f.KeyVersion:
		return refuse, "from_before_restore"
	case p.Generation == f.Generation && (f.Rotating || policy.Rotating()) && attempt != "" && (attempt == f.Attempt || attempt == f.PreviousAttempt):
		// A nonce names one rotation. With the same one for the next, whoever
		// repeats a rotation could go on in step with whoever made it.
		return refuse, reasonAttemptReused
	case p.Generation == f.Generation && f.Rotating && policy.Rotating():
		return rotate, ""
	case p.Generation == f.Generation && policy.Rotating():
		return migrate, ""
	case p.Generation == f.Generation && f.Rotating:
		return stay, ""
	case p.Generation == f.Generation:
		return keep, ""
	case p.Generation+1 == f.Generation && !f.Used:
		return judgeRepeat(f, attempt, policy, now)
	}
	return breach, "reused"
}

// judgeRepeat decides about the direct predecessor of a live value that nobody
// has used. It is repeated inside the leeway (SEC-116); and at any time, with
// leeway 0 too, by whoever knows the nonce of the rotation that made the live
// value: that is the party which made it (D4).
func judgeRepeat(f tenant.RefreshToken, attempt string, policy tenant.RefreshPolicy, now time.Time) (verdict, string) {
	same := attempt != "" && attempt == f.Attempt
	// Leeway > 0: the loser of a race may have arrived before RotatedAt (SEC-115).
	inside := policy.Leeway() > 0 && now.Before(f.RotatedAt.Add(policy.Leeway()))
	switch {
	case !same && !inside:
		return breach, "reused"
	case !same && attempt != "" && attempt == f.PreviousAttempt:
		return refuse, reasonAttemptReused
	case f.Repeats >= maxRepeats:
		return busy, "repeats"
	}
	return replay, ""
}
