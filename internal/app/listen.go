package app

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// listen opens what an address of the configuration means. "localhost" is both
// loopback addresses with one port, because clients resolve it to either; a
// machine without IPv6 has one.
func listen(address string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host != "localhost" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, listenError(address, err)
		}
		return []net.Listener{l}, nil
	}
	// Port 0 is whatever the first address gives, and the second may have it
	// taken; then another is tried.
	for attempt := 0; ; attempt++ {
		ls, err := listenLoopback(port)
		if err == nil {
			return ls, nil
		}
		if port != "0" || attempt == 20 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, listenError(address, err)
		}
	}
}

func listenLoopback(port string) ([]net.Listener, error) {
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", listenerPort(v4)))
	switch {
	case err == nil:
		return []net.Listener{v4, v6}, nil
	case errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES):
		v4.Close()
		return nil, err
	}
	return []net.Listener{v4}, nil // no IPv6 on this machine
}

func listenerPort(l net.Listener) string {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return strconv.Itoa(a.Port)
	}
	return "0"
}

// listenError is one line that says what to do.
func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is in use; stop what uses it, or choose another with --listen", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s: not permitted; choose a port above 1023, or allow this program to use lower ones", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s: this machine has no such address; name one of its own", address)
	}
	return fmt.Errorf("listen on %s: %w; name an address of this machine", address, err)
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}
