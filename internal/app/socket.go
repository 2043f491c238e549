package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// socketFile is where a running server takes commands (D12). Who may open it may
// read the data directory, and is the administrator.
const socketFile = "admin.sock"

// socketPathLimit is the shortest of the systems' limits for the address of a
// Unix socket (104 bytes with its final zero on BSD and macOS; Linux has 108).
const socketPathLimit = 103

const socketDialTimeout = 5 * time.Second

// errNotRunning: no server listens in the data directory.
var errNotRunning = errors.New("no server is running here")

// socketAddress is a spelling of dir/admin.sock that fits into a socket address.
// release is called when the address is no longer used.
func socketAddress(dir string) (address string, release func(), err error) {
	path := filepath.Join(dir, socketFile)
	if len(path) <= socketPathLimit {
		return path, func() {}, nil
	}
	if runtime.GOOS == "linux" { // the directory by its descriptor is always short
		d, err := os.Open(dir)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketFile), func() { d.Close() }, nil
	}
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && len(rel) <= socketPathLimit {
			return rel, func() {}, nil
		}
	}
	return "", nil, fmt.Errorf("the path %s is too long for a socket (%d bytes, at most %d); choose a data directory with a shorter path", path, len(path), socketPathLimit)
}

// dialSocket connects to the server of dir; errNotRunning when there is none.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	if _, err := os.Lstat(filepath.Join(dir, socketFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	}
	address, release, err := socketAddress(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	d := net.Dialer{Timeout: socketDialTimeout}
	conn, err := d.DialContext(ctx, "unix", address)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: not permitted; run this as the user that runs the server", filepath.Join(dir, socketFile))
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w: %w", errNotRunning, err)
}

// listenSocket opens dir/admin.sock with mode 0600. A socket that nobody listens
// on is left from a server that was killed, and is replaced. remove takes the
// file away.
func listenSocket(dir string) (l net.Listener, remove func(), err error) {
	path := filepath.Join(dir, socketFile)
	if conn, err := dialSocket(context.Background(), dir); err == nil {
		conn.Close()
		return nil, nil, fmt.Errorf("another server is running with the data directory %s; stop it, or choose another directory with --data", dir)
	} else if !errors.Is(err, errNotRunning) {
		return nil, nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("remove the socket of a server that is gone: %w", err)
	}
	address, release, err := socketAddress(dir)
	if err != nil {
		return nil, nil, err
	}
	ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	ul.SetUnlinkOnClose(false) // its name may be one of release's
	remove = func() { os.Remove(path); release() }
	// The directory has mode 0700, so nobody comes in before this.
	if err := os.Chmod(path, 0o600); err != nil {
		ul.Close()
		remove()
		return nil, nil, fmt.Errorf("protect %s: %w", path, err)
	}
	return ul, remove, nil
}
