package tenant

import (
	"encoding/json"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDeadlinesAreInclusive(t *testing.T) { // REL-28: dead at the instant itself
	session := Session{IdleExpiresAt: noon, ExpiresAt: noon.Add(time.Hour)}
	family := RefreshToken{IdleExpiresAt: noon, ExpiresAt: noon.Add(time.Hour)}
	for name, tt := range map[string]struct {
		at   time.Time
		want bool
	}{
		"last nanosecond": {noon.Add(-1), false},
		"the instant":     {noon, true},
		"after":           {noon.Add(1), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.Expired(tt.at); got != tt.want {
				t.Errorf("session.Expired(%v) = %v, want %v", tt.at, got, tt.want)
			}
			if got := family.Expired(tt.at); got != tt.want {
				t.Errorf("family.Expired(%v) = %v, want %v", tt.at, got, tt.want)
			}
		})
	}
	if (RefreshToken{}).Expired(noon.AddDate(1000, 0, 0)) {
		t.Error("a family without deadlines expired")
	}
}

func TestRefreshPolicyLifetimes(t *testing.T) { // refresh-tokens.md §4: infinite_* wins over the number
	p := RefreshPolicy{ExpirationType: "expiring", TokenLifetimeSeconds: 60, IdleTokenLifetimeSeconds: 30}
	if p.AbsoluteLifetime() != time.Minute || p.IdleLifetime() != 30*time.Second {
		t.Errorf("lifetimes = %v, %v", p.AbsoluteLifetime(), p.IdleLifetime())
	}
	p.InfiniteTokenLifetime, p.InfiniteIdleTokenLifetime = true, true
	if p.AbsoluteLifetime() != 0 || p.IdleLifetime() != 0 {
		t.Errorf("infinite lifetimes = %v, %v, want 0, 0", p.AbsoluteLifetime(), p.IdleLifetime())
	}
	p = RefreshPolicy{ExpirationType: "non-expiring", TokenLifetimeSeconds: 60}
	if p.AbsoluteLifetime() != 0 {
		t.Errorf("non-expiring AbsoluteLifetime = %v, want 0", p.AbsoluteLifetime())
	}
}

func TestIDTokenAlgOfPublicClients(t *testing.T) { // tokens.md §9: they cannot keep the HS256 secret
	public := Client{AuthMethod: "none", JWT: JWTConfiguration{Alg: "HS256"}}
	confidential := Client{AuthMethod: "client_secret_post", JWT: JWTConfiguration{Alg: "HS256"}}
	if got := public.IDTokenAlg(); got != "RS256" {
		t.Errorf("public client: %s, want RS256", got)
	}
	if got := confidential.IDTokenAlg(); got != "HS256" {
		t.Errorf("confidential client: %s, want HS256", got)
	}
	if got := (Client{}).IDTokenAlg(); got != "RS256" {
		t.Errorf("default: %s, want RS256", got)
	}
}

func TestSettingsDefaults(t *testing.T) {
	var s Settings
	if s.SessionLifetime() != 168*time.Hour || s.IdleSessionLifetime() != 72*time.Hour { // SEC-153
		t.Errorf("session lifetimes = %v, %v", s.SessionLifetime(), s.IdleSessionLifetime())
	}
	if s.FamilyLimit() != 200 { // SEC-112
		t.Errorf("FamilyLimit = %d, want 200", s.FamilyLimit())
	}
	if !s.ResponseIss() || !s.EndSessionDiscovery() { // SEC-35
		t.Error("iss in responses and end-session discovery are on by default")
	}
	off := false
	s = Settings{IssParameter: &off, RefreshTokenLimit: 3, SessionLifetimeHours: 0.5}
	if s.ResponseIss() || s.FamilyLimit() != 3 || s.SessionLifetime() != 30*time.Minute {
		t.Errorf("settings not followed: %+v", s)
	}
}

func TestParseClientKeepsTheWholeDocument(t *testing.T) { // ADR 0003
	document := `{"client_id":"c","name":"n","addons":{"samlp":{"mappings":{}}},"grant_types":["implicit"],"is_first_party":true}`
	c, err := ParseClient("t", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Document) != document || c.ID != "c" || !c.FirstParty || !c.AllowsGrant("implicit") || c.AllowsGrant("password") {
		t.Errorf("ParseClient = %+v", c)
	}
	if _, err := ParseClient("t", []byte(`{"grant_types":"no list"}`)); err == nil {
		t.Error("a document of another shape was accepted")
	}
}

func TestResourceServerDefaults(t *testing.T) { // tokens.md §5
	var r ResourceServer
	if r.Alg() != "RS256" || r.TokenLifetime() != 24*time.Hour || r.WebTokenLifetime() != 2*time.Hour {
		t.Errorf("defaults = %s, %v, %v", r.Alg(), r.TokenLifetime(), r.WebTokenLifetime())
	}
	if r.UserPolicy() != "allow_all" || r.ClientPolicy() != "require_client_grant" {
		t.Errorf("policies = %s, %s", r.UserPolicy(), r.ClientPolicy())
	}
	r.TokenLifetimeSeconds = 600
	if r.WebTokenLifetime() != 10*time.Minute {
		t.Errorf("WebTokenLifetime = %v, want no longer than the token lifetime", r.WebTokenLifetime())
	}
}

func TestNoSecretInJSON(t *testing.T) { // SEC-190: what must not be shown has no JSON name
	text, err := json.Marshal(Client{ID: "c", Secrets: []ClientSecret{{Hash: "hhh", Sealed: "sss"}}})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	if _, ok := members["Secrets"]; ok {
		t.Errorf("secrets in %s", text)
	}
}

func TestCanonicalEmail(t *testing.T) { // SEC-164
	if got := CanonicalEmail("  Ada@Example.COM "); got != "ada@example.com" {
		t.Errorf("CanonicalEmail = %q", got)
	}
}
