package audit

// The vendor's codes of the events we write (management-endpoints.md §14).
const (
	LoginSucceeded      = "s"
	LoginFailed         = "f"
	LoginWrongPassword  = "fp"
	LoginUnknownUser    = "fu"
	LoginWarning        = "w"
	OriginRefused       = "fco"
	SilentAuthSucceeded = "ssa"
	SilentAuthFailed    = "fsa"
	SignupSucceeded     = "ss"
	SignupFailed        = "fs"
	LogoutSucceeded     = "slo"
	LogoutFailed        = "flo"

	CodeExchanged              = "seacft"
	CodeRefused                = "feacft"
	ClientCredentialsExchanged = "seccft"
	ClientCredentialsRefused   = "feccft"
	DeviceRefused              = "fdeaz" // the first step: no codes were given
	DeviceActivationFailed     = "fdeac"
	DeviceDenied               = "fdecc"
	DeviceExchanged            = "sede"
	DeviceExchangeRefused      = "fede"
	PasswordExchanged          = "sepft"
	PasswordRefused            = "fepft"
	RefreshExchanged           = "sertft"
	RefreshRefused             = "fertft"
	RefreshReused              = "ferrt"
	RefreshRevoked             = "srrt"
	// ResourceCleanup: objects over a limit were removed, such as refresh-token
	// families beyond the limit of one user and client.
	ResourceCleanup = "resource_cleanup"

	UserDeleted           = "sdu"
	UserDeletionFailed    = "fdu"
	PasswordChanged       = "scp"
	PasswordChangeFailed  = "fcp"
	EmailChanged          = "sce"
	UsernameChanged       = "scu"
	UserUnblocked         = "ublkdu"
	UserManagementWarning = "wum"

	ManagementWritten = "sapi"
	ManagementRead    = "mgmt_api_read"
	KeysManaged       = "kms_key_management_success"
	KeysFailed        = "kms_key_management_failure"
	KeyStateChanged   = "kms_key_state_changed"

	LimitAccount    = "limit_wc"
	LimitUser       = "limit_sul"
	LimitAddress    = "limit_mu"
	LimitDelegation = "limit_delegation"
	RateLimited     = "api_limit"
	RateLimitNear   = "api_limit_warning"
	Deprecated      = "depnote"
)

// kind is what a code stands for. A refusal changes nothing and may be
// provoked at will, so like ones fold (D13).
type kind struct {
	description string
	refusal     bool
}

// kinds is the one table of codes; Description and Refusal read it.
var kinds = map[string]kind{
	LoginSucceeded:      {"Successful login", false},
	LoginFailed:         {"Failed login", true},
	LoginWrongPassword:  {"Wrong password", true},
	LoginUnknownUser:    {"Unknown e-mail address or user name", true},
	LoginWarning:        {"Warning during login", false},
	OriginRefused:       {"Origin not allowed (CORS)", true},
	SilentAuthSucceeded: {"Successful silent authentication", false},
	SilentAuthFailed:    {"Failed silent authentication", true},
	SignupSucceeded:     {"Successful sign-up", false},
	SignupFailed:        {"Failed sign-up", true},
	LogoutSucceeded:     {"Successful logout", false},
	LogoutFailed:        {"Failed logout", true},

	CodeExchanged:              {"Authorization code exchanged for an access token", false},
	CodeRefused:                {"Failed exchange of an authorization code", true},
	ClientCredentialsExchanged: {"Client credentials exchanged for an access token", false},
	ClientCredentialsRefused:   {"Failed exchange of client credentials", true},
	DeviceRefused:              {"Failed device authorization request", true},
	DeviceActivationFailed:     {"Failed device activation", true},
	DeviceDenied:               {"User cancelled the confirmation of a device", false},
	DeviceExchanged:            {"Device code exchanged for an access token", false},
	DeviceExchangeRefused:      {"Failed exchange of a device code", true},
	PasswordExchanged:          {"Password exchanged for an access token", false},
	PasswordRefused:            {"Failed exchange of a password", true},
	RefreshExchanged:           {"Refresh token exchanged for an access token", false},
	RefreshRefused:             {"Failed exchange of a refresh token", true},
	RefreshReused:              {"Failed exchange of a rotated refresh token: reuse detected", true},
	RefreshRevoked:             {"Refresh token revoked", false},
	ResourceCleanup:            {"Objects over a limit removed", false},

	UserDeleted:           {"User deleted", false},
	UserDeletionFailed:    {"Failed deletion of a user", true},
	PasswordChanged:       {"Password changed", false},
	PasswordChangeFailed:  {"Failed change of a password", true},
	EmailChanged:          {"E-mail address changed", false},
	UsernameChanged:       {"User name changed", false},
	UserUnblocked:         {"User unblocked", false},
	UserManagementWarning: {"User management warning", false},

	ManagementWritten: {"Successful Management API write", false},
	ManagementRead:    {"Successful Management API read of secrets", false},
	KeysManaged:       {"Key management succeeded", false},
	KeysFailed:        {"Key management failed", true},
	KeyStateChanged:   {"Key changed its state", false},

	LimitAccount:    {"Too many failed logins to one account from one address", true},
	LimitUser:       {"Too many logins of one user", true},
	LimitAddress:    {"Address blocked: too many failed logins", true},
	LimitDelegation: {"Delegation rate reached", true},
	RateLimited:     {"API rate limit reached", true},
	RateLimitNear:   {"API rate limit nearly reached", true},
	Deprecated:      {"Deprecated feature used", true},
}

// Description is the fixed text of a code; empty for a code we never write.
func Description(code string) string { return kinds[code].description }

// Refusal tells whether events of the code change nothing and fold.
func Refusal(code string) bool { return kinds[code].refusal }
