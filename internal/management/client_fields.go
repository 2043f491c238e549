package management

// Scopes that show or change the credentials of a client (management-api.md §2).
var (
	anyClientScope = []string{"read:clients", "read:client_keys", "read:client_credentials", "read:client_summary",
		"create:clients", "update:clients", "update:client_keys", "update:client_credentials"}
	readClient = []string{"read:clients", "create:clients", "update:clients"}
)

// clientResource describes an application (management-endpoints.md §1).
func clientResource() *resource {
	return &resource{
		name:       "Client",
		doc:        "An application.",
		notEmpty:   true,
		readWith:   readClient,
		updateWith: []string{"update:clients"},
		fields:     clientFields(),
	}
}

func clientFields() []field {
	https := str().as("absolute-https-uri-with-placeholders-or-empty")
	origin := str().as("url-with-placeholders")
	text := str().atLeast(1)
	return []field{
		f("client_id", str(), "ID of this client").readOnly().seenWith(anyClientScope...),
		f("tenant", str(), "Name of the tenant this client belongs to").readOnly(),
		f("name", str().match(`^[^<>]+$`).atMost(1000), "Name of this client (min length: 1 character, does not allow < or >)").must().seenWith(anyClientScope...),
		f("description", str().atMost(140), "Free text description of this client (max length: 140 characters)").clearable().seenWith(anyClientScope...),
		f("global", boolean(), "Whether this is the global client").readOnly().byDefault(false),
		f("client_secret", text, "Client secret (which you must not make public)").concealed().
			seenWith("read:client_keys").madeWith("create:client_keys", "update:client_keys").changedWith("update:client_keys"),
		f("app_type", oneOf("native", "spa", "regular_web", "non_interactive", "resource_server", "express_configuration", "rms", "box", "cloudbees",
			"concur", "dropbox", "mscrm", "echosign", "egnyte", "newrelic", "office365", "salesforce", "sentry", "sharepoint", "slack", "springcm",
			"zendesk", "zoom", "sso_integration", "oag"), "Type of client used to determine which settings are applicable").seenWith(anyClientScope...),
		f("logo_uri", str().as("absolute-uri-or-empty"), "URL of the logo to display for this client").clearable(),
		f("is_first_party", boolean(), "Whether this client a first party client (true) or not (false)").byDefault(true),
		f("oidc_conformant", boolean(), "Whether this client conforms to strict OIDC specifications").byDefault(false),
		f("sso_disabled", boolean(), "Whether Single Sign On is disabled").byDefault(false),
		f("sso", boolean(), "Whether Single Sign On is used instead of that of the tenant"),
		f("cross_origin_authentication", boolean(), "Whether this client can make cross-origin authentication requests").byDefault(false),
		f("cross_origin_loc", str().as("url"), "URL of the location in your site where the cross origin verification takes place").clearable(),
		f("custom_login_page_on", boolean(), "Whether a custom login page is to be used").byDefault(true),
		f("custom_login_page", text, "The content (HTML, CSS, JS) of the custom login page").updated(str()),
		f("custom_login_page_preview", text, "The content (HTML, CSS, JS) of the custom login page, for preview").updated(str()),
		f("form_template", text, "HTML form template to be used for WS-Federation").updated(str()),
		f("is_token_endpoint_ip_header_trusted", boolean(), "Whether the token endpoint trusts the auth0-forwarded-for header").byDefault(false),
		f("callbacks", list(str().as("callback-url")), "URLs whitelisted to use as a callback after authentication").clearable(),
		f("allowed_origins", list(origin), "URLs allowed to make requests from JavaScript, in addition to callback origins").clearable(),
		f("web_origins", list(origin), "Origins for use with cross-origin authentication, device flow, and web message response mode").clearable(),
		f("client_aliases", list(text), "List of audiences for SAML protocol").clearable(),
		f("allowed_clients", list(text), "List of allowed clients and API ids that may make delegation requests").clearable(),
		f("allowed_logout_urls", list(str().as("callback-url")), "URLs that are valid to redirect to after logout").clearable(),
		f("grant_types", list(text), "Grant types supported for this application"),
		f("token_endpoint_auth_method", oneOf("none", "client_secret_post", "client_secret_basic"), "Requested authentication method for the token endpoint").clearable(),
		f("client_authentication_methods", closed(
			f("private_key_jwt", closed(f("credentials", list(newCredential()).atMost(2), "Credentials of the client").must()), "Authentication by a signed assertion").must(),
		), "Defines client authentication methods").
			seenWith("read:client_credentials", "read:clients", "create:clients", "update:clients").
			madeWith("create:client_credentials").changedWith("update:client_credentials").
			updated(closed(
				f("private_key_jwt", closed(f("credentials", list(closed(f("id", text, "Credential ID").must())), "Credentials of the client").must()), "Authentication by a signed assertion").must(),
			).orNull()),
		f("jwt_configuration", closed(
			f("lifetime_in_seconds", integer().between(1, 2592000), "Number of seconds the ID token will be valid for"),
			f("secret_encoded", boolean(), "Whether the client secret is base64 encoded (true) or unencoded (false)"),
			f("scopes", free(), "Configuration related to ID token claims"),
			f("alg", oneOf("HS256", "RS256", "PS256"), "Algorithm used to sign ID tokens"),
		), "Configuration related to ID tokens"),
		f("signing_keys", list(free()), "Certificates that verify this client's ID tokens").readOnly().seenWith("read:client_keys"),
		f("encryption_key", closed(
			f("pub", str(), "Encryption public key"), f("cert", str(), "Encryption certificate"), f("subject", str(), "Encryption certificate name"),
		), "Encryption used for WS-Fed responses").clearable().seenWith("read:client_keys").changedWith("update:client_keys"),
		f("refresh_token", refreshPolicy(), "Refresh token configuration").clearable(),
		f("client_metadata", mapOf(str().atMost(255).orNull()).atMost(10), "Metadata associated with the client, in the form of an object with string values (max 255 chars)").clearable(),
		f("initiate_login_uri", https, "Initiate login uri, must be https").clearable(),
		f("oidc_logout", backchannelLogout(https), "Configuration for OIDC backchannel logout").clearable(),
		f("oidc_backchannel_logout", backchannelLogout(https), "Configuration for OIDC backchannel logout (deprecated, in favor of oidc_logout)").clearable(),
		f("session_transfer", free(), "Native to web SSO configuration").clearable(),
		f("mobile", closed(
			f("android", closed(
				f("app_package_name", str(), "App package name found in AndroidManifest.xml"),
				f("sha256_cert_fingerprints", list(text).atLeast(1), "SHA256 fingerprints of the app's signing certificate"),
			), "Android native app configuration"),
			f("ios", closed(
				f("team_id", str(), "Identifier assigned to the developer account"),
				f("app_bundle_identifier", str(), "Assigned by the developer to the app as its unique identifier"),
			), "iOS native app configuration"),
		), "Additional configuration for native mobile apps").clearable(),
		f("addons", free(), "Addons enabled for this client and their associated configurations").clearable().seenWith("read:client_keys", "update:clients", "create:clients"),
		f("native_social_login", free(), "Configure native social settings").clearable(),
		f("fedcm_login", free(), "Configure FedCM login").clearable(),
		f("default_organization", closed(
			f("organization_id", str().as("organization-id"), "The default organization ID to be used").must(),
			f("flows", list(oneOf("client_credentials")), "The default organization usage").must(),
		), "Defines the default organization ID and flows").clearable(),
		f("organization_usage", oneOf("deny", "allow", "require"), "Defines how to proceed during an authentication transaction with regards an organization").clearable(),
		f("organization_require_behavior", oneOf("no_prompt", "pre_login_prompt", "post_login_prompt"), "Defines how to proceed when organization_usage is require").clearable(),
		f("organization_discovery_methods", list(oneOf("email", "organization_name")).atLeast(1), "Defines the available methods for organization discovery").clearable(),
		f("require_pushed_authorization_requests", boolean(), "Makes the use of Pushed Authorization Requests mandatory for this client"),
		f("require_proof_of_possession", boolean(), "Makes the use of Proof-of-Possession mandatory for this client"),
		f("signed_request_object", free(f("required", boolean(), "Indicates whether the JAR requests are mandatory")), "Configuration for JWT-secured Authorization Requests").clearable(),
		f("token_vault_privileged_access", free(), "Token vault privileged access").clearable().changedWith("update:client_token_vault_privileged_access"),
		f("compliance_level", oneOf("none", "fapi1_adv_pkj_par", "fapi1_adv_mtls_par", "fapi2_sp_pkj_mtls", "fapi2_sp_mtls_mtls").orNull(), "Defines the compliance level for this client"),
		f("skip_non_verifiable_callback_uri_confirmation_prompt", boolean(), "Controls whether a confirmation prompt is shown for callback URIs that anybody on the device may answer").clearable(),
		f("token_exchange", closed(
			f("allow_any_profile_of_type", list(oneOf("custom_authentication", "on_behalf_of_token_exchange")), "List the enabled token exchange types for this client"),
		), "Configuration for token exchange").clearable(),
		f("par_request_expiry", integer().between(10, 600).orNull(), "Specifies how long, in seconds, a Pushed Authorization Request URI remains valid"),
		f("token_quota", closed(f("client_credentials", free(), "The token quota configuration").must()), "Token quota of this client").clearable(),
		f("resource_server_identifier", str().chars(1, 600), "The identifier of the resource server that this client is linked to").immutable(),
		f("third_party_security_mode", oneOf("strict", "permissive"), "Security mode of a third-party client"),
		f("redirection_policy", oneOf("allow_always", "open_redirect_protection"), "Controls whether the server redirects users to the application's callback URL on errors"),
		f("express_configuration", free(), "Application specific configuration for use with the OIN Express Configuration feature").clearable(),
		f("my_organization_configuration", free(), "Configuration related to the My Organization feature").clearable(),
		f("async_approval_notification_channels", list(oneOf("guardian-push", "email")).atLeast(1), "Channels for asynchronous approval").clearable(),
		f("allow_plain_pkce", boolean(), "Accepts code_challenge_method=plain from this client. For clients that cannot do S256"),
		f("require_pkce", boolean(), "Asks a confidential client for PKCE too"),
		f("callback_url_template", boolean(), "Always false").readOnly(),
	}
}

