package management_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// transcript sends requests and keeps what came back, with every random value
// named by its kind and the order it appeared in, so that the exact JSON is the
// contract. A path or body names an earlier value by that name.
type transcript struct {
	f     *fixture
	text  strings.Builder
	names map[string]string // value → name
	count map[string]int
}

// random values, the longest first.
var randoms = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"certificate", regexp.MustCompile(`-----BEGIN [A-Z0-9]+-----[^"]*-----END [A-Z0-9]+-----\\r\\n`)},
	{"log", regexp.MustCompile(`\b900[0-9]{53}\b`)},
	{"secret", regexp.MustCompile(`"[A-Za-z0-9_-]{64}"`)},
	{"thumbprint", regexp.MustCompile(`"[A-Za-z0-9_-]{43}"`)},
	{"position", regexp.MustCompile(`"next":"[A-Za-z0-9_-]+"`)},
	{"client", regexp.MustCompile(`\b[A-Za-z0-9]{32}\b`)},
	{"cred", regexp.MustCompile(`cred_[A-Za-z0-9]{22}`)},
	{"cgr", regexp.MustCompile(`cgr_[A-Za-z0-9]{16}`)},
	{"con", regexp.MustCompile(`con_[A-Za-z0-9]{16}`)},
	{"family", regexp.MustCompile(`rt_[A-Za-z0-9_-]{27}`)},
	{"hex", regexp.MustCompile(`\b[0-9a-f]{24}\b`)},
}

func (x *transcript) normal(s string) string {
	for _, r := range randoms {
		s = r.pattern.ReplaceAllStringFunc(s, func(v string) string {
			quote := ""
			if strings.HasPrefix(v, `"`) {
				quote, v = `"`, strings.Trim(v, `"`)
			}
			if x.names[v] == "" {
				x.count[r.kind]++
				x.names[v] = fmt.Sprintf("<%s-%d>", r.kind, x.count[r.kind])
			}
			return quote + x.names[v] + quote
		})
	}
	return s
}

func (x *transcript) real(s string) string {
	for value, name := range x.names {
		s = strings.ReplaceAll(s, name, value)
	}
	return s
}

// do sends one request; line is METHOD path [body].
func (x *transcript) do(line string) answer {
	x.f.t.Helper()
	method, rest, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(rest, " ")
	x.f.clock.Advance(time.Second) // lists are ordered by age
	a := x.f.do(method, x.real(path), x.real(body))
	fmt.Fprintf(&x.text, "> %s\n< %d", line, a.status)
	if link := a.header.Get("Link"); link != "" {
		fmt.Fprintf(&x.text, "\n< Link: %s", x.normal(link))
	}
	fmt.Fprintf(&x.text, "\n%s\n\n", x.normal(a.body))
	return a
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x := &transcript{f: start(t), names: map[string]string{}, count: map[string]int{}}
			for _, line := range strings.Split(string(old), "\n") {
				switch {
				case strings.HasPrefix(line, "#"):
					fmt.Fprintln(&x.text, line)
				case strings.HasPrefix(line, "> "):
					x.do(line[2:])
				}
			}
			if got := x.text.String(); got != string(old) {
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				t.Errorf("the transcript differs (-update rewrites it):\n%s", firstDifference(got, string(old)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			other := "(nothing)"
			if i < len(w) {
				other = w[i]
			}
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], other)
		}
	}
	return "the file is longer"
}

// Every answer is JSON in the media type the clients parse, and not kept by caches.
func TestAnswersAreJSON(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, a := range []answer{f.do("GET", "clients", ""), f.do("GET", "nothing/here", ""), f.as("", "GET", "clients", ""), f.do("DELETE", "clients/absent", "")} {
		if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
			t.Errorf("%s: content type %q", a.what, got)
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: cache control %q", a.what, got)
		}
		if a.body != "" && !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %s", a.what, a.body)
		}
	}
}
