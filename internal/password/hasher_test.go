package password

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"
)

// cheap is a Hasher whose hashes take no time worth speaking of.
func cheap(o Options) *Hasher {
	o.Memory, o.Passes, o.Lanes = 8, 1, 1
	return NewHasher(o)
}

func mustHash(t testing.TB, h *Hasher, password string) string {
	t.Helper()
	encoded, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// SEC-179: Argon2id, 19 MiB, two passes, one lane, a salt of 128 bits, the
// parameters with the hash.
func TestDefaultParameters(t *testing.T) {
	t.Parallel()
	h := NewHasher(Options{})
	encoded := mustHash(t, h, "correct horse battery staple")
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(encoded) {
		t.Errorf("encoded = %s", encoded)
	}
	for password, want := range map[string]bool{"correct horse battery staple": true, "Correct horse battery staple": false, "": false} {
		match, rehash, err := h.Verify(t.Context(), encoded, password)
		if err != nil || match != want || rehash {
			t.Errorf("Verify(%q) = %v, %v, %v, want %v, false", password, match, rehash, err, want)
		}
	}
	if again := mustHash(t, h, "correct horse battery staple"); again == encoded {
		t.Error("two hashes of one password are the same: the salt is")
	}
}

// RFC 9106 has no vector for this call; the library is the reference.
func TestHashIsArgon2id(t *testing.T) {
	t.Parallel()
	h := NewHasher(Options{Memory: 64, Passes: 3, Lanes: 2, Rand: bytes.NewReader(make([]byte, saltSize))})
	encoded := mustHash(t, h, "password")
	want := encode(params{64, 3, 2}, make([]byte, saltSize), argon2.IDKey([]byte("password"), make([]byte, saltSize), 3, 64, 2, hashSize))
	if encoded != want {
		t.Errorf("Hash = %s, want %s", encoded, want)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	h := cheap(Options{})
	rapid.Check(t, func(rt *rapid.T) {
		password := string(rapid.SliceOfN(rapid.Byte(), 0, MaxLength).Draw(rt, "password"))
		encoded := mustHash(t, h, password)
		match, rehash, err := h.Verify(t.Context(), encoded, password)
		if !match || rehash || err != nil {
			rt.Fatalf("Verify = %v, %v, %v", match, rehash, err)
		}
		if match, _, err := h.Verify(t.Context(), encoded, password+"x"); match || err != nil && !errors.Is(err, ErrTooLong) {
			rt.Fatalf("Verify with a character more = %v, %v", match, err)
		}
	})
}

// SEC-180: every byte counts up to 1,024; more is refused, nothing is cut.
func TestTheWholePasswordCounts(t *testing.T) {
	t.Parallel()
	h := cheap(Options{})
	long := strings.Repeat("a", MaxLength)
	encoded := mustHash(t, h, long)
	for _, n := range []int{1, 73, 256, 1024} {
		other := long[:n-1] + "b" + long[n:]
		if match, _, err := h.Verify(t.Context(), encoded, other); match || err != nil {
			t.Errorf("a password that differs at byte %d: %v, %v", n, match, err)
		}
	}
	if match, _, err := h.Verify(t.Context(), encoded, long); !match || err != nil {
		t.Errorf("1,024 bytes: %v, %v", match, err)
	}
	if _, err := h.Hash(t.Context(), long+"a"); !errors.Is(err, ErrTooLong) {
		t.Errorf("Hash of 1,025 bytes = %v, want ErrTooLong", err)
	}
	for _, stored := range []string{encoded, "", "broken"} {
		if match, _, err := h.Verify(t.Context(), stored, long+"a"); match || !errors.Is(err, ErrTooLong) {
			t.Errorf("Verify of 1,025 bytes against %.12q = %v, %v, want ErrTooLong, whoever the user", stored, match, err)
		}
	}
}

// SEC-179: hashes with other parameters still match and are to be made again.
func TestRehash(t *testing.T) {
	t.Parallel()
	old := mustHash(t, NewHasher(Options{Memory: 16, Passes: 1}), "password")
	now := NewHasher(Options{Memory: 32, Passes: 1})
	match, rehash, err := now.Verify(t.Context(), old, "password")
	if !match || !rehash || err != nil {
		t.Errorf("Verify = %v, %v, %v, want match and rehash", match, rehash, err)
	}
	if match, rehash, _ := now.Verify(t.Context(), old, "wrong"); match || rehash {
		t.Errorf("Verify(wrong) = %v, %v: only who knows the password may renew it", match, rehash)
	}
}

// SEC-183: what a stored hash asks for is bounded before anything is spent.
func TestStoredParametersAreBounded(t *testing.T) {
	t.Parallel()
	h := cheap(Options{MaxMemory: 1024})
	good := mustHash(t, h, "password")
	tail := good[strings.Index(good, ",t="):]
	rest := good[strings.Index(good, "$v="):]
	tests := map[string]string{
		"4 GiB":             "$argon2id$v=19$m=4194304" + tail,
		"more than 32 bits": "$argon2id$v=19$m=99999999999" + tail,
		"over the bound":    "$argon2id$v=19$m=1025" + tail,
		"no memory":         "$argon2id$v=19$m=0" + tail,
		"negative":          "$argon2id$v=19$m=-8" + tail,
		"a million passes":  strings.Replace(good, "t=1", "t=1000000", 1),
		"no passes":         strings.Replace(good, "t=1", "t=0", 1),
		"255 lanes":         strings.Replace(good, "p=1", "p=255", 1),
		"no lanes":          strings.Replace(good, "p=1", "p=0", 1),
		"argon2i":           "$argon2i" + rest,
		"argon2d":           "$argon2d" + rest,
		"old version":       strings.Replace(good, "v=19", "v=16", 1),
		"bcrypt":            "$2b$10$abcdefghijklmnopqrstuv",
		"no hash":           good[:strings.LastIndexByte(good, '$')+1],
		"short hash":        good[:len(good)-40],
		"line break":        good + "\n",
		"another spelling":  strings.Replace(good, "m=8", "m=08", 1),
		"not base64":        good[:len(good)-1] + "*",
		"a word":            "password",
		"very long":         good + strings.Repeat("A", 1000),
	}
	for name, encoded := range tests {
		t.Run(name, func(t *testing.T) {
			if encoded == good {
				t.Fatal("the case changed nothing")
			}
			if match, _, err := h.Verify(t.Context(), encoded, "password"); match || !errors.Is(err, ErrEncoding) || strings.Contains(err.Error(), "argon2id$") {
				t.Errorf("Verify = %v, %v, want ErrEncoding without the hash", match, err)
			}
		})
	}
}

// SEC-162: for an unknown user the same hash is computed and nothing matches: it
// takes the same memory and needs the same slot. Not parallel, to count alone.
func TestUnknownUserCostsAHash(t *testing.T) {
	h := NewHasher(Options{Parallel: 1, Queue: -1})
	stored := mustHash(t, h, "another")
	for name, encoded := range map[string]string{"known": stored, "unknown": ""} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if match, rehash, err := h.Verify(t.Context(), encoded, "password"); match || rehash || err != nil {
			t.Errorf("%s: Verify = %v, %v, %v, want no match", name, match, rehash, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got < 19<<20 || got > 20<<20 {
			t.Errorf("%s: %d bytes used, want those of a hash", name, got)
		}
	}
	h.places <- struct{}{}
	for name, encoded := range map[string]string{"known": stored, "unknown": ""} {
		if _, _, err := h.Verify(t.Context(), encoded, "password"); !errors.Is(err, ErrBusy) {
			t.Errorf("%s, when busy: %v, want ErrBusy", name, err)
		}
	}
}

// SEC-182: at most Parallel hashes at a time, a bounded queue, and busy beyond it.
func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := cheap(Options{Parallel: 1, Queue: 2})
		h.places <- struct{}{} // one computes
		h.slots <- struct{}{}
		results := make(chan error, 2)
		for range 2 {
			go func() { _, err := h.Hash(t.Context(), "password"); results <- err }()
		}
		synctest.Wait() // two wait
		if len(results) != 0 {
			t.Error("a hash was computed beside the one")
		}
		if _, err := h.Hash(t.Context(), "password"); !errors.Is(err, ErrBusy) {
			t.Errorf("a fourth = %v, want ErrBusy", err)
		}
		<-h.slots // the one ends
		<-h.places
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		synctest.Wait()
		if _, err := h.Hash(t.Context(), "password"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// SEC-182: a caller that hangs up while it waits leaves the queue; one that hangs
// up while its hash is computed leaves the slot taken until the hash has ended.
func TestPermitIsHeldUntilTheHashEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := cheap(Options{Parallel: 1, Queue: 1})
		h.slots <- struct{}{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := h.Hash(ctx, "password"); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || len(h.places) != 0 {
			t.Errorf("one that waited: %v, %d places taken, want canceled and none", err, len(h.places))
		}
		<-h.slots

		// A computation that outlives its caller.
		begun, end := make(chan struct{}), make(chan struct{})
		ctx, cancel = context.WithCancel(t.Context())
		go func() {
			_, err := h.run(ctx, func() []byte { close(begun); <-end; return nil })
			done <- err
		}()
		<-begun
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want canceled", err)
		}
		if len(h.slots) != 1 || len(h.places) != 1 {
			t.Errorf("%d slots and %d places taken while the hash runs, want 1 and 1", len(h.slots), len(h.places))
		}
		close(end)
		synctest.Wait()
		if len(h.slots) != 0 || len(h.places) != 0 {
			t.Errorf("%d slots and %d places taken after it", len(h.slots), len(h.places))
		}
	})
}

// SEC-182: the number at a time holds whatever callers do.
func TestAtMostParallel(t *testing.T) {
	t.Parallel()
	h := cheap(Options{Parallel: 2, Queue: 100})
	var mu sync.Mutex
	var running, most int
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := h.run(t.Context(), func() []byte {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				sum := argon2.IDKey([]byte("p"), make([]byte, 16), 1, 64, 1, 16)
				mu.Lock()
				running--
				mu.Unlock()
				return sum
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d at a time, want at most 2", most)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, encoded string) {
		p, salt, sum, err := decode(encoded, 64*1024)
		if err != nil {
			if !errors.Is(err, ErrEncoding) {
				t.Errorf("decode = %v, want ErrEncoding", err)
			}
			return
		}
		if p.memory > 64*1024 || p.passes > maxPasses || p.lanes > maxLanes || encode(p, salt, sum) != encoded {
			t.Errorf("decode(%q) = %+v", encoded, p)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher(Options{})
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse battery staple"); err != nil {
			b.Fatal(err)
		}
	}
}

func ExamplePolicy_Check() {
	r, _ := Policy{Level: "good"}.Check("secret")
	fmt.Println(r.Name, r.Rules[0].Code, r.Rules[0].Verified)
	// Output: PasswordStrengthError lengthAtLeast false
}
