package tokensource

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// strictIssuer is the outside world at its strictest: leeway 0. A refresh token
// works once; presented again it is answered alike under the same nonce, and
// ends the family under any other.
type strictIssuer struct {
	*httptest.Server
	mu         sync.Mutex
	generation int
	nonce      string // of the rotation to generation
	rotations  int
	dead       bool
}

func newStrictIssuer(t *testing.T) *strictIssuer {
	t.Helper()
	is := new(strictIssuer)
	is.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		is.mu.Lock()
		defer is.mu.Unlock()
		nonce := r.Header.Get(AttemptHeader)
		switch rt := r.PostFormValue("refresh_token"); {
		case is.dead || nonce == "":
			is.dead = true
		case rt == fmt.Sprint("rt-", is.generation) && nonce != is.nonce:
			is.generation++
			is.rotations++
			is.nonce = nonce
		case rt == fmt.Sprint("rt-", is.generation-1) && nonce == is.nonce: // a repetition
		default:
			is.dead = true
		}
		if is.dead {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"at-%d","expires_in":3600,"refresh_token":"rt-%d"}`, is.generation, is.generation)
	}))
	t.Cleanup(is.Close)
	return is
}

func (is *strictIssuer) made() (rotations int, dead bool) {
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.rotations, is.dead
}

// childClient trusts the authority that the parent names.
func childClient(t *testing.T) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(os.Getenv("TOKENSOURCE_CA"))) {
		t.Fatal("no authority")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = roots
	return &http.Client{Transport: transport}
}

// childRotate asks for a token and kills itself at a step of one of the saves:
// of the nonce, or of the answer.
func childRotate(t *testing.T) {
	f := fileStore(t, os.Getenv("TOKENSOURCE_DIR"))
	saves := 0
	f.step = func(step string) {
		if step == "created" {
			saves++
		}
		if fmt.Sprint(saves, " ", step) == os.Getenv("TOKENSOURCE_STEP") {
			kill(t)
		}
	}
	_, err := user(t, Config{
		TokenURL: os.Getenv("TOKENSOURCE_ISSUER"), Attempts: true, ClientID: "client",
		HTTPClient: childClient(t), Store: f,
	}, "ann", "").Token(t.Context())
	t.Fatalf("Token = %v, and nothing killed it", err)
}

// kill ends this process as kill -9 does.
func kill(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Kill(); err != nil {
		t.Fatal(err)
	}
	select {} // the signal is on its way
}

// wantKilled runs a child that is to die.
func wantKilled(t *testing.T, env ...string) {
	t.Helper()
	err := child(t, env...).Run()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || runtime.GOOS != "windows" && exit.Exited() {
		t.Fatalf("the process ended with %v, it was to be killed", err)
	}
}

// SEC-245, SEC-247: whenever in a rotation the process is killed, the next one
// goes on, although the issuer forgives nothing: one rotation was made, or is.
func TestRotationSurvivesCrashes(t *testing.T) {
	t.Parallel()
	for _, save := range []string{"1", "2"} {
		for _, at := range crashSteps {
			step := save + " " + at.step
			t.Run(strings.ReplaceAll(step, " ", "-"), func(t *testing.T) {
				t.Parallel()
				is := newStrictIssuer(t)
				dir := filepath.Join(t.TempDir(), "tokens")
				f := fileStore(t, dir)
				c := Config{TokenURL: is.URL, Attempts: true, ClientID: "client", HTTPClient: is.Client(), Store: f}
				if err := user(t, c, "ann", "").Replace(t.Context(), NewSecret("rt-0")); err != nil {
					t.Fatal(err)
				}
				ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: is.Certificate().Raw}))
				wantKilled(t, "TOKENSOURCE_CHILD=rotate", "TOKENSOURCE_DIR="+dir, "TOKENSOURCE_ISSUER="+is.URL, "TOKENSOURCE_CA="+ca, "TOKENSOURCE_STEP="+step)
				if was, _ := is.made(); (was == 1) != (save == "2") {
					t.Fatalf("%d rotations when it was killed: not at the step that was meant", was)
				}
				want(t, user(t, c, "ann", ""), "at-1")
				if rotations, dead := is.made(); rotations != 1 || dead {
					t.Errorf("%d rotations, family dead %v; want 1 and alive", rotations, dead)
				}
				if e, err := f.Load(t.Context(), c.key("ann")); err != nil || e.RefreshToken.Reveal() != "rt-1" || !e.Attempt.IsZero() {
					t.Errorf("stored %q, attempt %v, %v; want rt-1 and none", e.RefreshToken.Reveal(), !e.Attempt.IsZero(), err)
				}
			})
		}
	}
}
