package management

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// tenantFlags are the switches of a tenant, with what they are when nobody set
// them.
var tenantFlags = []struct {
	name string
	on   bool
}{
	{"allow_changing_enable_sso", false}, {"allow_legacy_delegation_grant_types", false}, {"allow_legacy_ro_grant_types", false},
	{"allow_legacy_tokeninfo_endpoint", false}, {"change_pwd_flow_v1", false}, {"custom_domains_provisioning", false},
	{"dashboard_insights_view", false}, {"dashboard_log_streams_next", false}, {"disable_clickjack_protection_headers", false},
	{"disable_fields_map_fix", false}, {"disable_impersonation", true}, {"disable_management_api_sms_obfuscation", true},
	{"enable_adfs_waad_email_verification", false}, {"enable_apis_section", false}, {"enable_client_connections", true},
	{"enable_dynamic_client_registration", false}, {"enable_idtoken_api2", false}, {"enable_legacy_profile", false},
	{"enable_pipeline2", true}, {"enable_public_signup_user_exists_error", false}, {"enable_sso", true},
	{"enforce_client_authentication_on_passwordless_start", false}, {"genai_trial", false},
	{"improved_signup_bot_detection_in_classic", false}, {"mfa_show_factor_list_on_enrollment", false},
	{"no_disclose_enterprise_connections", false}, {"remove_alg_from_jwks", false}, {"revoke_refresh_token_grant", false},
	{"trust_azure_adfs_email_verified_connection_property", false},
}

// inMinutes are the settings that can be given in minutes too.
var inMinutes = []string{"session_lifetime", "idle_session_lifetime", "ephemeral_session_lifetime", "idle_ephemeral_session_lifetime"}

func tenantSettingsResource() *resource {
	flags := make([]field, len(tenantFlags))
	for i, flag := range tenantFlags {
		flags[i] = f(flag.name, boolean(), "A switch of the tenant").byDefault(flag.on)
	}
	lifetime := integer().between(1, 100000)
	hours := func(name, doc string) field { return f(name, lifetime, doc) }
	minutes := func(name, doc string) field {
		return f(name+"_in_minutes", integer().between(1, 6000000), doc).writeOnly()
	}
	page := func(more ...field) shape {
		return closed(append([]field{f("enabled", boolean(), "Whether to use the custom page"), f("html", str().atMost(500000), "Custom page HTML")}, more...)...).orNull()
	}
	return &resource{
		name: "TenantSettings",
		doc:  "The settings of a tenant.",
		fields: []field{
			f("change_password", page(), "Change Password page customization"),
			f("guardian_mfa_page", page(), "Guardian page customization"),
			f("device_flow", closed(
				f("charset", oneOf("base20", "digits"), "Character set used to generate a User Code"),
				f("mask", str().atMost(20), "Mask used to format a generated User Code"),
			).orNull(), "Device Flow configuration"),
			f("default_audience", str().atMost(600), "Default audience for API Authorization"),
			f("default_directory", str().atMost(128), "Name of connection used for password grants at the /token endpoint"),
			f("error_page", closed(
				f("html", str().atMost(500000), "Custom Error HTML"),
				f("show_log_link", boolean(), "Whether to show the link to log as part of the default error page"),
				f("url", str().as("absolute-uri-or-empty"), "URL to redirect to when an error occurs instead of showing the default error page"),
			).orNull(), "Error page customization"),
			f("default_token_quota", free().orNull(), "Token quota of clients and organizations"),
			f("flags", closed(flags...), "Flags used to change the behavior of this tenant"),
			f("friendly_name", str().atMost(255), "Friendly name for this tenant"),
			f("picture_url", str().as("absolute-uri-or-empty"), "URL of logo to be shown for this tenant"),
			f("support_email", str().as("email-or-empty"), "End-user support email"),
			f("support_url", str().as("absolute-uri-or-empty"), "End-user support url"),
			f("allowed_logout_urls", list(str().as("callback-url")), "URLs that are valid to redirect to after logout"),
			hours("session_lifetime", "Number of hours a session will stay valid"),
			hours("idle_session_lifetime", "Number of hours for which a session can be inactive before the user must log in again"),
			hours("ephemeral_session_lifetime", "Number of hours an ephemeral (non-persistent) session will stay valid"),
			hours("idle_ephemeral_session_lifetime", "Number of hours for which an ephemeral session can be inactive"),
			minutes("session_lifetime", "session_lifetime in minutes"),
			minutes("idle_session_lifetime", "idle_session_lifetime in minutes"),
			minutes("ephemeral_session_lifetime", "ephemeral_session_lifetime in minutes"),
			minutes("idle_ephemeral_session_lifetime", "idle_ephemeral_session_lifetime in minutes"),
			f("sandbox_version", str().atMost(8), "Selected sandbox version for the extensibility environment"),
			f("legacy_sandbox_version", str().atMost(8), "Selected sandbox version of rules"),
			f("sandbox_versions_available", list(str()), "Available sandbox versions for the extensibility environment").readOnly(),
			f("default_redirection_uri", str().as("absolute-https-uri-or-empty"), "The default absolute redirection uri, must be https"),
			f("enabled_locales", list(str().chars(2, 10).match(`^[a-zA-Z]{2,3}([-_][A-Za-z0-9]{2,8})*$`)).atLeast(1), "Supported locales for the user interface"),
			f("security_headers", free().orNull(), "Security headers of pages"),
			f("session_cookie", closed(f("mode", oneOf("persistent", "non-persistent"), "Behavior of the session cookie").must()).orNull(), "Session cookie configuration"),
			f("sessions", closed(f("oidc_logout_prompt_enabled", boolean(), "Whether to bypass prompting logic when performing OIDC Logout")).orNull(), "Sessions related settings"),
			f("oidc_logout", closed(f("rp_logout_end_session_endpoint_discovery", boolean(), "Enable the end_session_endpoint URL in the discovery document")), "Settings related to OIDC RP-initiated Logout"),
			f("customize_mfa_in_postlogin_action", boolean().orNull(), "Whether to enable flexible factors for MFA in the PostLogin action"),
			f("allow_organization_name_in_authentication_api", boolean().orNull(), "Whether to accept an organization name instead of an ID on auth endpoints"),
			f("acr_values_supported", list(str().as("acr")).orNull(), "Supported ACR values"),
			f("mtls", closed(f("enable_endpoint_aliases", boolean(), "Enables mTLS endpoint aliases")).orNull(), "mTLS configuration"),
			f("pushed_authorization_requests_supported", boolean().orNull(), "Enables the use of Pushed Authorization Requests"),
			f("authorization_response_iss_parameter_supported", boolean().orNull(), "Supports iss parameter in authorization responses"),
			f("skip_non_verifiable_callback_uri_confirmation_prompt", boolean().orNull(), "Controls whether a confirmation prompt is shown for callback URIs that anybody on the device may answer"),
			f("resource_parameter_profile", oneOf("audience", "compatibility"), "Profile that determines how the identity of the protected resource is specified"),
			f("client_id_metadata_document_supported", boolean(), "Whether client ID metadata documents are supported"),
			f("enable_ai_guide", boolean(), "Kept"),
			f("phone_consolidated_experience", boolean(), "Kept"),
			f("include_session_metadata_in_tenant_logs", boolean(), "Kept"),
			f("dynamic_client_registration_security_mode", oneOf("strict", "permissive"), "Security mode of dynamic registration"),
			f("country_codes", closed(
				f("list", list(str().chars(2, 2).match(`^[A-Z]{2}$`)), "Country codes"),
				f("mode", oneOf("allow", "deny"), "Whether they are allowed or denied"),
			).orNull(), "Country codes of phone numbers"),
			f("universal_login", free(), "Universal login settings"),
			f("refresh_token_limit", integer().between(1, 200), "How many live refresh tokens one user has with one application"),
		},
	}
}

