package management

import (
	"slices"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// grantTypes are the grants a client may be given (management-endpoints.md §1).
var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantImplicit, oauth.GrantRefreshToken, oauth.GrantClientCredentials,
	oauth.GrantPassword, oauth.GrantPasswordRealm, oauth.GrantDeviceCode,
	"http://auth0.com/oauth/grant-type/mfa-oob", "http://auth0.com/oauth/grant-type/mfa-otp",
	"http://auth0.com/oauth/grant-type/mfa-recovery-code", "http://auth0.com/oauth/grant-type/passwordless/otp",
	"urn:openid:params:grant-type:ciba", "urn:ietf:params:oauth:grant-type:token-exchange",
	"urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token",
	"urn:okta:params:oauth:grant-type:webauthn",
}

// clientDefaults completes the document of a new client with what depends on
// the rest of it; the fixed defaults are in the description.
func clientDefaults(doc *object) {
	appType := doc.text("app_type")
	if !doc.has("client_authentication_methods") && (appType == "spa" || appType == "native") {
		// They cannot keep a secret (RFC 8252 §8.4).
		doc.setDefault("token_endpoint_auth_method", oauth.AuthNone)
	}
	if !doc.has("grant_types") {
		doc.set("grant_types", defaultGrants(doc))
	}
	if !doc.has("jwt_configuration") {
		doc.set("jwt_configuration", obj("lifetime_in_seconds", 36000, "secret_encoded", false))
	} else {
		j := doc.child("jwt_configuration").copy()
		j.setDefault("secret_encoded", false)
		doc.set("jwt_configuration", j)
	}
	rotating := completeRefresh(doc)
	if rotating {
		// Rotation is for OIDC-conformant clients (refresh-tokens.md §4.1 rule 5).
		doc.setDefault("oidc_conformant", true)
	}
}

