package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type echo struct {
	Text string `json:"text"`
}

func echoing() operations {
	return operations{
		"echo": operation(func(_ context.Context, in echo) (echo, error) { return in, nil }),
		"fail": operation(func(_ context.Context, in echo) (echo, error) { return echo{}, errors.New("no " + in.Text) }),
	}
}

func serveSocket(t *testing.T, dir string) (stop func()) {
	t.Helper()
	l, remove, err := listenSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	srv := adminServer(echoing())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	return func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		remove()
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	long := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 10))
	for name, dir := range map[string]string{"short path": shortDir(t), "path longer than a socket address": long} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := callSocket(t.Context(), dir, "echo", nil); !errors.Is(err, errNotRunning) {
				t.Fatalf("no server: got %v, want errNotRunning", err)
			}
			stop := serveSocket(t, dir)
			if info, err := os.Stat(filepath.Join(dir, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the socket: %v (%v), want 0600", info.Mode(), err)
			}
			raw, err := callSocket(t.Context(), dir, "echo", []byte(`{"text":"hello"}`))
			var got echo
			if err != nil || json.Unmarshal(raw, &got) != nil || got.Text != "hello" {
				t.Errorf("echo = %s, %v", raw, err)
			}
			if _, err := callSocket(t.Context(), dir, "fail", []byte(`{"text":"way"}`)); err == nil || err.Error() != "no way" {
				t.Errorf("fail: got %v, want the operation's own words", err)
			}
			if _, err := callSocket(t.Context(), dir, "unknown", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "same version") {
				t.Errorf("unknown operation: got %v", err)
			}
			if _, err := callSocket(t.Context(), dir, "echo", []byte(`{"other":1}`)); err == nil || !strings.Contains(err.Error(), "same version") {
				t.Errorf("unknown member: got %v", err)
			}
			if _, _, err := listenSocket(dir); err == nil || !strings.Contains(err.Error(), "another server is running") {
				t.Errorf("second server: got %v", err)
			}
			stop()
			if _, err := os.Lstat(filepath.Join(dir, socketFile)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

// A server that was killed leaves its socket behind.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketFile), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := callSocket(t.Context(), dir, "echo", nil); !errors.Is(err, errNotRunning) {
		t.Errorf("stale socket: got %v, want errNotRunning", err)
	}
	stop := serveSocket(t, dir)
	defer stop()
	if _, err := callSocket(t.Context(), dir, "echo", []byte(`{}`)); err != nil {
		t.Errorf("after the stale socket was replaced: %v", err)
	}
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bulla")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
