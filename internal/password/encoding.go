package password

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

const (
	saltSize = 16 // bytes: 128 bits (SEC-179)
	hashSize = 32
)

// params are the cost of a hash: memory in KiB, passes over it, lanes.
type params struct {
	memory uint32
	passes uint32
	lanes  uint8
}

// The most a stored hash may ask for besides memory (SEC-183).
const (
	maxPasses = 10
	maxLanes  = 8
)

var b64 = base64.RawStdEncoding.Strict()

// encode writes the PHC string of a hash.
func encode(p params, salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.memory, p.passes, p.lanes, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// decode reads a PHC string and bounds what it asks for before anything is
// spent (SEC-183). Its errors do not repeat the hash.
func decode(encoded string, maxMemory uint32) (p params, salt, sum []byte, err error) {
	refuse := func(why string) (params, []byte, []byte, error) {
		return params{}, nil, nil, fmt.Errorf("%w: %s", ErrEncoding, why)
	}
	if len(encoded) > 512 {
		return refuse("too long")
	}
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return refuse("not an argon2id string")
	}
	var version int
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return refuse("another version of argon2")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); n != 3 || err != nil {
		return refuse("no parameters")
	}
	if p.passes < 1 || p.passes > maxPasses || p.lanes < 1 || p.lanes > maxLanes ||
		p.memory < 8*uint32(p.lanes) || p.memory > maxMemory {
		return refuse("parameters out of bounds")
	}
	salt, err = b64.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return refuse("bad salt")
	}
	sum, err = b64.DecodeString(parts[5])
	if err != nil || len(sum) < 16 || len(sum) > 64 {
		return refuse("bad hash")
	}
	if encode(p, salt, sum) != encoded {
		return refuse("another spelling")
	}
	return p, salt, sum, nil
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
