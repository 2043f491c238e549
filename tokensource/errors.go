package tokensource

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrLoginRequired says that there is no refresh token, or that the issuer
// refused it for good: only the user can help, by signing in again.
var ErrLoginRequired = errors.New("tokensource: the user has to sign in again")

// Error is an answer of the token endpoint that is not a token. It matches
// ErrLoginRequired if it ended a refresh token.
type Error struct {
	Status      int           // HTTP status
	Code        string        // "error" of RFC 6749 §5.2; empty if the answer had none
	Description string        // error_description, printable ASCII
	RetryAfter  time.Duration // what the issuer asked for; 0 if nothing

	refresh bool // the request presented a refresh token
}

// Error implements error.
func (e *Error) Error() string {
	text := fmt.Sprintf("tokensource: the token endpoint answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// Is implements errors.Is for ErrLoginRequired.
func (e *Error) Is(target error) bool { return target == ErrLoginRequired && e.endsGrant() }

// endsGrant is the one answer that makes us drop a refresh token (SEC-246). It
// must be the issuer's own refusal: a status of 500, say, makes whatever stands
// in the body doubtful.
func (e *Error) endsGrant() bool {
	return e.refresh && e.Code == "invalid_grant" && e.Status >= 400 && e.Status < 500 && !e.retryable()
}

// retryable reports whether the same request may succeed later, by itself.
func (e *Error) retryable() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}

// retryAfter reads Retry-After, in either form (RFC 9110 §10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// printable makes text of others fit for a log line (SEC-231).
func printable(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}
