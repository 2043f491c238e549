// Package password hashes, compares and judges passwords.
//
// Hashes are Argon2id in the PHC string form, with their parameters (SEC-179).
// At most a fixed number is computed at a time, whatever callers do, so that
// the memory is a configured number (SEC-182). The package refuses passwords it
// would have to cut (SEC-180) and stored parameters nobody chose (SEC-183), and
// it never says which part of a login was wrong: an unknown user costs what a
// wrong password costs (SEC-162).
package password

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"runtime/metrics"

	"golang.org/x/crypto/argon2"
)

// MaxLength is the longest password, in bytes (SEC-180).
const MaxLength = 1024

var (
	// ErrBusy says that too many hashes wait already; the same call may work later.
	ErrBusy = errors.New("password hashing is busy")
	// ErrTooLong says that the password has more than MaxLength bytes.
	ErrTooLong = errors.New("password too long")
	// ErrEncoding says that a stored hash is not one of ours, or asks for more
	// than we would ever spend (SEC-183).
	ErrEncoding = errors.New("unusable password hash")
)

// Options of a Hasher. The zero value means the defaults.
type Options struct {
	// Parallel is how many hashes are computed at a time; zero means GOMAXPROCS.
	Parallel int
	// Queue is how many more may wait; zero means 64, less than zero none.
	Queue int
	// Memory in KiB, Passes and Lanes are the parameters of new hashes; zero
	// means 19456, 2 and 1 (SEC-179).
	Memory uint32
	Passes uint32
	Lanes  uint8
	// MaxMemory in KiB is the most a stored hash may ask for; zero means 65536.
	// Parallel × MaxMemory is the worst case of the whole package.
	MaxMemory uint32
	// Rand gives salts; nil means crypto/rand.
	Rand io.Reader
}

// Hasher hashes passwords. It is safe for concurrent use.
type Hasher struct {
	params    params
	maxMemory uint32
	rand      io.Reader
	// places are taken by all who compute or wait, slots by those who compute.
	places chan struct{}
	slots  chan struct{}
}

// NewHasher is a Hasher with these options.
func NewHasher(o Options) *Hasher {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Queue == 0:
		o.Queue = 64
	case o.Queue < 0:
		o.Queue = 0
	}
	if o.Memory == 0 {
		o.Memory = 19 * 1024
	}
	if o.Passes == 0 {
		o.Passes = 2
	}
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 64 * 1024
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Hasher{
		params:    params{memory: o.Memory, passes: o.Passes, lanes: o.Lanes},
		maxMemory: max(o.MaxMemory, o.Memory),
		rand:      o.Rand,
		places:    make(chan struct{}, o.Parallel+o.Queue),
		slots:     make(chan struct{}, o.Parallel),
	}
}

// Hash is the encoded hash of a password under a new salt. ErrTooLong and
// ErrBusy refuse it; a cancelled ctx ends the wait, not the work.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > MaxLength {
		return "", ErrTooLong
	}
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", err
	}
	sum, err := h.compute(ctx, h.params, salt, hashSize, password)
	if err != nil {
		return "", err
	}
	return encode(h.params, salt, sum), nil
}

// Verify tells whether password is the one that was encoded, and, when it is,
// whether it should be hashed again because the parameters are no longer ours
// (SEC-179). An empty encoded means that there is no such user: the work is done
// all the same and nothing matches (SEC-162). ErrTooLong is told before any
// look at encoded. ErrBusy and ErrEncoding are faults, not mismatches.
func (h *Hasher) Verify(ctx context.Context, encoded, password string) (match, rehash bool, err error) {
	if len(password) > MaxLength {
		return false, false, ErrTooLong
	}
	if encoded == "" {
		_, err := h.compute(ctx, h.params, make([]byte, saltSize), hashSize, password)
		return false, false, err
	}
	p, salt, want, err := decode(encoded, h.maxMemory)
	if err != nil {
		return false, false, err
	}
	got, err := h.compute(ctx, p, salt, uint32(len(want)), password)
	if err != nil {
		return false, false, err
	}
	match = equal(got, want)
	return match, match && (p != h.params || len(salt) < saltSize || len(want) < hashSize), nil
}

func (h *Hasher) compute(ctx context.Context, p params, salt []byte, size uint32, password string) ([]byte, error) {
	return h.run(ctx, func() []byte {
		sum := argon2.IDKey([]byte(password), salt, p.passes, p.memory, p.lanes, size)
		collect(uint64(p.memory) << 10)
		return sum
	})
}

// collect frees the memory of a hash that has ended before the next one may
// begin. The collector paces itself by the heap it last saw, a hash included, and
// would let two more pile up: three times the memory that SEC-182 calls a
// configured number. Where the heap is large against a hash it paces well, and
// collecting would cost more than it frees.
func collect(hash uint64) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() == metrics.KindUint64 && sample[0].Value.Uint64() < 4*hash && hash >= 1<<20 {
		runtime.GC()
	}
}

// run computes one hash when a slot is free. The slot is given back when the
// hash has ended, not when the caller has gone: else callers that hang up could
// start any number of them (SEC-182).
func (h *Hasher) run(ctx context.Context, hash func() []byte) ([]byte, error) {
	select {
	case h.places <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		<-h.places
		return nil, ctx.Err()
	}
	done := make(chan []byte, 1)
	go func() {
		defer func() { <-h.slots; <-h.places }()
		done <- hash()
	}()
	select {
	case sum := <-done:
		return sum, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
