package management

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// systemName is the name tools know the system API by: one of them leaves it
// alone because of it (management-api.md §8).
const systemName = "Auth0 Management API"

// systemScopes are the scopes of the system API by object
// (management-endpoints.md §28).
var systemScopes = []struct{ object, verbs string }{
	{"actions", "create read update delete"},
	{"anomaly_blocks", "read delete"},
	{"attack_protection", "read update"},
	{"authentication_methods", "create read update delete"},
	{"branding", "read update delete"},
	{"client_credentials", "create read update delete"},
	{"client_grants", "create read update delete"},
	{"client_keys", "read update"},
	{"client_summary", "read"},
	{"client_token_vault_privileged_access", "update"},
	{"clients", "create read update delete"},
	{"connection_profiles", "create read update delete"},
	{"connections", "create read update delete"},
	{"connections_keys", "create read update"},
	{"current_user", "read delete"},
	{"current_user_device_credentials", "create delete"},
	{"current_user_identities", "update"},
	{"current_user_metadata", "update"},
	{"custom_domains", "create read update delete"},
	{"custom_signing_keys", "create read update delete"},
	{"device_credentials", "read delete"},
	{"directory_provisionings", "create read update delete"},
	{"email_provider", "create read update delete"},
	{"email_templates", "create read update"},
	{"encryption_keys", "create read update delete"},
	{"event_deliveries", "read update"},
	{"event_streams", "create read update delete"},
	{"events", "read"},
	{"experimentation", "create read update delete"},
	{"federated_connections_tokens", "read delete"},
	{"flows", "create read update delete"},
	{"flows_executions", "read delete"},
	{"flows_vault_connections", "create read update delete"},
	{"forms", "create read update delete"},
	{"grants", "read delete"},
	{"group_members", "read"},
	{"group_roles", "create read delete"},
	{"groups", "read delete"},
	{"guardian_enrollment_tickets", "create"},
	{"guardian_enrollments", "read delete"},
	{"guardian_factors", "read update"},
	{"hooks", "create read update delete"},
	{"log_streams", "create read update delete"},
	{"logs", "read"},
	{"logs_users", "read"},
	{"mfa_policies", "read update"},
	{"network_acls", "create read update delete"},
	{"organization_client_grants", "create read delete"},
	{"organization_connections", "create read update delete"},
	{"organization_discovery_domains", "create read update delete"},
	{"organization_group_roles", "create read delete"},
	{"organization_groups", "read"},
	{"organization_invitations", "create read delete"},
	{"organization_member_effective_roles", "read"},
	{"organization_member_role_source_groups", "read"},
	{"organization_member_roles", "create read delete"},
	{"organization_members", "create read delete"},
	{"organizations", "create read update delete"},
	{"organizations_summary", "read"},
	{"phone_providers", "create read update delete"},
	{"phone_templates", "create read update delete"},
	{"prompts", "read update"},
	{"rate_limit_policies", "create read update delete"},
	{"refresh_tokens", "read update delete"},
	{"resource_servers", "create read update delete"},
	{"role_members", "create read delete"},
	{"roles", "create read update delete"},
	{"rules", "create read update delete"},
	{"rules_configs", "read update delete"},
	{"scim_config", "create read update delete"},
	{"scim_token", "create read delete"},
	{"self_service_profile_custom_texts", "read update"},
	{"self_service_profiles", "create read update delete"},
	{"sessions", "read update delete"},
	{"signing_keys", "create read update"},
	{"sso_access_tickets", "create delete"},
	{"stats", "read"},
	{"tenant_settings", "read update"},
	{"token_exchange_profiles", "create read update delete"},
	{"user_attribute_profiles", "create read update delete"},
	{"user_effective_permissions", "read"},
	{"user_effective_roles", "read"},
	{"user_idp_tokens", "read"},
	{"user_permission_source_roles", "read"},
	{"user_role_source_groups", "read"},
	{"user_tickets", "create"},
	{"users", "create read update delete"},
	{"users_app_metadata", "update"},
	{"vdcs_templates", "create read update delete"},

	// Older ones, which grants made by tools still name.
	{"client_keys", "create delete"},
	{"users_app_metadata", "read delete create"},
	{"user_custom_blocks", "read create delete"},
	{"tokens", "blacklist"},
	{"shields", "read create delete"},
	{"entitlements", "read"},
	{"insights", "read"},
	{"limits", "read update"},
	{"connections_options", "read update"},
	{"current_user_metadata", "create delete"},
	{"triggers", "update read"},
}

// SystemAPI is the Management API as the resource server of its own tokens. It
// is the same for the same tenant: its id is made of the tenant's.
func SystemAPI(t tenant.Tenant) tenant.ResourceServer {
	var scopes []any
	for _, s := range systemScopes {
		for _, verb := range strings.Fields(s.verbs) {
			scopes = append(scopes, obj("value", verb+":"+s.object, "description", describeScope(verb, s.object)))
		}
	}
	doc := obj("id", fixedID(t, "system API")[:24], "name", systemName, "is_system", true, "identifier", t.ManagementAudience(),
		"allow_offline_access", false, "skip_consent_for_verifiable_first_party_clients", false,
		"subject_type_authorization", obj("client", obj("policy", "require_client_grant"), "user", obj("policy", "allow_all")),
		"token_lifetime", 86400, "token_lifetime_for_web", 7200, "signing_alg", "RS256", "scopes", scopes)
	api, err := tenant.ParseResourceServer(t.ID, doc.bytes())
	if err != nil {
		panic("management: the system API is described wrongly: " + err.Error())
	}
	api.CreatedAt = t.CreatedAt
	return api
}

// describeScope is "Read Client Grants" of read:client_grants.
func describeScope(verb, object string) string {
	words := append([]string{verb}, strings.Split(object, "_")...)
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, " ")
}

// DefaultConnection is the database connection made at first start.
func DefaultConnection(t tenant.Tenant) tenant.Connection {
	name := tenant.DefaultConnection
	doc := obj("id", "con_"+fixedID(t, "default connection")[:16], "name", name, "strategy", tenant.DatabaseStrategy,
		"options", databaseDefaults(nil), "realms", []any{name})
	connection, err := tenant.ParseConnection(t.ID, connectionResource().ordered(doc, true).bytes())
	if err != nil {
		panic("management: the default connection is described wrongly: " + err.Error())
	}
	connection.CreatedAt = t.CreatedAt
	return connection
}

// fixedID is the hex id of what every tenant has one of.
func fixedID(t tenant.Tenant, what string) string {
	sum := sha256.Sum256([]byte(what + " of " + t.ID))
	return hex.EncodeToString(sum[:])
}
