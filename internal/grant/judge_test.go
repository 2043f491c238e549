package grant

import (
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
	"github.com/bulla-auth/bulla/internal/token"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// policy of a client: rotating or not, with a leeway in seconds.
func policy(rotating bool, leeway int64) tenant.RefreshPolicy {
	p := tenant.RefreshPolicy{RotationType: "non-rotating", LeewaySeconds: leeway}
	if rotating {
		p.RotationType = "rotating"
	}
	return p
}

// SEC-115, SEC-116, SEC-120 and the boundaries of REL-28: what each presentation
// of a family may have.
func TestJudge(t *testing.T) {
	rotating := func(f tenant.RefreshToken) tenant.RefreshToken { f.Rotating = true; return f }
	rotated := rotating(tenant.RefreshToken{Generation: 7, RotatedAt: noon, KeyVersion: 2})
	with := func(f tenant.RefreshToken, change func(*tenant.RefreshToken)) tenant.RefreshToken {
		change(&f)
		return f
	}
	at := func(generation uint32, keyVersion uint16) token.Presented {
		return token.Presented{Generation: generation, KeyVersion: keyVersion}
	}
	second := noon.Add(time.Second)
	tests := map[string]struct {
		family    tenant.RefreshToken
		presented token.Presented
		policy    tenant.RefreshPolicy
		now       time.Time
		want      verdict
		reason    string
	}{
		"live, rotating":            {rotated, at(7, 2), policy(true, 0), noon, rotate, ""},
		"live, reusable":            {tenant.RefreshToken{}, at(0, 0), policy(false, 0), noon, keep, ""},
		"live, used, reusable":      {tenant.RefreshToken{Used: true}, at(0, 0), policy(false, 0), noon, keep, ""},
		"client moved to rotation":  {tenant.RefreshToken{}, at(0, 0), policy(true, 0), noon, migrate, ""},
		"client moved to reuse":     {rotated, at(7, 2), policy(false, 0), noon, stay, ""},
		"on the absolute deadline":  {tenant.RefreshToken{ExpiresAt: noon}, at(0, 0), policy(false, 0), noon, refuse, "absolute"},
		"last nanosecond, absolute": {tenant.RefreshToken{ExpiresAt: noon.Add(1)}, at(0, 0), policy(false, 0), noon, keep, ""},
		"on the idle deadline":      {tenant.RefreshToken{IdleExpiresAt: noon}, at(0, 0), policy(false, 0), noon, refuse, "idle"},
		"last nanosecond, idle":     {tenant.RefreshToken{IdleExpiresAt: noon.Add(1)}, at(0, 0), policy(false, 0), noon, keep, ""},
		"both deadlines":            {tenant.RefreshToken{IdleExpiresAt: noon, ExpiresAt: noon}, at(0, 0), policy(false, 0), noon, refuse, "absolute"},
		"revoked":                   {tenant.RefreshToken{RevokedAt: noon, RevokedReason: "revoked_by_admin"}, at(0, 0), policy(false, 0), noon, refuse, "revoked_by_admin"},
		"revoked, old value":        {with(rotated, func(f *tenant.RefreshToken) { f.RevokedAt, f.RevokedReason = noon, "reused" }), at(1, 2), policy(true, 9), noon, refuse, "reused"},
		"expired, old value":        {with(rotated, func(f *tenant.RefreshToken) { f.ExpiresAt = noon }), at(1, 2), policy(true, 9), noon, refuse, "absolute"},

		"predecessor, no leeway":        {rotated, at(6, 2), policy(true, 0), noon, breach, "reused"},
		"lost the race, no leeway":      {rotated, at(6, 2), policy(true, 0), noon.Add(-1), breach, "reused"},
		"predecessor, in leeway":        {rotated, at(6, 2), policy(true, 1), noon, replay, ""},
		"lost the race, in leeway":      {rotated, at(6, 2), policy(true, 1), noon.Add(-time.Hour), replay, ""},
		"last nanosecond of the leeway": {rotated, at(6, 2), policy(true, 1), second.Add(-1), replay, ""},
		"on the end of the leeway":      {rotated, at(6, 2), policy(true, 1), second, breach, "reused"},
		"predecessor, older key":        {rotated, at(6, 1), policy(true, 1), noon, replay, ""},
		"successor was used":            {with(rotated, func(f *tenant.RefreshToken) { f.Used = true }), at(6, 2), policy(true, 1), noon, breach, "reused"},
		"before the move to reuse":      {tenant.RefreshToken{Generation: 7, RotatedAt: noon, Used: true}, at(6, 0), policy(false, 1), noon, breach, "reused"},
		"the move itself, lost answer":  {tenant.RefreshToken{Generation: 7, RotatedAt: noon}, at(6, 0), policy(false, 1), noon, replay, ""},
		"grandparent, in leeway":        {rotated, at(5, 2), policy(true, 1), noon, breach, "reused"},
		"first value, in leeway":        {rotated, at(0, 2), policy(true, 1), noon, breach, "reused"},
		"last repeat":                   {with(rotated, func(f *tenant.RefreshToken) { f.Repeats = 99 }), at(6, 2), policy(true, 1), noon, replay, ""},
		"one repeat too many":           {with(rotated, func(f *tenant.RefreshToken) { f.Repeats = 100 }), at(6, 2), policy(true, 1), noon, busy, "repeats"},
		"repeats do not save reuse":     {with(rotated, func(f *tenant.RefreshToken) { f.Repeats = 100 }), at(6, 2), policy(true, 1), second, breach, "reused"},

		"from before a restore":          {rotated, at(8, 2), policy(true, 0), noon, refuse, "from_before_restore"},
		"far above":                      {rotated, at(1<<32-1, 2), policy(true, 9), noon, refuse, "from_before_restore"},
		"highest value of a new family":  {rotating(tenant.RefreshToken{}), at(1<<32-1, 0), policy(true, 9), noon, refuse, "from_before_restore"},
		"live one under another key":     {rotated, at(7, 1), policy(true, 0), noon, refuse, "from_before_restore"},
		"live one under a newer key":     {rotated, at(7, 3), policy(true, 0), noon, refuse, "from_before_restore"},
		"reusable one under another key": {tenant.RefreshToken{KeyVersion: 1}, at(0, 2), policy(false, 0), noon, refuse, "from_before_restore"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, reason := judge(tt.family, tt.presented, "", tt.policy, tt.now)
			if got != tt.want || reason != tt.reason {
				t.Errorf("judge = %v, %q; want %v, %q", got, reason, tt.want, tt.reason)
			}
		})
	}
}

