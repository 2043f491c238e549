package token

import (
	"fmt"
	"io"
	"strings"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// Alphabets of user codes: no vowels, so that they spell no words, and nothing
// that looks like another (RFC 8628 §6.1).
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeDigits  = "0123456789"
)

// The shortest user codes of 40 bits (SEC-66), and how they are shown: 20^10 and
// 10^13 are both 43 bits. The vendor's default mask has 34.
const (
	minLetters  = 10
	minDigits   = 13
	lettersMask = "*****-*****"
	digitsMask  = "****-***-***-***"
)

// NewUserCode draws a code that a person reads off a device and types elsewhere,
// as the tenant wants it to look. A mask that makes codes of less than 40 bits is
// not used.
func NewUserCode(rand io.Reader, look *tenant.DeviceFlow) (string, error) {
	alphabet, least, mask := userCodeLetters, minLetters, lettersMask
	if look != nil {
		if look.Charset == "digits" {
			alphabet, least, mask = userCodeDigits, minDigits, digitsMask
		}
		if strings.Count(look.Mask, "*") >= least && onlyMask(look.Mask) {
			mask = look.Mask
		}
	}
	code := []byte(mask)
	for i := range code {
		if code[i] != '*' {
			continue
		}
		n, err := uniform(rand, len(alphabet))
		if err != nil {
			return "", err
		}
		code[i] = alphabet[n]
	}
	return string(code), nil
}

func onlyMask(mask string) bool { return len(mask) <= 20 && strings.Trim(mask, "*- ") == "" }

// uniform is a number below n ≤ 256, each as likely as any other.
func uniform(rand io.Reader, n int) (int, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return 0, fmt.Errorf("read randomness: %w", err)
		}
		if v := int(b[0]); v < 256-256%n {
			return v % n, nil
		}
	}
}

// UserCodeHash is what is kept of a user code. Case, separators and spaces are
// not part of it, since people leave them out.
func UserCodeHash(typed string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, typed)
	return Hash("user code " + plain)
}
