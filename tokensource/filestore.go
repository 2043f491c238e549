package tokensource

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrShared says that a file or directory of a FileStore can be read by
// others, belongs to another user, or is a link to somewhere else (SEC-247).
var ErrShared = errors.New("tokensource: not a private place for tokens")

// FileStore keeps each entry in an encrypted file of a directory of its own.
// Any number of processes of one user may share it: they wait for each other,
// and one request serves all.
//
// A file is replaced as a whole: written under another name, flushed, renamed,
// and the directory flushed, so that after a crash or a power cut at any moment
// there is the old entry or the new one, and never half of one. Names are
// hashes, which hide nothing from who can guess the user's name. It is for local
// file systems; on a network the locks may mean nothing.
type FileStore struct {
	sealer *Sealer
	root   *os.Root
	locks  Locks             // among the goroutines of this process
	step   func(step string) // for tests that end the process in between
}

const (
	tempSuffix = ".tmp"
	lockSuffix = ".lock"
	// leftAfter is the age from which a temporary file belongs to nobody.
	leftAfter = time.Hour
	// maxFile bounds what is read: two answers of a token endpoint.
	maxFile = 2 * maxAnswer
)

// OpenFileStore opens the store in dir and makes it, mode 0700, if it is not
// there. A directory that others can read or write, or own, is ErrShared. On
// Windows the directory's access list decides, which is not looked at.
func OpenFileStore(dir string, sealer *Sealer) (*FileStore, error) {
	if sealer == nil {
		return nil, errors.New("tokensource: OpenFileStore needs a Sealer")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("tokensource: %w", err)
	}
	link, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("tokensource: %w", err)
	}
	root, err := os.OpenRoot(dir) // from here on the directory is this one, whatever takes its name
	if err != nil {
		return nil, fmt.Errorf("tokensource: %w", err)
	}
	info, err := root.Stat(".")
	switch {
	case err != nil:
	case link.Mode().Type() != fs.ModeDir || !os.SameFile(link, info) || !private(info):
		err = fmt.Errorf("%w: %s", ErrShared, filepath.Base(dir))
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	f := &FileStore{sealer: sealer, root: root}
	f.sweep()
	return f, nil
}

// Close lets go of the directory.
func (f *FileStore) Close() error { return f.root.Close() }

// sweep removes what a crash left behind. It is a courtesy: what it cannot
// remove harms nobody.
func (f *FileStore) sweep() {
	dir, err := f.root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		if !strings.HasSuffix(name, tempSuffix) {
			continue
		}
		if info, err := f.root.Lstat(name); err == nil && time.Since(info.ModTime()) > leftAfter {
			_ = f.root.Remove(name)
		}
	}
}

// fileName is the name of a key's file. Base64url would do, but not where file
// names have no case.
func fileName(key Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return hex.EncodeToString(sum[:])
}

// Load implements Store. A file that does not open is ErrSealed, one that
// others can read is ErrShared: both ask for a person.
func (f *FileStore) Load(_ context.Context, key Key) (Entry, error) {
	file, err := f.root.Open(fileName(key))
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, ErrNotFound
	}
	if err != nil {
		return Entry{}, fmt.Errorf("tokensource: %w", err)
	}
	defer file.Close()
	if err := f.check(file, fileName(key)); err != nil {
		return Entry{}, err
	}
	sealed, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return Entry{}, fmt.Errorf("tokensource: %w", err)
	}
	return f.sealer.Open(key, sealed)
}

// check refuses what is not a regular file, under this very name, of this user alone.
func (f *FileStore) check(file *os.File, name string) error {
	opened, err := file.Stat()
	if err != nil {
		return fmt.Errorf("tokensource: %w", err)
	}
	named, err := f.root.Lstat(name)
	if err != nil {
		return fmt.Errorf("tokensource: %w", err)
	}
	if !named.Mode().IsRegular() || !opened.Mode().IsRegular() || !private(opened) {
		return fmt.Errorf("%w: %s", ErrShared, name)
	}
	return nil
}

