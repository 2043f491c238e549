package tokensource

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// route is the network: host to answer.
type route struct {
	to   map[string]func(*http.Request) *http.Response
	seen []string
}

func (n *route) RoundTrip(r *http.Request) (*http.Response, error) {
	n.seen = append(n.seen, r.URL.Host+r.URL.Path+" "+r.Header.Get("Authorization"))
	resp := n.to[r.URL.Host](r)
	resp.Request = r
	return resp, nil
}

// SEC-218: a token goes to the host it was meant for, over https, and does not
// follow redirects elsewhere.
func TestTransport(t *testing.T) {
	t.Parallel()
	src := SourceFunc(func(context.Context) (Token, error) {
		return Token{AccessToken: NewSecret("tok"), TokenType: "bearer"}, nil
	})
	redirect := func(to string) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/end") {
				return reply(200, "")
			}
			return reply(307, "", "Location", to)
		}
	}
	n := &route{to: map[string]func(*http.Request) *http.Response{
		"api.example":    redirect("https://api.example/end"),
		"moved.example":  redirect("https://evil.example/trap"),
		"evil.example":   redirect("https://evil.example/end"),
		"back.example":   redirect("https://round.example/trip"),
		"round.example":  redirect("https://back.example/end"),
		"plain.example":  redirect("http://plain.example/end"),
		"127.0.0.1:8080": redirect("/end"),
	}}
	for url, want := range map[string]string{
		"https://api.example/x":   "api.example/x Bearer tok|api.example/end Bearer tok",
		"https://moved.example/x": "moved.example/x Bearer tok|evil.example/trap |evil.example/end ",
		"https://back.example/x":  "back.example/x Bearer tok|round.example/trip |back.example/end Bearer tok",
		"https://plain.example/x": "plain.example/x Bearer tok|plain.example/end ",
		"http://127.0.0.1:8080/x": "127.0.0.1:8080/x Bearer tok|127.0.0.1:8080/end Bearer tok",
	} {
		n.seen = nil
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := HTTPClient(src, &http.Client{Transport: n}).Do(req)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		resp.Body.Close()
		if got := strings.Join(n.seen, "|"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", url, got, want)
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the caller's request was changed")
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportFailsWithoutSending(t *testing.T) {
	t.Parallel()
	broken := errors.New("no token today")
	n := &route{}
	for url, src := range map[string]Source{
		"https://api.example/": SourceFunc(func(context.Context) (Token, error) { return Token{}, broken }),
		"http://api.example/":  SourceFunc(func(context.Context) (Token, error) { return Token{AccessToken: NewSecret("tok")}, nil }),
	} {
		body := &closing{Reader: strings.NewReader("x")}
		req, err := http.NewRequest("POST", url, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&Transport{Source: src, Base: n}).RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || len(n.seen) != 0 || !body.closed {
			t.Errorf("%s: %v, %d sent, body closed %v; want an error, none, true", url, err, len(n.seen), body.closed)
		}
	}
}