func backchannelLogout(https shape) shape {
	return closed(
		f("backchannel_logout_urls", list(https), "Comma-separated list of URLs that are valid to call back for OIDC backchannel logout"),
		f("backchannel_logout_initiators", closed(
			f("mode", oneOf("custom", "all"), "Which initiators count"),
			f("selected_initiators", list(oneOf("rp-logout", "idp-logout", "password-changed", "session-expired", "session-revoked", "account-deleted",
				"email-identifier-changed", "mfa-phone-unenrolled", "account-deactivated")), "The initiators of mode custom"),
		), "Configuration for OIDC backchannel logout initiators"),
		f("backchannel_logout_session_metadata", closed(f("include", boolean(), "Whether session metadata is sent")).orNull(), "Controls whether session metadata is included in the logout token"),
	)
}

func refreshPolicy() shape {
	return closed(
		f("rotation_type", oneOf("rotating", "non-rotating"), "Refresh token rotation type").must(),
		f("expiration_type", oneOf("expiring", "non-expiring"), "Refresh token expiration type").must(),
		f("leeway", integer().between(0, 86400), "Period in seconds where the previous refresh token can be exchanged without triggering breach detection"),
		f("token_lifetime", integer().between(1, 157788000), "Period (in seconds) for which refresh tokens will remain valid"),
		f("infinite_token_lifetime", boolean(), "Prevents tokens from having a set lifetime when true (takes precedence over token_lifetime values)"),
		f("idle_token_lifetime", integer().between(1, 157788000), "Period (in seconds) for which refresh tokens will remain valid without use"),
		f("infinite_idle_token_lifetime", boolean(), "Prevents tokens from expiring without use when true (takes precedence over idle_token_lifetime values)"),
		f("policies", list(closed(
			f("audience", str().chars(1, 600), "The identifier of the resource server to which the policy applies").must(),
			f("scope", list(str().chars(1, 280)), "The scopes that the policy allows").must(),
		)).atLeast(1).orNull(), "Resource servers and scopes this client's refresh tokens can be exchanged for"),
	)
}

// newCredential is a credential as it is given with a client or on its own.
func newCredential() shape {
	return closed(
		f("credential_type", oneOf("public_key", "cert_subject_dn", "x509_cert"), "The type of credential").must(),
		f("name", str().atMost(128), "Friendly name for a credential"),
		f("subject_dn", str().chars(1, 256), "Subject Distinguished Name"),
		f("pem", str().atMost(8192), "PEM-formatted public key (SPKI and PKCS1) or X509 certificate").concealed(),
		f("alg", oneOf("RS256", "RS384", "PS256"), "Algorithm which will be used with the credential"),
		f("parse_expiry_from_cert", boolean(), "Parse expiry from x509 certificate"),
		f("expires_at", str().as("date-time").orNull(), "The ISO 8601 formatted date representing the expiration of the credential"),
		f("kid", str().chars(10, 64).match(`^[0-9a-zA-Z-_]{10,64}$`), "Optional kid (Key ID), used to uniquely identify the credential"),
	)
}
