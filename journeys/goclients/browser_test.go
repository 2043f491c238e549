package goclients

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// signIn opens an authorization request as a browser without script would, fills in the
// login form, consents if asked, and returns the parameters that the callback received.
func signIn(t *testing.T, address, email, password string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back *url.URL
	browser := &http.Client{
		Transport: issuer.HTTP.Transport, Jar: jar, Timeout: issuer.HTTP.Timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if strings.HasPrefix(req.URL.String(), callback) {
				back = req.URL
				return http.ErrUseLastResponse
			}
			if len(via) > 20 {
				return fmt.Errorf("more than 20 redirects")
			}
			return nil
		},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if back != nil {
			return back.Query()
		}
		page, err := html.Parse(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		action, values, ok := form(page, email, password)
		if !ok {
			t.Fatalf("%s: status %d and no form to post:\n%.2000s", resp.Request.URL, resp.StatusCode, body)
		}
		target, err := resp.Request.URL.Parse(action)
		if err != nil {
			t.Fatal(err)
		}
		req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), strings.NewReader(values.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://"+issuer.Domain)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	t.Fatal("still at the issuer after six pages")
	return nil
}

var accept = regexp.MustCompile(`(?i)accept|allow|continue|authorize`)

// form finds the first form to post and fills it in. On a page that asks for neither name
// nor password it presses the button that accepts.
func form(page *html.Node, email, password string) (action string, values url.Values, ok bool) {
	for n := range page.Descendants() {
		if n.Data != "form" || !strings.EqualFold(attr(n, "method"), "post") {
			continue
		}
		values = url.Values{}
		asks := false
		var first, accepting *html.Node
		for f := range n.Descendants() {
			name := attr(f, "name")
			switch {
			case f.Data == "button" && attr(f, "type") != "button":
				if first == nil {
					first = f
				}
				if accepting == nil && accept.MatchString(text(f)) {
					accepting = f
				}
			case f.Data != "input" || name == "":
			case attr(f, "type") == "password":
				values.Set(name, password)
				asks = true
			case attr(f, "type") == "email" || attr(f, "type") == "text":
				values.Set(name, email)
				asks = true
			case attr(f, "type") != "checkbox" && attr(f, "type") != "submit":
				values.Set(name, attr(f, "value"))
			}
		}
		press := first
		if !asks && accepting != nil {
			press = accepting
		}
		if press != nil && attr(press, "name") != "" {
			values.Set(attr(press, "name"), attr(press, "value"))
		}
		return attr(n, "action"), values, true
	}
	return "", nil, false
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
