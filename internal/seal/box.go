package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// keySize is that of AES-256 and of every derived key.
const keySize = 32

var b64 = base64.RawURLEncoding.Strict()

// box seals under one key. The random nonce of 96 bits is good for 2^32 values
// under one key (NIST SP 800-38D §8.3); records are few beside that.
type box struct{ aead cipher.AEAD }

func newBox(key []byte) (box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return box{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return box{}, err
	}
	return box{aead}, nil
}

func (b box) seal(aad, plaintext []byte) string {
	return b64.EncodeToString(b.aead.Seal(nil, nil, plaintext, aad))
}

func (b box) open(aad []byte, sealed string) ([]byte, error) {
	// Go's decoder skips line breaks; a sealed text has one spelling.
	if strings.ContainsAny(sealed, "\r\n") {
		return nil, ErrDamaged
	}
	text, err := b64.DecodeString(sealed)
	if err != nil {
		return nil, ErrDamaged
	}
	plaintext, err := b.aead.Open(nil, nil, text, aad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}

// derive is HKDF-SHA-256 (RFC 5869) of secret for one label.
func derive(secret []byte, label string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, label, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}

// bind joins parts so that no two lists of parts give the same bytes.
func bind(parts ...string) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}
