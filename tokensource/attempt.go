package tokensource

import (
	"crypto/rand"
	"encoding/base64"
)

// AttemptHeader is the request header with the nonce of a rotation:
//
//	POST /oauth/token
//	Bulla-Attempt: 5mX1n0…   (43 characters of base64url: 256 random bits)
//
// A client makes a fresh one for each rotation of a refresh token, stores it
// before the first try, sends the same one with every repetition, whenever
// that is, and drops it when the answer is stored. The issuer can then tell a
// repetition from a thief and answers it as it answered first. It is sent where
// discovery says "refresh_token_retry_supported": true, or Config.Attempts, and
// only with grant_type=refresh_token.
const AttemptHeader = "Bulla-Attempt"

func newAttempt() Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program first
	return NewSecret(base64.RawURLEncoding.EncodeToString(b[:]))
}
