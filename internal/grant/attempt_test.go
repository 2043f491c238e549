package grant

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

// D4, SEC-116: what a nonce of the client changes in what a value may have.
func TestJudgeAttempt(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	year := noon.Add(365 * 24 * time.Hour)
	family := tenant.RefreshToken{
		Rotating: true, Generation: 7, KeyVersion: 2, RotatedAt: noon, Attempt: "seven", PreviousAttempt: "six",
	}
	strict := tenant.RefreshPolicy{RotationType: "rotating"}
	lenient := tenant.RefreshPolicy{RotationType: "rotating", LeewaySeconds: 10}
	reusable := tenant.RefreshPolicy{RotationType: "non-rotating"}
	with := func(change func(*tenant.RefreshToken)) tenant.RefreshToken {
		f := family
		change(&f)
		return f
	}
	used := with(func(f *tenant.RefreshToken) { f.Used = true })
	staying := with(func(f *tenant.RefreshToken) { f.Rotating = false })
	tests := map[string]struct {
		family     tenant.RefreshToken
		generation uint32
		attempt    string
		policy     tenant.RefreshPolicy
		now        time.Time
		want       verdict
		reason     string
	}{
		"live value, fresh nonce":                {family, 7, "eight", strict, noon, rotate, ""},
		"live value, no nonce":                   {family, 7, "", strict, noon, rotate, ""},
		"live value, nonce of its own rotation":  {family, 7, "seven", strict, noon, refuse, "attempt_reused"},
		"live value, nonce of the one before":    {family, 7, "six", strict, noon, refuse, "attempt_reused"},
		"live value that moves to reuse":         {family, 7, "seven", reusable, noon, refuse, "attempt_reused"},
		"live value that moves to rotation":      {staying, 7, "seven", strict, noon, refuse, "attempt_reused"},
		"reusable value: nothing is rotated":     {staying, 7, "seven", reusable, noon, keep, ""},
		"first value of a family":                {tenant.RefreshToken{Rotating: true}, 0, "one", strict, noon, rotate, ""},
		"repeated at once, leeway 0":             {family, 6, "seven", strict, noon, replay, ""},
		"repeated a year later, leeway 0":        {family, 6, "seven", strict, year, replay, ""},
		"repeated beyond the leeway":             {family, 6, "seven", lenient, year, replay, ""},
		"repeated, older key":                    {with(func(f *tenant.RefreshToken) { f.KeyVersion = 3 }), 6, "seven", strict, year, replay, ""},
		"repeated after the move to reuse":       {staying, 6, "seven", reusable, year, replay, ""},
		"repeated, successor used":               {used, 6, "seven", strict, noon, breach, "reused"},
		"repeated, successor used, in leeway":    {used, 6, "seven", lenient, noon, breach, "reused"},
		"repeated 100 times":                     {with(func(f *tenant.RefreshToken) { f.Repeats = 100 }), 6, "seven", strict, year, busy, "repeats"},
		"grandparent":                            {family, 5, "seven", strict, noon, breach, "reused"},
		"grandparent, its own nonce":             {family, 5, "six", strict, noon, breach, "reused"},
		"another nonce":                          {family, 6, "other", strict, noon, breach, "reused"},
		"no nonce":                               {family, 6, "", strict, noon, breach, "reused"},
		"no nonce and none kept":                 {with(func(f *tenant.RefreshToken) { f.Attempt = "" }), 6, "", strict, noon, breach, "reused"},
		"another nonce, in leeway":               {family, 6, "other", lenient, noon, replay, ""},
		"nonce of the rotation before, leeway":   {family, 6, "six", lenient, noon, refuse, "attempt_reused"},
		"nonce of the rotation before, leeway 0": {family, 6, "six", strict, noon, breach, "reused"},
		"expired: no nonce helps": {
			with(func(f *tenant.RefreshToken) { f.IdleExpiresAt = year }), 6, "seven", strict, year, refuse, "idle"},
		"revoked: no nonce helps": {
			with(func(f *tenant.RefreshToken) { f.RevokedAt, f.RevokedReason = noon, "reused" }), 6, "seven", strict, noon, refuse, "reused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := token.Presented{Generation: tt.generation, KeyVersion: tt.family.KeyVersion}
			got, reason := judge(tt.family, p, tt.attempt, tt.policy, tt.now)
			if got != tt.want || reason != tt.reason {
				t.Errorf("judge = %v, %q; want %v, %q", got, reason, tt.want, tt.reason)
			}
		})
	}
}

// D4: when a write of unknown outcome is taken for done.
func TestHappened(t *testing.T) {
	r := tenant.Rotation{Generation: 4, Attempt: "mine", NewKeyVersion: 2}
	tests := map[string]struct {
		family tenant.RefreshToken
		want   bool
	}{
		"not made":                         {tenant.RefreshToken{Generation: 4, KeyVersion: 2}, false},
		"made":                             {tenant.RefreshToken{Generation: 5, KeyVersion: 2, Attempt: "mine"}, true},
		"made by a stranger":               {tenant.RefreshToken{Generation: 5, KeyVersion: 2, Attempt: "other"}, false},
		"made under another key":           {tenant.RefreshToken{Generation: 5, KeyVersion: 3, Attempt: "mine"}, false},
		"made, and the successor used":     {tenant.RefreshToken{Generation: 6, KeyVersion: 3, PreviousAttempt: "mine"}, true},
		"a later rotation of the same one": {tenant.RefreshToken{Generation: 7, KeyVersion: 2, Attempt: "mine"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := happened(tt.family, r); got != tt.want {
				t.Errorf("happened = %v, want %v", got, tt.want)
			}
		})
	}
}