// Save implements Store (SEC-245, SEC-247).
func (f *FileStore) Save(_ context.Context, key Key, e Entry) error {
	name := fileName(key)
	if err := f.replaceable(name); err != nil {
		return err
	}
	sealed, err := f.sealer.Seal(key, e)
	if err != nil {
		return err
	}
	temp, err := f.write(name, sealed)
	if err == nil {
		err = f.root.Rename(temp, name)
		f.at("renamed")
	}
	if err == nil {
		err = f.sync()
		f.at("synced")
	}
	if err != nil {
		if temp != "" {
			_ = f.root.Remove(temp)
		}
		return fmt.Errorf("tokensource: %w", err)
	}
	return nil
}

// replaceable refuses to go on where somebody put a link or opened the file
// to others: what was in it may be known.
func (f *FileStore) replaceable(name string) error {
	info, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("tokensource: %w", err)
	case !info.Mode().IsRegular() || !private(info):
		return fmt.Errorf("%w: %s", ErrShared, name)
	}
	return nil
}

// write puts data into a new file and flushes it. It returns the file's name
// as soon as there is one.
func (f *FileStore) write(name string, data []byte) (temp string, err error) {
	var random [12]byte
	_, _ = rand.Read(random[:])
	temp = name + "." + base64.RawURLEncoding.EncodeToString(random[:]) + tempSuffix
	file, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	f.at("created")
	_, err = file.Write(data[:len(data)/2])
	f.at("half written")
	if err == nil {
		_, err = file.Write(data[len(data)/2:])
	}
	if err == nil {
		f.at("written")
		err = file.Sync()
		f.at("flushed")
	}
	return temp, errors.Join(err, file.Close())
}

// sync flushes the directory, without which a power cut may undo the rename.
func (f *FileStore) sync() error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be flushed there; NTFS logs the rename
	}
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f *FileStore) at(step string) {
	if f.step != nil {
		f.step(step)
	}
}

// Delete implements Store.
func (f *FileStore) Delete(_ context.Context, key Key) error {
	err := f.root.Remove(fileName(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = f.sync()
	}
	if err != nil {
		return fmt.Errorf("tokensource: %w", err)
	}
	return nil
}

// Lock implements Store: first among the goroutines of this process, then
// among processes. The lock of a process that dies is free at once.
func (f *FileStore) Lock(ctx context.Context, key Key) (unlock func(), err error) {
	leave, err := f.locks.Lock(ctx, key)
	if err != nil {
		return nil, err
	}
	release, err := f.lockFile(ctx, fileName(key)+lockSuffix)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { release(); leave() }, nil
}

// lockFile takes the lock on a file. Locks that can be waited for cannot be
// given up, so it asks again and again.
func (f *FileStore) lockFile(ctx context.Context, name string) (release func(), err error) {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		file, err := f.tryLock(name)
		if err != nil {
			return nil, fmt.Errorf("tokensource: %s: %w", name, err)
		}
		if file != nil {
			return func() {
				// Removed while it is held: whoever opened it before sees that
				// the name leads elsewhere, and opens again.
				_ = f.root.Remove(name)
				_ = unlockHandle(file)
				_ = file.Close()
			}, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryLock returns nil and no error while somebody else holds the lock.
func (f *FileStore) tryLock(name string) (*os.File, error) {
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		if runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission) {
			return nil, nil // just being removed
		}
		return nil, err
	}
	taken, err := f.claim(file, name)
	if taken && err == nil {
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}

// claim takes the lock of an open file and sees that its name still leads
// there: the one who had the lock may have removed the file since it was
// opened, and another may have the lock of the one that came after.
func (f *FileStore) claim(file *os.File, name string) (bool, error) {
	taken, err := lockHandle(file)
	if err != nil || !taken {
		return false, err
	}
	opened, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := f.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, named), err
}

// Format implements fmt.Formatter: nothing of what is kept is printed.
func (f *FileStore) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "tokensource.FileStore") }
