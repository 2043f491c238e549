package tokensource

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrSealed is what Sealer.Open returns for what was not sealed by it under
// this Key: the secret is another, or somebody changed or moved the bytes.
var ErrSealed = errors.New("tokensource: the stored entry cannot be opened")

// Sealer encrypts entries for a Store that keeps them outside of the process,
// with AES-256-GCM under random nonces. The Key goes along as associated data,
// so that an entry that was moved to another key does not open (SEC-243).
type Sealer struct{ keys []cipher.AEAD }

// sealedVersion is the first byte of what is sealed, and part of the
// associated data.
const sealedVersion = 1

// NewSealer returns a Sealer with a secret key of 32 random bytes, which the
// caller keeps in another place than the store. Older keys open what they
// sealed and seal nothing any more. One key must not seal more than 2^32 times.
func NewSealer(key []byte, older ...[]byte) (*Sealer, error) {
	s := new(Sealer)
	for _, k := range append([][]byte{key}, older...) {
		if len(k) != 32 {
			return nil, errors.New("tokensource: a key of a Sealer has 32 bytes")
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("tokensource: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("tokensource: %w", err)
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// plain is an Entry with its secrets in clear.
type plain struct {
	AccessToken  string    `json:"access_token,omitempty"`
	TokenType    string    `json:"token_type,omitempty"`
	Scopes       []string  `json:"scopes,omitempty"`
	IssuedAt     time.Time `json:"issued_at,omitzero"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	IDToken      string    `json:"id_token,omitempty"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	Attempt      string    `json:"attempt,omitempty"`
}

// Seal encrypts the entry of a key.
func (s *Sealer) Seal(key Key, e Entry) ([]byte, error) {
	text, err := json.Marshal(plain{
		AccessToken: e.Token.AccessToken.Reveal(), TokenType: e.Token.TokenType, Scopes: e.Token.Scopes,
		IssuedAt: e.Token.IssuedAt, ExpiresAt: e.Token.ExpiresAt, IDToken: e.Token.IDToken.Reveal(),
		RefreshToken: e.RefreshToken.Reveal(), Attempt: e.Attempt.Reveal(),
	})
	if err != nil {
		return nil, fmt.Errorf("tokensource: seal: %w", err)
	}
	return s.keys[0].Seal([]byte{sealedVersion}, nil, text, associated(key)), nil
}

// Open decrypts what Seal made for the same key. Everything else is ErrSealed.
func (s *Sealer) Open(key Key, sealed []byte) (Entry, error) {
	if len(sealed) == 0 || sealed[0] != sealedVersion {
		return Entry{}, ErrSealed
	}
	for _, aead := range s.keys {
		text, err := aead.Open(nil, nil, sealed[1:], associated(key))
		if err != nil {
			continue
		}
		var p plain
		if err := json.Unmarshal(text, &p); err != nil {
			return Entry{}, ErrSealed
		}
		return Entry{
			Token: Token{
				AccessToken: NewSecret(p.AccessToken), TokenType: p.TokenType, Scopes: p.Scopes,
				IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt, IDToken: NewSecret(p.IDToken),
			},
			RefreshToken: NewSecret(p.RefreshToken), Attempt: NewSecret(p.Attempt),
		}, nil
	}
	return Entry{}, ErrSealed
}

func associated(key Key) []byte {
	return append([]byte{sealedVersion}, key.String()...)
}

// Format implements fmt.Formatter: the keys are not printed.
func (*Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "tokensource.Sealer") }
