package tenant

import (
	"slices"
	"strings"
	"testing"
)

// tokens.md §6.1 and §7.2: what a user's token may carry.
func TestUserScopes(t *testing.T) {
	api := ResourceServer{Identifier: "https://api/", Scopes: []Scope{{Value: "read:a"}, {Value: "write:a"}}}
	withPolicy := func(policy string) *ResourceServer {
		r := api
		r.Authorizations = &SubjectAuthorization{User: &SubjectPolicy{Policy: policy}}
		return &r
	}
	enforced := api
	enforced.EnforcePolicies = true
	system := ResourceServer{Identifier: "https://d/api/v2/", System: true, Scopes: []Scope{{Value: "read:users"}, {Value: "read:current_user"}}}

	tests := map[string]struct {
		requested   string
		api         *ResourceServer
		grant       *ClientGrant
		permissions []string
		want        string
	}{
		"standard scopes need no API":                {"openid profile email offline_access", nil, nil, nil, "openid profile email offline_access"},
		"each claim name is a scope":                 {"openid name email family_name", nil, nil, nil, "openid name email family_name"},
		"an API's scopes need the API":               {"openid read:a", nil, nil, nil, "openid"},
		"unknown ones are dropped":                   {"openid favourite_food read:a read:b", &api, nil, nil, "openid read:a"},
		"order is kept, repeats are not":             {"write:a openid write:a read:a", &api, nil, nil, "write:a openid read:a"},
		"a prefix is no match (SEC-104)":             {"read read:a:b", &api, nil, nil, ""},
		"user grant required, none":                  {"openid read:a", withPolicy("require_client_grant"), nil, nil, "openid"},
		"user grant required, given":                 {"openid read:a write:a", withPolicy("require_client_grant"), &ClientGrant{Scope: []string{"read:a"}}, nil, "openid read:a"},
		"user grant for all scopes":                  {"read:a write:a", withPolicy("require_client_grant"), &ClientGrant{AllowAllScopes: true}, nil, "read:a write:a"},
		"policies enforced, no permission":           {"openid read:a", &enforced, nil, nil, "openid"},
		"policies enforced, one permission":          {"openid read:a write:a", &enforced, nil, []string{"write:a"}, "openid write:a"},
		"management API: only the current user's":    {"openid read:users read:current_user", &system, nil, nil, "openid read:current_user"},
		"management API: legacy current-user scopes": {"create:current_user_metadata", &system, nil, nil, "create:current_user_metadata"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := UserScopes(strings.Fields(tt.requested), tt.api, tt.grant, tt.permissions)
			if !slices.Equal(got, strings.Fields(tt.want)) {
				t.Errorf("UserScopes(%q) = %q, want %q", tt.requested, got, tt.want)
			}
		})
	}
}
