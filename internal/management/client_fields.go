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
	text := str().notEmpty()
	return []field{
		f("client_id", str(), "The client's id, given by the server").readOnly().seenWith(anyClientScope...),
		f("tenant", str(), "The tenant it is in").readOnly(),
		f("name", str().match(`^[^<>]+$`).atMost(1000), "What people read, on the consent page too; no angle brackets").must().seenWith(anyClientScope...),
		f("description", str().atMost(140), "A note for administrators, 140 characters at most").clearable().seenWith(anyClientScope...),
		f("global", boolean(), "True for the one client that stands for the whole tenant").readOnly().byDefault(false),
		f("client_secret", text, "What the client proves itself with; made by the server when none is given").concealed().
			seenWith("read:client_keys").madeWith("create:client_keys", "update:client_keys").changedWith("update:client_keys"),
		f("app_type", oneOf("native", "spa", "regular_web", "non_interactive", "resource_server", "express_configuration", "rms", "box", "cloudbees",
			"concur", "dropbox", "mscrm", "echosign", "egnyte", "newrelic", "office365", "salesforce", "sentry", "sharepoint", "slack", "springcm",
			"zendesk", "zoom", "sso_integration", "oag"), "Decides the defaults, and whether the client can keep a secret").seenWith(anyClientScope...),
		f("logo_uri", str().as("absolute-uri-or-empty"), "Image for the pages of this client; empty for none").clearable(),
		f("is_first_party", boolean(), "True: yours, and trusted without asking the user; false: somebody else's").byDefault(true),
		f("oidc_conformant", boolean(), "Rotation of refresh tokens needs it; set with it when left out").byDefault(false),
		f("sso_disabled", boolean(), "Older switch; kept, without effect").byDefault(false),
		f("sso", boolean(), "Older switch for this client alone; kept, without effect"),
		f("cross_origin_authentication", boolean(), "Lets pages of web_origins log in by script").byDefault(false),
		f("cross_origin_loc", str().as("url"), "Page that helps such logins where cookies are blocked").clearable(),
		f("custom_login_page_on", boolean(), "Asks for custom_login_page").byDefault(true),
		f("custom_login_page", text, "Source of the client's own login page").updated(str()),
		f("custom_login_page_preview", text, "A draft of it").updated(str()),
		f("form_template", text, "Form that carries a WS-Federation answer").updated(str()),
		f("is_token_endpoint_ip_header_trusted", boolean(), "Believes the address in auth0-forwarded-for when this client authenticates with its secret").byDefault(false),
		f("callbacks", list(str().as("callback-url")), "Where an authorization may be answered to; compared whole").clearable(),
		f("allowed_origins", list(origin), "Further origins whose scripts may read our answers").clearable(),
		f("web_origins", list(origin), "Origins that may call the token endpoint and receive web messages").clearable(),
		f("client_aliases", list(text), "Other names of the client, for SAML").clearable(),
		f("allowed_clients", list(text), "Who could ask for delegated tokens; kept, without effect").clearable(),
		f("allowed_logout_urls", list(str().as("callback-url")), "Where a logout may lead to; compared whole").clearable(),
		f("grant_types", list(text), "What the client may present at the token endpoint"),
		f("token_endpoint_auth_method", oneOf("none", "client_secret_post", "client_secret_basic"), "How the client proves itself; none makes it public").clearable(),
		f("client_authentication_methods", closed(
			f("private_key_jwt", closed(f("credentials", list(newCredential()).atMost(2), "The keys that count, two at most").must()), "A JWT signed by the client (RFC 7523)").must(),
		), "Proof by key in place of a secret").
			seenWith("read:client_credentials", "read:clients", "create:clients", "update:clients").
			madeWith("create:client_credentials").changedWith("update:client_credentials").
			updated(closed(
				f("private_key_jwt", closed(f("credentials", list(closed(f("id", text, "The key's id").must())), "The keys that count, two at most").must()), "A JWT signed by the client (RFC 7523)").must(),
			).orNull()),
		f("jwt_configuration", closed(
			f("lifetime_in_seconds", integer().between(1, 2592000), "Life of an ID token, in seconds; 36000 unless set"),
			f("secret_encoded", boolean(), "The secret is base64 and is decoded before it signs (HS256)"),
			f("scopes", free(), "Older form of scopes in ID tokens; kept, without effect"),
			f("alg", oneOf("HS256", "RS256", "PS256"), "Signature of ID tokens"),
		), "How ID tokens of this client are made"),
		f("signing_keys", list(free()), "Certificates of the keys that sign now").readOnly().seenWith("read:client_keys"),
		f("encryption_key", closed(
			f("pub", str(), "Public key, PEM"), f("cert", str(), "Its certificate, PEM"), f("subject", str(), "Name in the certificate"),
		), "Key that WS-Federation answers are encrypted for").clearable().seenWith("read:client_keys").changedWith("update:client_keys"),
		f("refresh_token", refreshPolicy(), "How refresh tokens of this client live: rotation, leeway, deadlines").clearable(),
		f("client_metadata", mapOf(str().atMost(255).orNull()).atMost(10), "Up to ten notes of your own; values are strings of at most 255 characters").clearable(),
		f("initiate_login_uri", https, "Page of the client that begins a login, https only").clearable(),
		f("oidc_logout", backchannelLogout(https), "Where and when the client is told of logouts").clearable(),
		f("oidc_backchannel_logout", backchannelLogout(https), "Older name of oidc_logout").clearable(),
		f("session_transfer", free(), "Carrying a session from a native app into a browser").clearable(),
		f("mobile", closed(
			f("android", closed(
				f("app_package_name", str(), "Package of the app"),
				f("sha256_cert_fingerprints", list(text).notEmpty(), "SHA-256 of the certificates that sign it"),
			), "The Android app"),
			f("ios", closed(
				f("team_id", str(), "Team id at Apple"),
				f("app_bundle_identifier", str(), "Bundle id of the app"),
			), "The iOS app"),
		), "What identifies the apps of this client").clearable(),
		f("addons", free(), "Settings of other protocols, by name").clearable().seenWith("read:client_keys", "update:clients", "create:clients"),
		f("native_social_login", free(), "Sign-in of native apps with other providers").clearable(),
		f("fedcm_login", free(), "Sign-in by the browser's FedCM dialog").clearable(),
		f("default_organization", closed(
			f("organization_id", str().as("organization-id"), "Its id").must(),
			f("flows", list(oneOf("client_credentials")), "The grants it holds for").must(),
		), "Organization of requests that name none").clearable(),
		f("organization_usage", oneOf("deny", "allow", "require"), "Whether users come as members of an organization").clearable(),
		f("organization_require_behavior", oneOf("no_prompt", "pre_login_prompt", "post_login_prompt"), "When the organization is asked for, if it must be known").clearable(),
		f("organization_discovery_methods", list(oneOf("email", "organization_name")).notEmpty(), "How a user's organization is found").clearable(),
		f("require_pushed_authorization_requests", boolean(), "Refuses authorization requests that were not pushed (RFC 9126)"),
		f("require_proof_of_possession", boolean(), "Refuses tokens that are bound to no key"),
		f("signed_request_object", free(f("required", boolean(), "Refuses unsigned ones")), "Signed authorization requests (RFC 9101)").clearable(),
		f("token_vault_privileged_access", free(), "Access to stored tokens of other providers").clearable().changedWith("update:client_token_vault_privileged_access"),
		f("compliance_level", oneOf("none", "fapi1_adv_pkj_par", "fapi1_adv_mtls_par", "fapi2_sp_pkj_mtls", "fapi2_sp_mtls_mtls").orNull(), "Security profile the client must keep"),
		f("skip_non_verifiable_callback_uri_confirmation_prompt", boolean(), "Leaves out the question asked before a code goes to an address that any program on the device could own").clearable(),
		f("token_exchange", closed(
			f("allow_any_profile_of_type", list(oneOf("custom_authentication", "on_behalf_of_token_exchange")), "Kinds of exchange the client may use"),
		), "Exchange of outside tokens (RFC 8693)").clearable(),
		f("par_request_expiry", integer().between(10, 600).orNull(), "Life of a pushed request, in seconds"),
		f("token_quota", closed(f("client_credentials", free(), "The numbers, per hour and per day").must()), "How many machine tokens it may have").clearable(),
		f("resource_server_identifier", str().chars(1, 600), "Audience of the API that this client is the other side of").immutable(),
		f("third_party_security_mode", oneOf("strict", "permissive"), "How much a client of others is held to"),
		f("redirection_policy", oneOf("allow_always", "open_redirect_protection"), "Whether refusals are sent back to the client's callback"),
		f("express_configuration", free(), "Settings of express configuration; kept").clearable(),
		f("my_organization_configuration", free(), "Settings of organization self-service; kept").clearable(),
		f("async_approval_notification_channels", list(oneOf("guardian-push", "email")).notEmpty(), "Where an approval that comes later is asked for").clearable(),
		f("allow_plain_pkce", boolean(), "Accepts code_challenge_method=plain from this client. For clients that cannot do S256"),
		f("require_pkce", boolean(), "Asks a confidential client for PKCE too"),
		f("callback_url_template", boolean(), "Always false").readOnly(),
	}
}