// SEC-110 and refresh-tokens.md §6, §7: which deadlines a successful exchange sets.
func TestDeadlines(t *testing.T) {
	const day = 24 * time.Hour
	expiring := func(absolute, idle int64) tenant.RefreshPolicy {
		return tenant.RefreshPolicy{
			ExpirationType: "expiring", TokenLifetimeSeconds: absolute, IdleTokenLifetimeSeconds: idle,
			InfiniteTokenLifetime: absolute == 0, InfiniteIdleTokenLifetime: idle == 0,
		}
	}
	never := tenant.RefreshPolicy{ExpirationType: "non-expiring", TokenLifetimeSeconds: 9, IdleTokenLifetimeSeconds: 9}
	var none time.Time
	tests := map[string]struct {
		family         tenant.RefreshToken
		policy         tenant.RefreshPolicy
		idle, absolute time.Time
	}{
		"non-expiring":               {tenant.RefreshToken{}, never, none, none},
		"new, both":                  {tenant.RefreshToken{}, expiring(100, 10), noon.Add(10 * time.Second), noon.Add(100 * time.Second)},
		"new, idle above absolute":   {tenant.RefreshToken{}, expiring(10, 100), noon.Add(10 * time.Second), noon.Add(10 * time.Second)},
		"absolute never moves":       {tenant.RefreshToken{ExpiresAt: noon.Add(day)}, expiring(100, 0), none, noon.Add(day)},
		"idle capped by the old one": {tenant.RefreshToken{ExpiresAt: noon.Add(time.Second)}, expiring(100, 10), noon.Add(time.Second), noon.Add(time.Second)},
		"idle restarts":              {tenant.RefreshToken{IdleExpiresAt: noon.Add(1)}, expiring(0, 10), noon.Add(10 * time.Second), none},
		"absolute stays when the client expires no more": {
			tenant.RefreshToken{ExpiresAt: noon.Add(day), IdleExpiresAt: noon.Add(1)}, never, none, noon.Add(day)},
		"idle alone cannot become never": {
			tenant.RefreshToken{CreatedAt: noon.Add(-day), IdleExpiresAt: noon.Add(day)}, never, noon.Add(2 * day), none},
		"nor after an exchange": {
			tenant.RefreshToken{CreatedAt: noon.Add(-9 * day), LastExchangedAt: noon.Add(-day), IdleExpiresAt: noon.Add(day)}, never, noon.Add(2 * day), none},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			idle, absolute := deadlines(tt.family, tt.policy, noon)
			if !idle.Equal(tt.idle) || !absolute.Equal(tt.absolute) {
				t.Errorf("deadlines = %v, %v; want %v, %v", idle, absolute, tt.idle, tt.absolute)
			}
		})
	}
}

