package tenant

import "slices"

// OfflineAccess is the scope that asks for a refresh token (OIDC Core §11).
const OfflineAccess = "offline_access"

// OpenID is the scope that makes a request an OpenID Connect one.
const OpenID = "openid"

// standardScopes are the scopes every client may ask for a user: those of OIDC
// Core §5.4, and each standard claim name as a scope of its own (tokens.md §7.2).
var standardScopes = []string{
	OpenID, "profile", "email", "address", "phone", OfflineAccess,
	"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username",
	"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	"email_verified", "phone_number", "phone_number_verified", "created_at", "identities",
}

// currentUserScopes are the only Management API scopes in a user's token
// (tokens.md §7.4).
var currentUserScopes = []string{
	"read:current_user", "update:current_user_identities",
	"update:current_user_metadata", "create:current_user_metadata", "delete:current_user_metadata",
	"create:current_user_device_credentials", "delete:current_user_device_credentials",
}

// StandardScope tells whether scope needs no API that defines it.
func StandardScope(scope string) bool { return slices.Contains(standardScopes, scope) }

// UserScopes cuts the scopes requested for a user down to what the client may
// have (tokens.md §6.1), in the order they were asked for: standard scopes, and
// those that api defines (nil: no API). Under require_client_grant the API's
// scopes are limited to userGrant (nil: none). Where the API enforces policies,
// only the user's permissions are left of its scopes. Unknown scopes are
// dropped; whether offline_access survives is decided with the refresh token.
func UserScopes(requested []string, api *ResourceServer, userGrant *ClientGrant, permissions []string) []string {
	out := make([]string, 0, len(requested))
	for _, s := range requested {
		if slices.Contains(out, s) {
			continue
		}
		if StandardScope(s) || api != nil && apiScope(s, api, userGrant, permissions) {
			out = append(out, s)
		}
	}
	return out
}

func apiScope(s string, api *ResourceServer, userGrant *ClientGrant, permissions []string) bool {
	if api.System {
		return slices.Contains(currentUserScopes, s)
	}
	if !slices.Contains(api.ScopeValues(), s) {
		return false
	}
	if api.UserPolicy() == "require_client_grant" &&
		(userGrant == nil || !userGrant.AllowAllScopes && !slices.Contains(userGrant.Scope, s)) {
		return false
	}
	return !api.EnforcePolicies || slices.Contains(permissions, s)
}
