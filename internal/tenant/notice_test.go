package tenant

import "testing"

// D5: who hears of what; a resource server hears of its own audience alone.
func TestNoticeConcerns(t *testing.T) {
	mark := func(kind, id string) Notice {
		return Notice{Mark: MarkSubject{Kind: kind, ID: id}, Audiences: []string{}}
	}
	tests := map[string]struct {
		notice Notice
		want   bool
	}{
		"its own API":             {Notice{Hash: "h", Audiences: []string{"https://a/", "https://b/"}}, true},
		"another API":             {Notice{Hash: "h", Audiences: []string{"https://b/"}}, false},
		"an API of a longer name": {Notice{Hash: "h", Audiences: []string{"https://a/x"}}, false},
		"userinfo only":           {Notice{Hash: "h", Audiences: []string{}}, false},
		"unknown":                 {Notice{Hash: "h", Everybody: true}, true},
		"a user":                  {mark("user", "auth0|1"), true},
		"a client":                {mark("client", "c"), true},
		"the tenant":              {mark("tenant", "t"), true},
		"the API":                 {mark("audience", "https://a/"), true},
		"the other API":           {mark("audience", "https://b/"), false},
		"a client grant":          {mark("client_grant", "c https://a/"), true},
		"another client grant":    {mark("client_grant", "c https://b/"), false},
		"a consent":               {mark("consent", ConsentMarkID("auth0|1", "c", "https://a/")), true},
		"a consent without API":   {mark("consent", ConsentMarkID("auth0|1", "c", "")), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.notice.Concerns("https://a/"); got != tt.want {
				t.Errorf("Concerns = %v, want %v", got, tt.want)
			}
		})
	}
}
