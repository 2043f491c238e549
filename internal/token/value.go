package token

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// b64 refuses padding and spare bits that are not zero. It skips line breaks, so
// what comes from outside is looked at first (decode).
var b64 = base64.RawURLEncoding.Strict()

// decode reads base64url in its one spelling.
func decode(s string) ([]byte, bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return nil, false
		}
	}
	b, err := b64.DecodeString(s)
	return b, err == nil
}

// Hash is the SHA-256 of a value, base64url: what is kept of codes, cookies and
// tickets. It needs no salt, as the values have 256 random bits.
func Hash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return b64.EncodeToString(sum[:])
}

// Random is a value of 256 bits from rand, base64url: 43 characters.
func Random(rand io.Reader) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return b64.EncodeToString(b[:]), nil
}

// redacted stands for a value that is never printed, in every verb (SEC-248).
const redacted = "[redacted]"

func formatRedacted(f fmt.State, name string) { _, _ = io.WriteString(f, name+"("+redacted+")") }

func logRedacted(name string) slog.Value { return slog.StringValue(name + "(" + redacted + ")") }
