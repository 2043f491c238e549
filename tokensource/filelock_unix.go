//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package tokensource

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockHandle takes the lock on an open file, and reports false while another
// process has it. It goes with the process, however that ends.
func lockHandle(file *os.File) (bool, error) {
	for {
		err := flock(file, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}

func unlockHandle(file *os.File) error { return flock(file, syscall.LOCK_UN) }

func flock(file *os.File, how int) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = syscall.Flock(int(fd), how) }); err != nil {
		return err
	}
	return result
}

// private reports whether a file or directory is this user's and nobody else
// can do anything with it.
func private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm()&0o077 == 0 && ok && int(stat.Uid) == os.Geteuid()
}
