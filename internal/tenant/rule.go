package tenant

// RuleContext is what a tenant's rules hear of a token request before it is
// answered (rules-and-actions.md): one run a request, no transaction open.
type RuleContext struct {
	TenantID string
	// Protocol is oidc-basic-profile, oauth2-refresh-token, oauth2-password or
	// oauth2-device-code.
	Protocol string
	Client   Client
	User     User
	Audience string
	Scopes   []string
	// SessionID is the login session, or empty.
	SessionID string
	Origin    Origin
}

// RuleResult is what the rules say.
type RuleResult struct {
	// Denied refuses the request with Message.
	Denied  bool
	Message string
}
