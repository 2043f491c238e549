//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package tokensource

import (
	"errors"
	"io/fs"
	"os"
)

// lockHandle is not to be had here. To go on without would let two processes spend
// one refresh token.
func lockHandle(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func unlockHandle(*os.File) error { return nil }

func private(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