// The write is conditional on the family as it was judged (SEC-114, SEC-124).
func TestRotation(t *testing.T) {
	f := tenant.RefreshToken{
		ID: "rt_1", Generation: 7, KeyVersion: 2, Rotating: true, Audience: "https://api/",
		ExpiresAt: noon.Add(time.Hour), Device: tenant.Device{InitialIP: "192.0.2.1", LastIP: "192.0.2.1"},
	}
	x := &exchange{
		tenant:  tenant.Tenant{ID: "t", ConfigVersion: 5},
		client:  tenant.Client{ID: "c", Refresh: policy(true, 10)},
		origin:  tenant.Origin{IP: "192.0.2.9", UserAgent: "curl"},
		attempt: "a",
	}
	p := proof{family: &f, user: tenant.User{ID: "auth0|1", Version: 3}, consentID: "con", audience: f.Audience}
	tests := map[string]struct {
		verdict    verdict
		kind       tenant.RotationKind
		keyVersion uint16
		dropping   bool
		reason     string
	}{
		"rotate":  {rotate, tenant.Rotate, 3, false, "rotated"},
		"migrate": {migrate, tenant.Rotate, 3, true, "rotated"},
		"stay":    {stay, tenant.Stay, 3, false, "rotated"},
		"keep":    {keep, tenant.Keep, 2, false, "kept"},
		"replay":  {replay, tenant.Replay, 2, false, "replayed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := p
			p.verdict = tt.verdict
			r := rotation(x, p, minted{keyVersion: 3}, noon)
			wantGuard := tenant.Guard{ConfigVersion: 5, UserID: "auth0|1", UserVersion: 3, ConsentID: "con"}
			if r.Kind != tt.kind || r.NewKeyVersion != tt.keyVersion || r.DropSiblings != tt.dropping || r.Event.Reason != tt.reason {
				t.Errorf("rotation = %+v", r)
			}
			if r.Generation != 7 || !r.WasRotating || r.Used || r.Guard != wantGuard || r.Attempt != "a" || !r.At.Equal(noon) {
				t.Errorf("the condition is %+v under %+v", r, r.Guard)
			}
			if r.Device.InitialIP != "192.0.2.1" || r.Device.LastIP != "192.0.2.9" {
				t.Errorf("device = %+v", r.Device)
			}
		})
	}
	t.Run("device of a family without an end", func(t *testing.T) {
		f := f
		f.ExpiresAt = time.Time{}
		p := p
		p.family, p.verdict = &f, rotate
		if r := rotation(x, p, minted{}, noon); r.Device.LastIP != "192.0.2.1" {
			t.Errorf("device = %+v, want it as it was (refresh-tokens.md §7)", r.Device)
		}
	})
	t.Run("another API", func(t *testing.T) {
		p := p
		p.audience, p.added, p.verdict = "https://other/", []string{"read:x"}, rotate
		if r := rotation(x, p, minted{}, noon); r.AddedAudience != "https://other/" || len(r.AddedScopes) != 1 {
			t.Errorf("rotation = %+v", r)
		}
	})
}