func backchannelLogout(https shape) shape {
	return closed(
		f("backchannel_logout_urls", list(https), "Addresses of the client that receive logout tokens"),
		f("backchannel_logout_initiators", closed(
			f("mode", oneOf("custom", "all"), "all, or those selected"),
			f("selected_initiators", list(oneOf("rp-logout", "idp-logout", "password-changed", "session-expired", "session-revoked", "account-deleted",
				"email-identifier-changed", "mfa-phone-unenrolled", "account-deactivated")), "Those that count with mode custom"),
		), "Which ends of a session are told"),
		f("backchannel_logout_session_metadata", closed(f("include", boolean(), "Sends it")).orNull(), "The session's metadata in the logout token"),
	)
}

func refreshPolicy() shape {
	return closed(
		f("rotation_type", oneOf("rotating", "non-rotating"), "rotating: each use replaces the value; non-rotating: one value for the whole life").must(),
		f("expiration_type", oneOf("expiring", "non-expiring"), "expiring: the deadlines below hold; non-expiring: none does. Rotation needs expiring").must(),
		f("leeway", integer().between(0, 86400), "Seconds after a rotation in which the value before it may be repeated and gets the same successor; 0 is strict"),
		f("token_lifetime", integer().between(1, 157788000), "Seconds from issue to the end, whatever the use; 2592000 unless set"),
		f("infinite_token_lifetime", boolean(), "No absolute end; token_lifetime is then not looked at"),
		f("idle_token_lifetime", integer().between(1, 157788000), "Seconds without use to the end; 1296000 unless set, never more than token_lifetime"),
		f("infinite_idle_token_lifetime", boolean(), "No end by idleness; idle_token_lifetime is then not looked at"),
		f("policies", list(closed(
			f("audience", str().chars(1, 600), "Audience of the API").must(),
			f("scope", list(str().chars(1, 280)), "What may be asked there").must(),
		)).notEmpty().orNull(), "Further APIs, with their scopes, that a refresh may ask tokens for"),
	)
}

// newCredential is a credential as it is given with a client or on its own.
func newCredential() shape {
	return closed(
		f("credential_type", oneOf("public_key", "cert_subject_dn", "x509_cert"), "What kind of proof it is").must(),
		f("name", str().atMost(128), "A label for people, at most 128 characters"),
		f("subject_dn", str().chars(1, 256), "Name in the certificate, for mutual TLS"),
		f("pem", str().atMost(8192), "An RSA public key or a certificate in PEM; at least 2048 bits, never the private half").concealed(),
		f("alg", oneOf("RS256", "RS384", "PS256"), "Signature of the client's assertions; RS256 when left out"),
		f("parse_expiry_from_cert", boolean(), "Takes expires_at from the certificate"),
		f("expires_at", str().as("date-time").orNull(), "From this instant on, RFC 3339, the credential proves nothing; null is never"),
		f("kid", str().chars(10, 64).match(`^[0-9a-zA-Z-_]{10,64}$`), "Value of kid in the client's assertions; the key's thumbprint when left out"),
	)
}
