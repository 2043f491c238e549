package tokensource

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	storeKey = bytes.Repeat([]byte{7}, 32)
	annKey   = Key{Issuer: testIssuer, ClientID: "client", User: "ann"}
)

func sealer(t testing.TB, key []byte, older ...[]byte) *Sealer {
	t.Helper()
	s, err := NewSealer(key, older...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fileStore(t testing.TB, dir string) *FileStore {
	t.Helper()
	f, err := OpenFileStore(dir, sealer(t, storeKey))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func entryOf(rt string) Entry {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Entry{
		Token: Token{
			AccessToken: NewSecret("access-of-" + rt), TokenType: "Bearer", Scopes: []string{"a", "b"},
			IssuedAt: at, ExpiresAt: at.Add(time.Hour), IDToken: NewSecret("id-of-" + rt),
		},
		RefreshToken: NewSecret(rt), Attempt: NewSecret("attempt-of-" + rt),
	}
}

func sameEntry(a, b Entry) bool {
	return a.RefreshToken.equal(b.RefreshToken) && a.Attempt.equal(b.Attempt) && a.Token.AccessToken.equal(b.Token.AccessToken) &&
		a.Token.IDToken.equal(b.Token.IDToken) && a.Token.IssuedAt.Equal(b.Token.IssuedAt) && a.Token.ExpiresAt.Equal(b.Token.ExpiresAt) &&
		a.Token.TokenType == b.Token.TokenType && strings.Join(a.Token.Scopes, " ") == strings.Join(b.Token.Scopes, " ")
}

func TestFileStoreKeeps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tokens")
	f := fileStore(t, dir)
	if _, err := f.Load(t.Context(), annKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty: %v, want ErrNotFound", err)
	}
	for _, rt := range []string{"one", "two"} {
		if err := f.Save(t.Context(), annKey, entryOf(rt)); err != nil {
			t.Fatal(err)
		}
		got, err := fileStore(t, dir).Load(t.Context(), annKey)
		if err != nil || !sameEntry(got, entryOf(rt)) {
			t.Errorf("another process reads %q, %v; want %q", got.RefreshToken.Reveal(), err, rt)
		}
	}
	bob := annKey
	bob.User = "bob"
	if _, err := f.Load(t.Context(), bob); !errors.Is(err, ErrNotFound) {
		t.Errorf("bob: %v, want ErrNotFound", err)
	}
	for range 2 {
		if err := f.Delete(t.Context(), annKey); err != nil {
			t.Errorf("Delete = %v", err)
		}
	}
	unlock, err := f.Lock(t.Context(), annKey)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// SEC-247: nothing readable is on the disk, nobody else may open it, and what
// others could have read or put there is refused.
func TestFileStoreIsPrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows: its access lists are inherited from the directory")
	}
	dir := filepath.Join(t.TempDir(), "a", "tokens")
	f := fileStore(t, dir)
	if err := f.Save(t.Context(), annKey, entryOf("s3cret")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, fileName(annKey))
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"s3cret", "ann", "Bearer", "access"} {
		if bytes.Contains(data, []byte(word)) || strings.Contains(file, word) {
			t.Errorf("%q is readable on the disk", word)
		}
	}

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context(), annKey); !errors.Is(err, ErrShared) {
			t.Errorf("Load of a file of mode %o: %v, want ErrShared", mode, err)
		}
		if err := f.Save(t.Context(), annKey, entryOf("x")); !errors.Is(err, ErrShared) {
			t.Errorf("Save over a file of mode %o: %v, want ErrShared", mode, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, data, 0o600); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "inside")
	if err := os.WriteFile(inside, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{elsewhere, "inside"} {
		if err := os.Symlink(target, file); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context(), annKey); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("Load through a link to %s: %v, want a refusal", target, err)
		}
		if err := f.Save(t.Context(), annKey, entryOf("x")); !errors.Is(err, ErrShared) {
			t.Errorf("Save through a link: %v, want ErrShared", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}

	for _, mode := range []os.FileMode{0o750, 0o705, 0o770, 0o711, 0o777 | os.ModeSticky} {
		shared := filepath.Join(t.TempDir(), "shared")
		if err := os.Mkdir(shared, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(shared, mode); err != nil { // whatever the umask says
			t.Fatal(err)
		}
		if _, err := OpenFileStore(shared, sealer(t, storeKey)); !errors.Is(err, ErrShared) {
			t.Errorf("a directory of mode %v: %v, want ErrShared", mode, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFileStore(link, sealer(t, storeKey)); !errors.Is(err, ErrShared) {
		t.Errorf("a link to a directory: %v, want ErrShared", err)
	}
	if _, err := OpenFileStore(elsewhere, sealer(t, storeKey)); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// What is on the disk opens only whole, under its own key, with its own secret.
func TestSealerOpensOnlyItsOwn(t *testing.T) {
	t.Parallel()
	other := bytes.Repeat([]byte{8}, 32)
	s := sealer(t, storeKey)
	sealed, err := s.Seal(annKey, entryOf("rt"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Seal(annKey, entryOf("rt"))
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealed twice alike, %v", err)
	}
	bob := annKey
	bob.User = "bob"
	if _, err := s.Open(bob, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("moved to another key (SEC-243): %v, want ErrSealed", err)
	}
	if _, err := sealer(t, other).Open(annKey, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("another secret: %v, want ErrSealed", err)
	}
	if got, err := sealer(t, other, storeKey).Open(annKey, sealed); err != nil || !sameEntry(got, entryOf("rt")) {
		t.Errorf("after a change of the secret: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := s.Open(annKey, changed); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v, want ErrSealed", i, err)
		}
		if _, err := s.Open(annKey, sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Errorf("cut after %d bytes: %v, want ErrSealed", i, err)
		}
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewSealer(make([]byte, n)); err == nil {
			t.Errorf("a secret of %d bytes was taken", n)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "7 7") || strings.Contains(text, "7, ") {
		t.Errorf("printed as %s", text)
	}
}

// Temporary files of a crash go, those of somebody at work stay.
func TestFileStoreSweeps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tokens")
	fileStore(t, dir)
	old, young := filepath.Join(dir, "x.1.tmp"), filepath.Join(dir, "x.2.tmp")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-2 * leftAfter)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	fileStore(t, dir)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one: %v, want gone", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one: %v, want there", err)
	}
}

func TestFileStoreLockIsGivenUp(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tokens")
	a, b := fileStore(t, dir), fileStore(t, dir) // like two processes: each has its own open files
	unlock, err := a.Lock(t.Context(), annKey)
	if err != nil {
		t.Fatal(err)
	}
	bob := annKey
	bob.User = "bob"
	other, err := b.Lock(t.Context(), bob)
	if err != nil {
		t.Fatalf("the lock of another key: %v", err)
	}
	other()
	ctx, cancel := context.WithCancelCause(t.Context())
	gaveUp := errors.New("gave up")
	cancel(gaveUp)
	for _, s := range []*FileStore{a, b} {
		if _, err := s.Lock(ctx, annKey); !errors.Is(err, gaveUp) {
			t.Errorf("Lock = %v while another has it, want the context's cause", err)
		}
	}
	unlock()
	again, err := b.Lock(t.Context(), annKey)
	if err != nil {
		t.Fatalf("after the unlock: %v", err)
	}
	again()
}

// Whoever comes and goes, one at a time has the lock, although its file is
// removed again and again.
func TestFileStoreLockExcludes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tokens")
	var inside, rounds atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		f := fileStore(t, dir)
		wg.Go(func() {
			for range 25 {
				unlock, err := f.Lock(context.Background(), annKey)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two have the lock")
				}
				for range 200 {
					runtime.Gosched() // somebody who should not come gets the time to
				}
				if inside.Load() != 1 {
					t.Error("two have the lock")
				}
				rounds.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if rounds.Load() != 200 {
		t.Errorf("%d rounds, want 200", rounds.Load())
	}
}

// A lock file that was opened before its holder removed it locks nothing.
func TestFileStoreLockOfARemovedFile(t *testing.T) {
	t.Parallel()
	f := fileStore(t, filepath.Join(t.TempDir(), "tokens"))
	name := fileName(annKey) + lockSuffix
	unlock, err := f.Lock(t.Context(), annKey)
	if err != nil {
		t.Fatal(err)
	}
	late, err := f.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	unlock()
	if runtime.GOOS == "windows" {
		t.Skip("an open file is not removed there")
	}
	if taken, err := f.claim(late, name); taken || err != nil {
		t.Errorf("while nobody has the lock: taken %v, %v", taken, err)
	}
	unlock, err = f.Lock(t.Context(), annKey)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if taken, err := f.claim(late, name); taken || err != nil {
		t.Errorf("while another has the lock: taken %v, %v", taken, err)
	}
}

// child runs TestChild in a process of its own.
func child(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// TestChild is what other tests do in another process.
func TestChild(t *testing.T) {
	switch os.Getenv("TOKENSOURCE_CHILD") {
	case "token":
		childToken(t)
	case "crash":
		childCrash(t)
	case "rotate":
		childRotate(t)
	default:
		t.Skip("only in a process that another test starts")
	}
}

// childToken asks for one token through the shared store.
func childToken(t *testing.T) {
	s := user(t, Config{
		Issuer: os.Getenv("TOKENSOURCE_ISSUER"), ClientID: "client", HTTPClient: childClient(t),
		Store: fileStore(t, os.Getenv("TOKENSOURCE_DIR")),
	}, "ann", "refresh-0")
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	tok, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("token", tok.AccessToken.Reveal())
}

// SEC-244: ten processes ask at once; one request goes to the issuer.
func TestProcessesShareOneRefresh(t *testing.T) {
	t.Parallel()
	f := newFakeIssuer("refresh-0")
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.metadata = strings.ReplaceAll(withAttempts, testIssuer, server.URL+"/")
		f.mu.Unlock()
		resp, err := f.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := filepath.Join(t.TempDir(), "tokens")

	const processes = 10
	type proc struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Scanner
	}
	procs := make([]proc, processes)
	for i := range procs {
		cmd := child(t, "TOKENSOURCE_CHILD=token", "TOKENSOURCE_DIR="+dir, "TOKENSOURCE_ISSUER="+server.URL+"/", "TOKENSOURCE_CA="+ca)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		procs[i] = proc{cmd, in, bufio.NewScanner(out)}
	}
	until := func(p proc, prefix string) string {
		for p.out.Scan() {
			if rest, ok := strings.CutPrefix(p.out.Text(), prefix); ok {
				return rest
			}
		}
		return ""
	}
	for _, p := range procs {
		until(p, "ready")
	}
	for _, p := range procs {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			t.Error(err)
		}
	}
	for i, p := range procs {
		if got := until(p, "token "); got != "access-1-by-refresh-0" {
			t.Errorf("process %d got %q, want the one token", i, got)
		}
		for p.out.Scan() {
			continue // to its end: Wait closes the pipe
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
	wantRequests(t, f, 1)
}

// crashSteps are the moments of a Save, and whether the entry is the new one
// for who comes after.
var crashSteps = []struct {
	step string
	new  bool
}{
	{"created", false}, {"half written", false}, {"written", false}, {"flushed", false}, {"renamed", true}, {"synced", true},
}

// childCrash saves, and kills itself at a step, with the lock held.
func childCrash(t *testing.T) {
	f := fileStore(t, os.Getenv("TOKENSOURCE_DIR"))
	if _, err := f.Lock(t.Context(), annKey); err != nil {
		t.Fatal(err)
	}
	f.step = func(step string) {
		if step != os.Getenv("TOKENSOURCE_STEP") {
			return
		}
		kill(t)
	}
	t.Fatalf("Save = %v, and nothing killed it", f.Save(t.Context(), annKey, entryOf("new")))
}

// SEC-245, SEC-247: a process killed at any step of a Save leaves the old
// entry or the new one, and no lock.
func TestFileStoreSurvivesCrashes(t *testing.T) {
	t.Parallel()
	for _, tt := range crashSteps {
		t.Run(tt.step, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "tokens")
			f := fileStore(t, dir)
			if err := f.Save(t.Context(), annKey, entryOf("old")); err != nil {
				t.Fatal(err)
			}
			wantKilled(t, "TOKENSOURCE_CHILD=crash", "TOKENSOURCE_DIR="+dir, "TOKENSOURCE_STEP="+tt.step)
			want := entryOf("old")
			if tt.new {
				want = entryOf("new")
			}
			unlock, err := f.Lock(t.Context(), annKey)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			if got, err := f.Load(t.Context(), annKey); err != nil || !sameEntry(got, want) {
				t.Errorf("read %q, %v; want %q", got.RefreshToken.Reveal(), err, want.RefreshToken.Reveal())
			}
			if err := f.Save(t.Context(), annKey, entryOf("next")); err != nil {
				t.Errorf("the next Save: %v", err)
			}
		})
	}
}
