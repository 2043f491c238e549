package tokensource

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"unsafe"
)

const (
	lockExclusive       = 2 // LOCKFILE_EXCLUSIVE_LOCK
	lockFailImmediately = 1 // LOCKFILE_FAIL_IMMEDIATELY
	errorLockViolation  = syscall.Errno(33)
)

func kernel32(name string) *syscall.LazyProc {
	return syscall.NewLazyDLL("kernel32.dll").NewProc(name)
}

// lockHandle takes the lock on an open file, and reports false while another
// process has it. It goes with the process, however that ends.
func lockHandle(file *os.File) (bool, error) {
	var at syscall.Overlapped
	ok, _, err := kernel32("LockFileEx").Call(file.Fd(), lockExclusive|lockFailImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&at)))
	switch {
	case ok != 0:
		return true, nil
	case errors.Is(err, errorLockViolation), errors.Is(err, syscall.ERROR_IO_PENDING):
		return false, nil
	}
	return false, err
}

func unlockHandle(file *os.File) error {
	var at syscall.Overlapped
	if ok, _, err := kernel32("UnlockFileEx").Call(file.Fd(), 0, 1, 0, uintptr(unsafe.Pointer(&at))); ok == 0 {
		return err
	}
	return nil
}

// private has nothing to look at: a Windows file has no mode, and who may
// open it is in the access list that it has from its directory.
func private(fs.FileInfo) bool { return true }
