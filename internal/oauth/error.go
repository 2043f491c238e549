package oauth

import (
	"errors"
	"net/http"
	"strings"
)

// Error codes, as they stand on the wire.
const (
	InvalidRequest         = "invalid_request"           // RFC 6749 §5.2
	InvalidClient          = "invalid_client"            // RFC 6749 §5.2
	InvalidGrant           = "invalid_grant"             // RFC 6749 §5.2
	UnauthorizedClient     = "unauthorized_client"       // RFC 6749 §5.2
	UnsupportedGrantType   = "unsupported_grant_type"    // RFC 6749 §5.2
	InvalidScope           = "invalid_scope"             // RFC 6749 §5.2
	AccessDenied           = "access_denied"             // RFC 6749 §4.1.2.1; the vendor's 401 of the token endpoint too
	UnsupportedResponse    = "unsupported_response_type" // RFC 6749 §4.1.2.1
	ServerError            = "server_error"              // RFC 6749 §4.1.2.1
	TemporarilyUnavailable = "temporarily_unavailable"   // RFC 6749 §4.1.2.1
	LoginRequired          = "login_required"            // OIDC Core §3.1.2.6
	ConsentRequired        = "consent_required"          // OIDC Core §3.1.2.6
	InteractionRequired    = "interaction_required"      // OIDC Core §3.1.2.6
	InvalidToken           = "invalid_token"             // RFC 6750 §3.1
	InsufficientScope      = "insufficient_scope"        // RFC 6750 §3.1
	AuthorizationPending   = "authorization_pending"     // RFC 8628 §3.5
	SlowDown               = "slow_down"                 // RFC 8628 §3.5
	ExpiredToken           = "expired_token"             // RFC 8628 §3.5
	Unauthorized           = "unauthorized"              // the vendor: blocked user, a rule's refusal
	TooManyRequests        = "too_many_requests"         // the vendor: rate limit
	TooManyAttempts        = "too_many_attempts"         // the vendor: brute force
	MFARequired            = "mfa_required"              // the vendor
)

// Error is the one error type that crosses the wire. Code, Description and
// Status are public; Reason and Err are for the event and the log.
type Error struct {
	// Code is the value of the error member.
	Code string
	// Description is fixed text: no cause, no input echoed, no quote and no
	// backslash (RFC 6749 §5.2), but where the vendor's text names a value (Quote).
	Description string
	// Status is the HTTP status.
	Status int
	// Reason is the stable word the event log keeps (D14): idle, absolute,
	// reused, user_blocked, … Empty means Code says it all.
	Reason string
	// Err is the cause, or nil. It never reaches a caller.
	Err error
}

// NewError is an Error with the status that Code usually has. err may be nil.
func NewError(code, description string, err error) *Error {
	return &Error{Code: code, Description: description, Status: usualStatus(code), Err: err}
}

// Unavailable is what every fault of ours looks like from outside: 503, and
// nothing about the credential (SEC-2).
func Unavailable(err error) *Error {
	return &Error{Code: TemporarilyUnavailable, Description: "The service is temporarily unavailable. Try again.", Status: http.StatusServiceUnavailable, Err: err}
}

// WithStatus is e with another status.
func (e *Error) WithStatus(status int) *Error {
	c := *e
	c.Status = status
	return &c
}

// WithReason is e with the word the event log keeps.
func (e *Error) WithReason(reason string) *Error {
	c := *e
	c.Reason = reason
	return &c
}

// Error names the code, the public text and the cause; it is meant for the log.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Description
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the Error in err. What is none, is a fault of ours, and a fault
// of ours says nothing about the credential: 503 (SEC-2).
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Unavailable(err)
}

// usualStatus follows the vendor where it departs from RFC 6749: invalid_grant
// is 403 (authentication-api.md §4.12).
func usualStatus(code string) int {
	switch code {
	case InvalidClient, InvalidToken:
		return http.StatusUnauthorized
	case InvalidGrant, UnauthorizedClient, UnsupportedGrantType, AccessDenied, InsufficientScope, Unauthorized, MFARequired,
		AuthorizationPending, ExpiredToken:
		return http.StatusForbidden
	case TooManyRequests, TooManyAttempts, SlowDown:
		return http.StatusTooManyRequests
	case ServerError:
		return http.StatusInternalServerError
	case TemporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Quote makes an input fit to be named in a Description where the vendor's text
// names it: printable ASCII without quote and backslash, cut at 256 bytes.
func Quote(value string) string {
	var b strings.Builder
	for i := 0; i < len(value) && b.Len() < 256; i++ {
		if c := value[i]; c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			b.WriteByte(c)
		} else {
			b.WriteByte('?')
		}
	}
	return b.String()
}
