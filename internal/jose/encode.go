package jose

import (
	"encoding/base64"
	"fmt"
	"slices"
	"unicode/utf8"
)

// b64 refuses padding and spare bits that are not zero; it skips line breaks,
// so what comes from outside is searched for them first (SEC-92).
var b64 = base64.RawURLEncoding.Strict()

// Header is the protected header of the tokens we make. Typ and Kid are left
// out when they are empty.
type Header struct {
	Alg Algorithm
	Typ string
	Kid string
}

// Encoder makes compact JWS with one header and one key. It is safe for
// concurrent use when its Signer is.
type Encoder struct {
	prefix string // base64url(header) and the dot
	signer Signer
}

// NewEncoder returns an Encoder that signs with s. The caller sees to it that
// h.Alg is what s does.
func NewEncoder(h Header, s Signer) *Encoder {
	j := append([]byte(nil), `{"alg":`...)
	j = AppendString(j, string(h.Alg))
	if h.Typ != "" {
		j = AppendString(append(j, `,"typ":`...), h.Typ)
	}
	if h.Kid != "" {
		j = AppendString(append(j, `,"kid":`...), h.Kid)
	}
	j = append(j, '}')
	return &Encoder{prefix: b64.EncodeToString(j) + ".", signer: s}
}

// Encode appends the compact JWS of payload to dst (RFC 7515 §7.1). When it
// fails it returns dst as it was.
func (e *Encoder) Encode(dst, payload []byte) ([]byte, error) {
	start := len(dst)
	// 700 characters hold the signature of a 4096-bit RSA key.
	out := slices.Grow(dst, len(e.prefix)+b64.EncodedLen(len(payload))+700)
	out = append(out, e.prefix...)
	out = b64.AppendEncode(out, payload)
	sig, err := e.signer.Sign(out[start:])
	if err != nil {
		return dst, fmt.Errorf("sign token: %w", err)
	}
	out = append(out, '.')
	return b64.AppendEncode(out, sig), nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string (RFC 8259 §7). Characters that
// could end a script or an attribute are escaped too, so the result may stand
// in HTML; bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
				i++
				continue
			}
			dst = append(dst, s[done:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[done:i]...)
			dst = append(dst, `\ufffd`...)
			done = i + size
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript, not to JSON
			dst = append(dst, s[done:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&15])
			done = i + size
		}
		i += size
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}
