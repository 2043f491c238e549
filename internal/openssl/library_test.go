//go:build openssl && linux

package openssl

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// library is loaded once; without it this build's tests cannot tell anything.
var library = sync.OnceValues(Open)

func open(t testing.TB) *Library {
	t.Helper()
	l, err := library()
	if err != nil {
		t.Skipf("no libcrypto here: %v", err)
	}
	return l
}

// keys are made once: an RSA key takes its time.
var keys = sync.OnceValue(func() map[int]*rsa.PrivateKey {
	out := make(map[int]*rsa.PrivateKey)
	for _, bits := range []int{2048, 3072, 4096} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		out[bits] = k
	}
	return out
})

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// same checks both schemes of a key against the standard library: PKCS #1 v1.5
// byte for byte.
func same(t testing.TB, s Signer, k *rsa.PrivateKey, message []byte) {
	t.Helper()
	sum := sha256.Sum256(message)
	want, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Sign(nil, sum[:], crypto.SHA256); err != nil || !bytes.Equal(got, want) {
		t.Errorf("PKCS #1 v1.5 of %x: %v, not what the standard library gives", message, err)
	}
	got, err := s.Sign(nil, sum[:], pssOptions)
	if err != nil || rsa.VerifyPSS(&k.PublicKey, crypto.SHA256, sum[:], got, pssOptions) != nil {
		t.Errorf("PSS of %x: %v, not what the standard library takes", message, err)
	}
}

func TestSameAsStandardLibrary(t *testing.T) {
	t.Parallel()
	l := open(t)
	if !strings.HasPrefix(l.Version(), "OpenSSL 3") {
		t.Errorf("Version = %q", l.Version())
	}
	for bits, k := range keys() {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			s, err := l.Load(k)
			if err != nil {
				t.Fatal(err)
			}
			if !k.PublicKey.Equal(s.Public()) || s.Size() != bits/8 {
				t.Errorf("public key or size %d differ", s.Size())
			}
			for n := range 8 {
				same(t, s, k, bytes.Repeat([]byte{byte(n)}, n*100))
			}
		})
	}
}

func FuzzSameAsStandardLibrary(f *testing.F) {
	l, k := open(f), keys()[2048]
	s, err := l.Load(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("eyJhbGciOiJSUzI1NiJ9.e30"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) { same(t, s, k, message) })
}

// One key in many goroutines, while others come and go.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	l, k := open(t), keys()[2048]
	s, err := l.Load(k)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 20 {
				same(t, s, k, []byte{byte(n), byte(i)})
				if i%5 == 0 {
					other, err := l.Load(k)
					if err != nil {
						t.Error(err)
						return
					}
					same(t, other, k, []byte{byte(i)})
					runtime.GC()
				}
			}
		})
	}
	all.Wait()
}

// A key that nobody refers to is freed.
func TestKeysAreFreed(t *testing.T) { // alone: it counts
	l, err := Open()
	if err != nil {
		t.Skipf("no libcrypto here: %v", err)
	}
	for range 10 {
		s, err := l.Load(keys()[2048])
		if err != nil {
			t.Fatal(err)
		}
		same(t, s, keys()[2048], nil)
	}
	for range 1000 { // clean-ups run some time after a collection
		if runtime.GC(); l.Keys() == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d keys are still held", l.Keys())
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	l, k := open(t), keys()[2048]
	s, err := l.Load(k)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*rsa.PrivateKey{"none": nil, "1024 bits": small} {
		if _, err := l.Load(k); !errors.Is(err, ErrKey) {
			t.Errorf("Load of %s = %v, want ErrKey", name, err)
		}
	}
	sum := sha256.Sum256(nil)
	for name, tt := range map[string]struct {
		digest []byte
		opts   crypto.SignerOpts
	}{
		"no options":         {sum[:], nil},
		"another hash":       {sum[:], crypto.SHA512},
		"no hash":            {sum[:], crypto.Hash(0)},
		"a short digest":     {sum[:31], crypto.SHA256},
		"an empty digest":    {nil, crypto.SHA256},
		"another salt":       {sum[:], &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}},
		"PSS of another sum": {sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384}},
	} {
		if got, err := s.Sign(nil, tt.digest, tt.opts); !errors.Is(err, ErrScheme) || got != nil {
			t.Errorf("%s: Sign = %v, want ErrScheme", name, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "handle") || !strings.Contains(text, "redacted") {
		t.Errorf("a key prints as %s", text)
	}
}

// A wrong answer is found by the self-test.
func TestSelfTest(t *testing.T) {
	t.Parallel()
	l := open(t)
	for name, spoil := range map[string]func(pss bool, signature []byte) []byte{
		"PKCS #1 v1.5": func(pss bool, s []byte) []byte { return flip(s, !pss) },
		"PSS":          func(pss bool, s []byte) []byte { return flip(s, pss) },
		"short":        func(_ bool, s []byte) []byte { return s[:10] },
	} {
		err := selfTest(func(k *rsa.PrivateKey) (Signer, error) {
			s, err := l.Load(k)
			return spoiled{s, spoil}, err
		})
		if err == nil {
			t.Errorf("%s: a wrong answer passed", name)
		}
	}
	if err := selfTest(func(*rsa.PrivateKey) (Signer, error) { return nil, ErrKey }); !errors.Is(err, ErrKey) {
		t.Errorf("a key that does not load: %v", err)
	}
}

func flip(s []byte, spoil bool) []byte {
	if spoil {
		s[100] ^= 1
	}
	return s
}

type spoiled struct {
	Signer
	spoil func(bool, []byte) []byte
}

func (s spoiled) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	got, err := s.Signer.Sign(r, digest, opts)
	_, pss := opts.(*rsa.PSSOptions)
	if err == nil {
		got = s.spoil(pss, got)
	}
	return got, err
}

// BenchmarkRS256 is one signature with both, in one run.
func BenchmarkRS256(b *testing.B) {
	l := open(b)
	sum := sha256.Sum256(nil)
	for _, bits := range []int{2048, 3072, 4096} {
		k := keys()[bits]
		s, err := l.Load(k)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d/standard", bits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/openssl", bits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign(nil, sum[:], crypto.SHA256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRatio is how many times as fast as the standard library the library
// is, by processor time and in turns, so that a busy machine does not decide.
func BenchmarkRatio(b *testing.B) {
	l := open(b)
	sum := sha256.Sum256(nil)
	for _, bits := range []int{2048, 3072, 4096} {
		b.Run(fmt.Sprint(bits), func(b *testing.B) {
			k := keys()[bits]
			s, err := l.Load(k)
			if err != nil {
				b.Fatal(err)
			}
			var standard, fast time.Duration
			for b.Loop() {
				began := processorTime(b)
				for range 50 {
					if _, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:]); err != nil {
						b.Fatal(err)
					}
				}
				middle := processorTime(b)
				for range 50 {
					if _, err := s.Sign(nil, sum[:], crypto.SHA256); err != nil {
						b.Fatal(err)
					}
				}
				standard, fast = standard+middle-began, fast+processorTime(b)-middle
			}
			b.ReportMetric(float64(standard)/float64(fast), "times")
			b.ReportMetric(float64(fast.Microseconds())/float64(50*b.N), "cpu-us/signature")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