// tenantSettings are the settings (management-endpoints.md §15).
func (a *API) tenantSettings() group {
	settings := tenantSettingsResource()
	return group{tag: "tenants", operations: []operation{
		{
			method: http.MethodGet, path: "/tenants/settings", title: "Get tenant settings",
			scopes: []string{"read:tenant_settings"}, status: http.StatusOK, answer: one(settings),
			serve: func(c *call) (any, error) {
				now, err := c.store.Tenant(c.ctx, c.t.ID)
				if err != nil {
					return nil, err
				}
				return settingsView(now.Settings.Document)
			},
		},
		{
			method: http.MethodPatch, path: "/tenants/settings", title: "Update tenant settings",
			scopes: []string{"update:tenant_settings"}, body: settings.updates(), status: http.StatusOK, answer: one(settings),
			serve: (*call).updateSettings,
		},
	}}
}

// settingsView is what was set over what holds otherwise.
func settingsView(document []byte) (*object, error) {
	set, err := parseObject(document)
	if err != nil {
		return nil, err
	}
	out := obj("default_audience", "", "default_directory", "", "friendly_name", "", "picture_url", "", "support_email", "", "support_url", "",
		"allowed_logout_urls", []any{}, "session_lifetime", 168, "idle_session_lifetime", 72,
		"sandbox_version", "22", "sandbox_versions_available", []any{"22"}, "enabled_locales", []any{"en"},
		"oidc_logout", obj("rp_logout_end_session_endpoint_discovery", true)).mergePatch(set)
	flags := &object{}
	for _, flag := range tenantFlags {
		flags.set(flag.name, flag.on)
	}
	if given := set.child("flags"); given != nil {
		flags = flags.mergePatch(given)
	}
	out.set("flags", flags)
	return out, nil
}

// patchSettings merges a PATCH (management-api.md §7): flags key by key, minutes
// into hours.
func patchSettings(before, patch *object) *object {
	patch = patch.copy()
	for _, name := range inMinutes {
		if patch.has(name + "_in_minutes") {
			hours := float64(patch.number(name+"_in_minutes")) / 60
			patch.set(name, json.Number(strconv.FormatFloat(hours, 'g', -1, 64)))
			patch.remove(name + "_in_minutes")
		}
	}
	doc := before.mergePatch(patch)
	if given := patch.child("flags"); given != nil {
		doc.set("flags", before.child("flags").copy().mergePatch(given))
	}
	return tenantSettingsResource().ordered(doc, false)
}

func (c *call) updateSettings() (any, error) {
	e := c.written(nil)
	updated, err := c.store.UpdateSettings(c.ctx, c.t.ID, func(s tenant.Settings) (tenant.Settings, error) {
		before, err := parseObject(s.Document)
		if err != nil {
			return s, err
		}
		doc := patchSettings(before, c.body)
		var changed tenant.Settings
		if err := json.Unmarshal(doc.bytes(), &changed); err != nil {
			return s, err
		}
		changed.Document = doc.bytes()
		c.tell(e, before, doc)
		return changed, nil
	}, e)
	if err != nil {
		return nil, err
	}
	view, err := settingsView(updated.Document)
	if err == nil {
		view.remove("sandbox_versions_available") // only GET has it
	}
	return view, err
}
