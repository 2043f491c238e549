package tenant

import "testing"

// SEC-69: only the client's registered origins, whole.
func TestAllowsOrigin(t *testing.T) {
	c := Client{
		FirstParty:     true,
		Callbacks:      []string{"https://app.example.com/callback?x=1", "com.example.app:/cb", "http://localhost:3000/cb"},
		AllowedOrigins: []string{"https://Other.example.org:443", "https://*.wild.example.net"},
		WebOrigins:     []string{"https://web.example.com:8443", "not a URL"},
	}
	tests := map[string]struct {
		origin string
		want   bool
	}{
		"callback's origin":   {"https://app.example.com", true},
		"loopback with port":  {"http://localhost:3000", true},
		"other port":          {"http://localhost:3001", false},
		"other scheme":        {"http://app.example.com", false},
		"default port":        {"https://other.example.org", true},
		"web origin":          {"https://web.example.com:8443", true},
		"without its port":    {"https://web.example.com", false},
		"look-alike suffix":   {"https://app.example.com.evil.example", false},
		"look-alike prefix":   {"https://evilapp.example.com", false},
		"null":                {"null", false},
		"empty":               {"", false},
		"with a path":         {"https://app.example.com/", false},
		"custom scheme":       {"com.example.app:", false},
		"user information":    {"https://app.example.com@evil.example", false},
		"wildcard, one label": {"https://a.wild.example.net", true},
		"wildcard, two":       {"https://a.b.wild.example.net", false},
		"wildcard, none":      {"https://wild.example.net", false},
		"the wildcard itself": {"https://*.wild.example.net", false},
		"trailing dot":        {"https://app.example.com.", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := c.AllowsOrigin(tt.origin); got != tt.want {
				t.Errorf("AllowsOrigin(%q) = %v, want %v", tt.origin, got, tt.want)
			}
		})
	}
	c.FirstParty = false
	if c.AllowsOrigin("https://a.wild.example.net") {
		t.Error("a third-party client's wildcard covers an origin")
	}
}
