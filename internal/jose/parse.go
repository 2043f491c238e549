package jose

import (
	"fmt"
	"strings"
)

const (
	// MaxTokenSize is the longest compact JWS that ParseCompact reads, in bytes (SEC-92).
	MaxTokenSize = 16 << 10
	// MaxKidSize is the longest key id, in bytes (SEC-88).
	MaxKidSize = 256
)

// Token is a compact JWS taken apart. Nothing in it is true before Key.Verify
// has said so of SigningInput and Signature.
type Token struct {
	Alg Algorithm // what the token says of itself, not what to believe (SEC-87)
	Typ string    // as written; empty when absent
	Kid string    // an opaque value to look up; empty when absent

	Header       []byte   // the header's JSON
	Payload      []byte   // the payload's JSON, one object
	Claims       []Member // the payload's members, pointing into Payload
	SigningInput []byte   // header and payload as they were encoded
	Signature    []byte
}

// ParseCompact takes a compact JWS with a JSON object as payload apart,
// without verifying it. There is one spelling of every token (SEC-92): three
// parts of unpadded base64url whose spare bits are zero, no JSON name twice.
// Every error is ErrMalformed and repeats nothing of the input (SEC-99).
func ParseCompact(raw string) (Token, error) {
	if len(raw) > MaxTokenSize { // before any work (CVE-2025-30204)
		return Token{}, malformed("token longer than 16 KiB")
	}
	first := strings.IndexByte(raw, '.')
	last := strings.LastIndexByte(raw, '.')
	// Line breaks are all that the decoder, which is strict, would let pass.
	if first <= 0 || last <= first+1 || last == len(raw)-1 ||
		strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return Token{}, malformed("not three parts of base64url")
	}

	// One buffer holds the copy that is hashed and the three decoded parts.
	buf := make([]byte, len(raw), len(raw)+len(raw)*3/4)
	copy(buf, raw)
	t := Token{SigningInput: buf[:last:last]}
	for _, part := range []struct {
		from, to int
		into     *[]byte
	}{
		{0, first, &t.Header},
		{first + 1, last, &t.Payload},
		{last + 1, len(raw), &t.Signature},
	} {
		start := len(buf)
		var err error
		if buf, err = b64.AppendDecode(buf, buf[part.from:part.to]); err != nil {
			return Token{}, malformed("not base64url")
		}
		*part.into = buf[start:len(buf):len(buf)]
	}

	if err := t.readHeader(); err != nil {
		return Token{}, err
	}
	var err error
	t.Claims, err = AppendMembers(make([]Member, 0, 16), t.Payload)
	if err != nil {
		return Token{}, err
	}
	return t, nil
}

// readHeader reads the members that matter and refuses those that would change
// how the rest is read. Keys offered by the token (jwk, jku, x5u, x5c, x5t) are
// left alone: nobody reads them (SEC-88).
func (t *Token) readHeader() error {
	var buf [8]Member
	members, err := AppendMembers(buf[:0], t.Header)
	if err != nil {
		return err
	}
	for _, m := range members {
		ok := true
		switch string(m.Name) {
		case "alg":
			var s string
			s, ok = usual(m.Value)
			t.Alg = Algorithm(s)
		case "typ":
			t.Typ, ok = usual(m.Value)
		case "kid":
			t.Kid, ok = StringValue(m.Value)
			ok = ok && len(t.Kid) <= MaxKidSize
		case "crit", "b64":
			// We understand no extension, so whatever is critical refuses the
			// token, an empty list too (SEC-91; RFC 7515 §4.1.11, RFC 7797 §6).
			return malformed("header extension")
		case "enc", "zip":
			return malformed("encrypted or compressed") // SEC-93
		}
		if !ok {
			return malformed("header member of the wrong type")
		}
	}
	if t.Alg == "" {
		return malformed("no alg")
	}
	return nil
}

// usual is StringValue, without an allocation for what most headers say.
func usual(value []byte) (string, bool) {
	switch string(value) {
	case `"RS256"`:
		return string(RS256), true
	case `"ES256"`:
		return string(ES256), true
	case `"PS256"`:
		return string(PS256), true
	case `"EdDSA"`:
		return string(EdDSA), true
	case `"HS256"`:
		return string(HS256), true
	case `"JWT"`:
		return "JWT", true
	case `"at+jwt"`:
		return "at+jwt", true
	}
	return StringValue(value)
}

func malformed(why string) error { return fmt.Errorf("%w: %s", ErrMalformed, why) }

// onlyBase64URL reports whether s is not empty and holds nothing but the
// alphabet of RFC 4648 §5.
func onlyBase64URL(s string) bool {
	for i := range len(s) {
		if !base64URLAlphabet[s[i]] {
			return false
		}
	}
	return s != ""
}

var base64URLAlphabet = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = true
	}
	return t
}()
