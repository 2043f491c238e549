package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Master wraps data keys. A file or bytes give the one of NewMaster; a key
// management service would be another.
type Master interface {
	// Wrap seals key; only the same aad opens it again.
	Wrap(aad string, key []byte) (string, error)
	// Unwrap opens what Wrap made: ErrWrongMasterKey when another master key
	// made it, ErrDamaged when it was altered or belongs to another aad.
	Unwrap(aad, sealed string) ([]byte, error)
}

// localMaster is a master key in this process's memory.
type localMaster struct {
	id  string
	box box
}

const masterVersion = "m1"

// NewMaster is the master key of 32 random bytes. Other lengths and keys that
// nobody drew at random are ErrMasterKey (SEC-138). The key is not kept.
func NewMaster(key []byte) (Master, error) {
	if len(key) != keySize {
		return nil, unusable("it has %d bytes, not %d random ones", len(key), keySize)
	}
	if trivial(key) {
		return nil, unusable("its bytes are not random ones (text, hex digits and repeated bytes are refused)")
	}
	id, err := derive(key, labelMasterID)
	if err != nil {
		return nil, err
	}
	wrap, err := derive(key, labelMasterWrap)
	if err != nil {
		return nil, err
	}
	b, err := newBox(wrap)
	if err != nil {
		return nil, err
	}
	return &localMaster{id: b64.EncodeToString(id[:9]), box: b}, nil
}

// trivial recognises what has 32 bytes but not 256 bits: a few different bytes
// only, such as zeros, and text. Of random keys it refuses one in 2^45.
func trivial(key []byte) bool {
	seen := make(map[byte]bool, len(key))
	text := true
	for _, c := range key {
		seen[c] = true
		text = text && c >= 0x20 && c < 0x7f
	}
	return text || len(seen) < 16
}

// Wrap implements Master.
func (m *localMaster) Wrap(aad string, key []byte) (string, error) {
	return masterVersion + "." + m.id + "." + m.box.seal(bind(masterVersion, aad), key), nil
}

// Unwrap implements Master.
func (m *localMaster) Unwrap(aad, sealed string) ([]byte, error) {
	version, rest, _ := strings.Cut(sealed, ".")
	id, text, ok := strings.Cut(rest, ".")
	if version != masterVersion || !ok {
		return nil, ErrDamaged
	}
	if id != m.id {
		return nil, ErrWrongMasterKey
	}
	return m.box.open(bind(masterVersion, aad), text)
}

// Format implements fmt.Formatter: a key is never printed (SEC-248).
func (m *localMaster) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "seal.Master([redacted])")
}

// LogValue implements slog.LogValuer.
func (m *localMaster) LogValue() slog.Value { return slog.StringValue("seal.Master([redacted])") }

// OpenMasterFile reads the master key from the file at path: exactly 32 bytes,
// readable by the owner alone (SEC-138). Every refusal is ErrMasterKey and says
// what to do.
func OpenMasterFile(path string) (Master, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unusable("%s is missing: put the key file of this data back; without it nothing can be read", path)
	}
	if err != nil {
		return nil, unusable("%w: make the file readable for the user the server runs as", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, unusable("%w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, unusable("%s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, unusable("others may read or change %s (mode %04o): run chmod 600 on it", path, mode)
	}
	key, err := io.ReadAll(io.LimitReader(f, keySize+1))
	if err != nil {
		return nil, unusable("%w", err)
	}
	if len(key) != keySize {
		return nil, unusable("%s does not hold exactly %d bytes: put the right key file back", path, keySize)
	}
	m, err := NewMaster(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// CreateMasterFile writes a new random master key to path and opens it. An
// existing file is never touched: the error is then fs.ErrExist. After a crash
// the file is there whole or not at all.
func CreateMasterFile(path string) (Master, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".master-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("create master key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err = tmp.Write(key); err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), path) // unlike a rename, never over another key
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("create master key: %w", err)
	}
	return OpenMasterFile(path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
