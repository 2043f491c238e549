package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql" //nolint:depguard // the script's newer schema is made behind the store's back, as a newer program would
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" //nolint:depguard // see database/sql
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bulla": main})
}

// TestScripts runs the command as an operator does. Each script has a directory
// and a port of its own; $PORT is free, and the settings name it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			port, err := freePort()
			if err != nil {
				return err
			}
			e.Setenv("PORT", port)
			e.Setenv("BULLA_LISTEN", "localhost:"+port)
			e.Setenv("BULLA_DATA", filepath.Join(e.WorkDir, "data"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     cmdExits,
			"oneline":   cmdOneLine,
			"snapshot":  cmdSnapshot,
			"unchanged": cmdUnchanged,
			"mode":      cmdMode,
			"serve":     cmdServe,
			"stop":      cmdStop,
			"occupy":    cmdOccupy,
			"newer":     cmdNewer,
			"token":     cmdToken,
			"kid":       cmdKid,
		},
	})
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// exits STATUS COMMAND ARG...: the command ends with exactly this status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	status := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		status = fmt.Sprint(exit.ExitCode())
	}
	if status != args[0] {
		ts.Fatalf("status %s, want %s", status, args[0])
	}
}

// oneline: standard error of the last command is one line that begins with "bulla: ".
func cmdOneLine(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if !strings.HasPrefix(text, "bulla: ") || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("standard error is not one line of ours: %q", text)
	}
}

// fingerprint is every name, mode and content under a path.
func fingerprint(ts *testscript.TestScript, path string) string {
	var b strings.Builder
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == path {
			b.WriteString("nothing")
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", name, info.Mode())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		}
		b.WriteString("\n")
		return nil
	})
	ts.Check(err)
	return b.String()
}

// snapshot PATH remembers what is there; unchanged PATH compares.
func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Setenv("SNAPSHOT_"+filepath.Base(path), fingerprint(ts, path))
}

func cmdUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	if got, want := fingerprint(ts, path), ts.Getenv("SNAPSHOT_"+filepath.Base(path)); got != want {
		ts.Fatalf("%s changed:\n%s\nwas:\n%s", args[0], got, want)
	}
}

// mode OCTAL PATH...: the files have exactly these permissions.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	for _, path := range args[1:] {
		info, err := os.Stat(ts.MkAbs(path))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", path, got, args[0])
		}
	}
}

// running is a server that a script has started.
type running struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	stderr string
}

// servers are the running servers of the scripts, by *testscript.TestScript.
var servers sync.Map

// serve [ARG...] starts bulla serve and waits for its first line. What it prints
// after that goes to the file serve.out.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	bulla, err := exec.LookPath("bulla")
	ts.Check(err)
	r := &running{cmd: exec.Command(bulla, append([]string{"serve"}, args...)...), ended: make(chan struct{}), stderr: ts.MkAbs("serve.err")}
	r.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "BULLA_LISTEN", "BULLA_DATA", "BULLA_OPS_LISTEN", "BULLA_DATABASE_URL", "BULLA_DOMAIN"} {
		if v := ts.Getenv(name); v != "" {
			r.cmd.Env = append(r.cmd.Env, name+"="+v)
		}
	}
	log, err := os.Create(r.stderr)
	ts.Check(err)
	defer log.Close()
	r.cmd.Stderr = log
	stdout, err := r.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	ts.Defer(func() {
		_ = r.cmd.Process.Kill() // it has ended already when the script stopped it
		<-r.ended
	})
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadString('\n')
	rest := ts.MkAbs("serve.out")
	go func() {
		defer close(r.ended)
		out, ferr := os.Create(rest)
		if ferr == nil {
			_, _ = lines.WriteTo(out) // the pipe ends with the process
			out.Close()
		}
		_ = r.cmd.Wait()
	}()
	if err != nil {
		<-r.ended
		ts.Fatalf("serve: no first line: %s", ts.ReadFile("serve.err"))
	}
	fmt.Fprint(ts.Stdout(), first)
	ts.Setenv("READY", strings.TrimSuffix(first, "\n"))
	servers.Store(ts, r)
}

// stop ends the server with SIGTERM; it has to drain and exit with status 0.
func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := servers.LoadAndDelete(ts)
	if !ok {
		ts.Fatalf("no server is running")
	}
	r, _ := v.(*running)
	ts.Check(r.cmd.Process.Signal(syscall.SIGTERM))
	<-r.ended
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("exit status %d, want 0: %s", code, ts.ReadFile("serve.err"))
	}
}

// occupy takes $PORT until the script ends.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}

// newer FILE raises the schema's version, as a newer program would.
func cmdNewer(ts *testscript.TestScript, neg bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(`INSERT INTO schema_versions (version_id, is_applied) VALUES (99999, 1)`)
	ts.Check(err)
}

// kid FILE STATE NAME sets $NAME to the id of the only key in a state, of what
// keys list --format json printed.
func cmdKid(ts *testscript.TestScript, neg bool, args []string) {
	var keys []struct{ Kid, State string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &keys))
	var found []string
	for _, k := range keys {
		if k.State == args[1] {
			found = append(found, k.Kid)
		}
	}
	if len(found) != 1 {
		ts.Fatalf("%d keys are %s", len(found), args[1])
	}
	ts.Setenv(args[2], found[0])
}

// token ENVFILE OUT gets a Management API token with the credentials that
// management-client --format env printed, and writes it to the file OUT.
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	env := map[string]string{}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	pem, err := os.ReadFile(env["CA_FILE"])
	ts.Check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	form := url.Values{
		"grant_type": {"client_credentials"}, "audience": {env["ISSUER"] + "api/v2/"},
		"client_id": {env["MGMT_CLIENT_ID"]}, "client_secret": {env["MGMT_CLIENT_SECRET"]},
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, env["ISSUER"]+"oauth/token", strings.NewReader(form.Encode()))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&answer))
	if answer.AccessToken == "" {
		ts.Fatalf("no token: %s", resp.Status)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(answer.AccessToken+"\n"), 0o600))
}
