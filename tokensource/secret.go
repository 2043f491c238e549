package tokensource

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a token, or a client's secret. Every printed, JSON and logged form
// of it is redacted, also inside of other types (SEC-248): the text is behind
// a pointer, which fmt does not follow even where it cannot call our methods.
// The zero value is the empty secret.
type Secret struct{ text *string }

// NewSecret wraps a secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the secret itself. It is for sending it, and for a Store that
// keeps it; never for printing.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (s Secret) equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON implements json.Marshaler. What it writes cannot be read again:
// a Store uses Reveal.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
