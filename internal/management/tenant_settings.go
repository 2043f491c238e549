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
		return closed(append([]field{f("enabled", boolean(), "Uses the page"), f("html", str().atMost(500000), "The page's source")}, more...)...).orNull()
	}
	return &resource{
		name: "TenantSettings",
		doc:  "The settings of a tenant.",
		fields: []field{
			f("change_password", page(), "Your page for changing a password"),
			f("guardian_mfa_page", page(), "Your page for the second factor"),
			f("device_flow", closed(
				f("charset", oneOf("base20", "digits"), "Letters or digits of the code"),
				f("mask", str().atMost(20), "Shape of the code: * is one character, - and space stand for themselves"),
			).orNull(), "Codes that people type for a device"),
			f("default_audience", str().atMost(600), "Audience of requests that name none; empty for none"),
			f("default_directory", str().atMost(128), "Connection of password grants that name no realm"),
			f("error_page", closed(
				f("html", str().atMost(500000), "Source of your error page"),
				f("show_log_link", boolean(), "Names the log entry on it"),
				f("url", str().as("absolute-uri-or-empty"), "Page of yours to send users to in place of the error page"),
			).orNull(), "What users see when a request cannot be answered to its client"),
			f("default_token_quota", free().orNull(), "How many machine tokens clients may have that set nothing"),
			f("flags", closed(flags...), "Switches; those left out of a change stay"),
			f("friendly_name", str().atMost(255), "What pages call the tenant"),
			f("picture_url", str().as("absolute-uri-or-empty"), "Image on the tenant's pages"),
			f("support_email", str().as("email-or-empty"), "Address users can write to"),
			f("support_url", str().as("absolute-uri-or-empty"), "Page where users get help"),
			f("allowed_logout_urls", list(str().as("callback-url")), "Where a logout may lead to; compared whole"),
			hours("session_lifetime", "Hours from login to the end of a session, whatever the use; 168 unless set"),
			hours("idle_session_lifetime", "Hours without use to the end of a session; 72 unless set"),
			hours("ephemeral_session_lifetime", "The same as session_lifetime for sessions that end with the browser"),
			hours("idle_ephemeral_session_lifetime", "The same as idle_session_lifetime for sessions that end with the browser"),
			minutes("session_lifetime", "Sets session_lifetime by minutes"),
			minutes("idle_session_lifetime", "Sets idle_session_lifetime by minutes"),
			minutes("ephemeral_session_lifetime", "Sets ephemeral_session_lifetime by minutes"),
			minutes("idle_ephemeral_session_lifetime", "Sets idle_ephemeral_session_lifetime by minutes"),
			f("sandbox_version", str().atMost(8), "Version of the script environment"),
			f("legacy_sandbox_version", str().atMost(8), "The same for rules"),
			f("sandbox_versions_available", list(str()), "The versions there are").readOnly(),
			f("default_redirection_uri", str().as("absolute-https-uri-or-empty"), "Where a login page that was bookmarked leads to, https only"),
			f("enabled_locales", list(str().chars(2, 10).match(`^[a-zA-Z]{2,3}([-_][A-Za-z0-9]{2,8})*$`)).notEmpty(), "Languages of the pages, the first when nothing fits"),
			f("security_headers", free().orNull(), "Headers that pages send besides ours"),
			f("session_cookie", closed(f("mode", oneOf("persistent", "non-persistent"), "Whether it outlives the browser").must()).orNull(), "The cookie of sessions"),
			f("sessions", closed(f("oidc_logout_prompt_enabled", boolean(), "Asks the user before a logout that proves nothing")).orNull(), "More about sessions"),
			f("oidc_logout", closed(f("rp_logout_end_session_endpoint_discovery", boolean(), "Names the logout endpoint in the discovery document")), "Logout begun by clients"),
			f("customize_mfa_in_postlogin_action", boolean().orNull(), "Lets scripts choose the second factor"),
			f("allow_organization_name_in_authentication_api", boolean().orNull(), "Takes an organization's name where its id is asked for"),
			f("acr_values_supported", list(str().as("acr")).orNull(), "Values of acr that are announced"),
			f("mtls", closed(f("enable_endpoint_aliases", boolean(), "Announces endpoints of their own for it")).orNull(), "Mutual TLS"),
			f("pushed_authorization_requests_supported", boolean().orNull(), "Takes pushed authorization requests (RFC 9126)"),
			f("authorization_response_iss_parameter_supported", boolean().orNull(), "Sends iss with authorization answers (RFC 9207)"),
			f("skip_non_verifiable_callback_uri_confirmation_prompt", boolean().orNull(), "Leaves out the question asked before a code goes to an address that any program on the device could own"),
			f("resource_parameter_profile", oneOf("audience", "compatibility"), "Which parameter names the API: audience, or resource too"),
			f("client_id_metadata_document_supported", boolean(), "Takes clients whose id is the address of their description"),
			f("enable_ai_guide", boolean(), "Stored as sent"),
			f("phone_consolidated_experience", boolean(), "Stored as sent"),
			f("include_session_metadata_in_tenant_logs", boolean(), "Stored as sent"),
			f("dynamic_client_registration_security_mode", oneOf("strict", "permissive"), "How much clients that register themselves are held to"),
			f("country_codes", closed(
				f("list", list(str().chars(2, 2).match(`^[A-Z]{2}$`)), "Two letters each"),
				f("mode", oneOf("allow", "deny"), "allow: only these; deny: all but these"),
			).orNull(), "Countries that phone numbers may be of"),
			f("universal_login", free(), "Settings of the login pages"),
			f("signing_keys", closed(
				f("rotation_interval", integer().between(0, 315360000), "Age in seconds at which a signing key is replaced; 0, as unless set: by call only"),
				f("publication_time", integer().between(0, 31536000), "Seconds a key is published before it signs, unless forced; 86400 unless set, and never less than caches keep a key set"),
				f("rsa_bits", integer().between(2048, 4096), "Size of new RSA keys: 2048 unless set, 3072 or 4096"),
			), "The ring of signing keys"),
			f("refresh_token_limit", integer().between(1, 200), "Live refresh tokens of one user with one client; one more ends the oldest. 200 unless set"),
		},
	}
}

// tenantSettings are the settings (management-endpoints.md §15).
func (a *API) tenantSettings() group {
	settings := tenantSettingsResource()
	return group{tag: "tenants", operations: []operation{
		{
			method: http.MethodGet, path: "/tenants/settings", title: "Read tenant settings",
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
		if bits := doc.child("signing_keys").number("rsa_bits"); bits != 0 && bits != 2048 && bits != 3072 && bits != 4096 {
			return s, invalid("signing_keys.rsa_bits must be 2048, 3072 or 4096.")
		}
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
