package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func randomKey(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

func newMaster(t *testing.T) Master {
	t.Helper()
	m, err := NewMaster(randomKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMasterFileRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	made, err := CreateMasterFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 || info.Size() != keySize {
		t.Errorf("file has mode %04o and %d bytes, want 0600 and %d", got, info.Size(), keySize)
	}
	sealed, err := made.Wrap("a", []byte("data key"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenMasterFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := opened.Unwrap("a", sealed); err != nil || string(got) != "data key" {
		t.Errorf("Unwrap = %q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files beside the key (%v), want none", len(entries)-1, err)
	}
}

func TestCreateMasterFileNeverOverwrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte("what was there"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateMasterFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("CreateMasterFile over a file = %v, want fs.ErrExist", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "what was there" {
		t.Errorf("the file now holds %q", got)
	}
}

// SEC-138: missing, short and default master keys, and files that others read,
// are refused, each with what to do.
func TestOpenMasterFileRefuses(t *testing.T) {
	t.Parallel()
	good := randomKey(t)
	tests := map[string]struct {
		key  []byte
		mode fs.FileMode
		want string
	}{
		"missing":            {nil, 0, "is missing"},
		"empty":              {[]byte{}, 0o600, "exactly 32 bytes"},
		"31 bytes":           {good[:31], 0o600, "exactly 32 bytes"},
		"33 bytes":           {append(bytes.Clone(good), 'x'), 0o600, "exactly 32 bytes"},
		"zeros":              {make([]byte, 32), 0o600, "not random"},
		"hex of half a key":  {[]byte(fmt.Sprintf("%x", good[:16])), 0o600, "not random"},
		"a sentence":         {[]byte("correct horse battery staple ok!"), 0o600, "not random"},
		"readable by group":  {good, 0o640, "chmod 600"},
		"readable by others": {good, 0o604, "chmod 600"},
		"writable by group":  {good, 0o620, "chmod 600"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			if tt.key != nil {
				if err := os.WriteFile(path, tt.key, tt.mode); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, tt.mode); err != nil { // whatever the umask
					t.Fatal(err)
				}
			}
			_, err := OpenMasterFile(path)
			if !errors.Is(err, ErrMasterKey) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("OpenMasterFile = %v, want ErrMasterKey with %q in one line", err, tt.want)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		if _, err := OpenMasterFile(t.TempDir()); !errors.Is(err, ErrMasterKey) {
			t.Errorf("OpenMasterFile(directory) = %v, want ErrMasterKey", err)
		}
	})
}

func TestWrongMasterKeyIsTold(t *testing.T) {
	t.Parallel()
	a, b := newMaster(t), newMaster(t)
	sealed, err := a.Wrap("tenant", randomKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unwrap("tenant", sealed); !errors.Is(err, ErrWrongMasterKey) {
		t.Errorf("Unwrap under another master = %v, want ErrWrongMasterKey", err)
	}
	if _, err := a.Unwrap("other tenant", sealed); !errors.Is(err, ErrDamaged) {
		t.Errorf("Unwrap for another tenant = %v, want ErrDamaged", err)
	}
	for i := range sealed {
		altered := []byte(sealed)
		altered[i] ^= 1
		if got, err := a.Unwrap("tenant", string(altered)); err == nil {
			t.Fatalf("altered at %d: opened %x", i, got)
		}
	}
	for i := range sealed {
		if _, err := a.Unwrap("tenant", sealed[:i]); err == nil {
			t.Fatalf("cut at %d: opened", i)
		}
	}
}
