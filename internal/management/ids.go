package management

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// alnum is n random letters and digits.
func alnum(r io.Reader, n int) (string, error) {
	out := make([]byte, 0, n)
	buf := make([]byte, n)
	for len(out) < n {
		if _, err := io.ReadFull(r, buf); err != nil {
			return "", fmt.Errorf("draw an id: %w", err)
		}
		for _, b := range buf {
			// Values from 248 on would favour some letters.
			if b < 248 && len(out) < n {
				out = append(out, alphanumeric[b%62])
			}
		}
	}
	return string(out), nil
}

// hexID is 24 random lower-case hex digits (management-api.md §8).
func hexID(r io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("draw an id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// newSecret is a client secret: 64 characters, 384 random bits (SEC-7).
func newSecret(r io.Reader) (string, error) {
	var b [48]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("draw a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// invalid is a rule of a resource that a body breaks.
func invalid(message string) error {
	return &oauth.Error{Code: "invalid_body", Status: http.StatusBadRequest, Description: message}
}

func badRequest(code, message string) error {
	return &oauth.Error{Code: code, Status: http.StatusBadRequest, Description: message}
}

func notFound(code, message string) error {
	return &oauth.Error{Code: code, Status: http.StatusNotFound, Description: message}
}

func conflict(code, message string) error {
	return &oauth.Error{Code: code, Status: http.StatusConflict, Description: message}
}

func forbidden(code, message string) error {
	return &oauth.Error{Code: code, Status: http.StatusForbidden, Description: message}
}

// meaning says what the store's facts mean here; nil leaves a fact a fault.
func meaning(err, missing, exists error) error {
	switch {
	case errors.Is(err, tenant.ErrNotFound) && missing != nil:
		return missing
	case errors.Is(err, tenant.ErrExists) && exists != nil:
		return exists
	case errors.Is(err, tenant.ErrStale):
		return errPosition
	case errors.Is(err, tenant.ErrQuery):
		return badRequest("invalid_query_string", "Query validation error: 'The search cannot be understood' on property q.")
	}
	return err
}

// deleted is what DELETE answers: what is not there is deleted already
// (management-api.md §3).
func deleted(err error) error {
	if errors.Is(err, tenant.ErrNotFound) {
		return nil
	}
	return err
}