// defaultGrants leaves implicit out: security.md §30 makes it an opt-in.
func defaultGrants(doc *object) []any {
	grants := []any{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
	first, ok := doc.get("is_first_party")
	third := ok && first == false
	switch appType := doc.text("app_type"); {
	case appType == "resource_server":
		return []any{}
	case appType == "express_configuration":
		return []any{oauth.GrantAuthorizationCode, oauth.GrantClientCredentials}
	case third && appType == "regular_web":
		return grants[:1]
	case appType == "spa", appType == "native":
		return grants
	}
	return append(grants, oauth.GrantClientCredentials)
}

// completeRefresh fills refresh_token up (refresh-tokens.md §4) and tells
// whether it rotates. Public clients of any type rotate and expire unless told
// otherwise (security.md §30); without the grant there is nothing to rotate.
func completeRefresh(doc *object) (rotating bool) {
	given := doc.child("refresh_token")
	if given == nil {
		given = obj("rotation_type", "non-rotating", "expiration_type", "non-expiring")
		if doc.text("token_endpoint_auth_method") == oauth.AuthNone {
			given = obj("rotation_type", "rotating", "expiration_type", "expiring")
			if !slices.Contains(doc.strings("grant_types"), oauth.GrantRefreshToken) {
				given = obj("rotation_type", "non-rotating", "expiration_type", "expiring", "infinite_token_lifetime", false)
			}
		}
	}
	rotating = given.text("rotation_type") == "rotating"
	expiring := given.text("expiration_type") == "expiring"
	const month, halfMonth = 2592000, 1296000
	p := obj("rotation_type", given.text("rotation_type"), "expiration_type", given.text("expiration_type"))
	put := func(name string, otherwise any) {
		v, ok := given.get(name)
		if !ok {
			v = otherwise
		}
		p.set(name, v)
	}
	put("leeway", 0)
	put("token_lifetime", month)
	// A lifetime that was asked for must not be undone by a default flag.
	put("infinite_token_lifetime", !rotating && !given.has("token_lifetime"))
	put("infinite_idle_token_lifetime", false)
	put("idle_token_lifetime", min(halfMonth, p.number("token_lifetime")))
	if !expiring {
		p.set("infinite_token_lifetime", true)
		p.set("infinite_idle_token_lifetime", true)
	}
	if v, ok := given.get("policies"); ok && v != nil {
		p.set("policies", v)
	}
	doc.set("refresh_token", p)
	return rotating
}

// patchClient merges a PATCH into a client's document (management-api.md §7).
func patchClient(before, patch *object) (*object, error) {
	doc := before.mergePatch(patch)
	if given := patch.child("client_metadata"); given != nil {
		merged := before.child("client_metadata").copy().mergePatch(given)
		doc.set("client_metadata", merged)
		if len(merged.members) == 0 {
			doc.remove("client_metadata")
		}
		if len(merged.members) > 10 {
			return nil, invalid("Payload validation error: 'Too many properties defined (" + plain(float64(len(merged.members))) + "), maximum 10' on property client_metadata.")
		}
	}
	if patch.has("refresh_token") {
		if completeRefresh(doc) && !patch.has("oidc_conformant") {
			doc.set("oidc_conformant", true)
		}
	}
	if j := patch.child("jwt_configuration"); j != nil {
		j = j.copy()
		j.setDefault("secret_encoded", false)
		doc.set("jwt_configuration", j)
	}
	return clientResource().ordered(doc, false), nil
}

// checkClient holds a whole client against the rules between its fields.
func checkClient(t tenant.Tenant, doc *object) error {
	for _, g := range doc.strings("grant_types") {
		if !slices.Contains(grantTypes, g) {
			return invalid("Invalid grant types: " + echo(g))
		}
	}
	if doc.has("client_authentication_methods") {
		if doc.has("token_endpoint_auth_method") {
			return invalid("token_endpoint_auth_method and client_authentication_methods cannot both be set: set one to null.")
		}
		if doc.child("jwt_configuration").text("alg") == "HS256" {
			return invalid("A client that authenticates by key has no secret to sign ID tokens with: jwt_configuration.alg must not be HS256.")
		}
	}
	if first, ok := doc.get("is_first_party"); ok && first == false &&
		(doc.has("organization_usage") || doc.has("organization_require_behavior")) {
		return forbidden("", "Organizations are only available to first party clients on user-based flows. Properties organization_usage and organization_require_behavior must be unset for third party clients.")
	}
	return checkRefresh(t, doc)
}

// checkRefresh is refresh-tokens.md §4.1.
func checkRefresh(t tenant.Tenant, doc *object) error {
	p := doc.child("refresh_token")
	rotating := p.text("rotation_type") == "rotating"
	expiring := p.text("expiration_type") == "expiring"
	finite, finiteIdle := !p.flag("infinite_token_lifetime"), !p.flag("infinite_idle_token_lifetime")
	conformant := doc.flag("oidc_conformant")
	switch {
	case rotating && !expiring:
		return invalid("Refresh tokens must be expiring when rotation is enabled.")
	case expiring && !finite && !finiteIdle:
		return invalid("An expiring refresh token requires a token_lifetime or an idle_token_lifetime.")
	case expiring && finite && finiteIdle && p.number("idle_token_lifetime") > p.number("token_lifetime"):
		return invalid("The refresh token idle_token_lifetime must be less than or equal to token_lifetime.")
	case rotating && !conformant:
		return invalid("Refresh token rotation is available only to OIDC conformant clients.")
	case rotating && !slices.Contains(doc.strings("grant_types"), oauth.GrantRefreshToken):
		return invalid("Refresh token rotation needs the grant type refresh_token.")
	case doc.text("app_type") == "spa" && !expiring:
		return invalid("Refresh tokens of single-page applications must be expiring.")
	}
	policies, _ := p.get("policies")
	list, _ := policies.([]any)
	for _, v := range list {
		if v.(*object).text("audience") == t.ManagementAudience() {
			return invalid("The Management API cannot be an audience of refresh_token.policies.")
		}
		if first, ok := doc.get("is_first_party"); ok && first == false {
			return invalid("refresh_token.policies are available only to first-party clients.")
		}
	}
	return nil
}
