package authtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// LoginRequest is a login with code and PKCE, as a client begins it.
type LoginRequest struct {
	Client Client
	// RedirectURI is one of the client's callbacks.
	RedirectURI string
	// Audience is the API; empty means userinfo only.
	Audience string
	// Scope is empty for "openid profile email".
	Scope string
	// Email is the user's; Password is empty for the package's Password.
	Email    string
	Password string
	// Params are further parameters of the authorization request; they replace
	// what is set above, and an empty value removes it.
	Params map[string]string
	// Browser keeps its cookies between logins; nil is a new one.
	Browser *Browser
}

// Answer is what came back to the redirect URI.
type Answer struct {
	// Params are its parameters: code and state, or error and error_description.
	Params url.Values
	// Verifier belongs to the request's code challenge.
	Verifier    string
	RedirectURI string
	// Pages are the paths of the pages the user went through.
	Pages []string
}

// Login signs a user in through the pages and exchanges the code.
func (s *Server) Login(t testing.TB, r LoginRequest) Tokens {
	t.Helper()
	return s.Exchange(t, r.Client, s.Authorize(t, r))
}

// Exchange exchanges the code of an answer.
func (s *Server) Exchange(t testing.TB, c Client, a Answer) Tokens {
	t.Helper()
	if a.Params.Get("code") == "" {
		t.Fatalf("authtest: no code in the answer: %v", a.Params)
	}
	return s.Token(t, c.authenticate(url.Values{
		"grant_type": {"authorization_code"}, "code": {a.Params.Get("code")},
		"redirect_uri": {a.RedirectURI}, "code_verifier": {a.Verifier},
	}))
}

// maxSteps is far more than any login has.
const maxSteps = 12

// Authorize makes an authorization request and does what the pages ask, until
// the browser is sent back to the client: it signs in with the user's password
// and allows what is asked.
func (s *Server) Authorize(t testing.TB, r LoginRequest) Answer {
	t.Helper()
	b := r.Browser
	if b == nil {
		b = s.NewBrowser(t)
	}
	verifier := rand.Text() + rand.Text()
	answer := Answer{Verifier: verifier, RedirectURI: r.RedirectURI}
	target := s.URL + "/authorize?" + r.query(verifier).Encode()
	for range maxSteps {
		resp := b.Get(t, target)
		for resp.Status == http.StatusOK {
			page, form := resp.URL.Path, resp.Form(t)
			answer.Pages = append(answer.Pages, page)
			switch page {
			case "/u/login":
				form.Set("identifier", r.Email)
				form.Set("password", orDefault(r.Password, Password))
			case "/u/consent":
				form.Set("decision", "allow")
			default:
				t.Fatalf("authtest: a page that nobody told us about: %s", resp)
			}
			resp = b.Submit(t, resp, form)
		}
		location := resp.Location()
		if location == nil {
			t.Fatalf("authtest: the login ends at %s", resp)
		}
		if r.RedirectURI != "" && strings.HasPrefix(location.String(), r.RedirectURI) {
			answer.Params = location.Query()
			if location.Fragment != "" {
				var err error
				if answer.Params, err = url.ParseQuery(location.Fragment); err != nil {
					t.Fatal(err)
				}
			}
			return answer
		}
		target = location.String()
	}
	t.Fatalf("authtest: a login of more than %d steps, last at %s", maxSteps, target)
	return Answer{}
}

func (r LoginRequest) query(verifier string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	q := map[string]string{
		"response_type": "code", "client_id": r.Client.ID, "redirect_uri": r.RedirectURI,
		"scope": orDefault(r.Scope, "openid profile email"), "state": rand.Text(), "audience": r.Audience,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256", // RFC 7636 §4.2
	}
	maps.Copy(q, r.Params)
	v := url.Values{}
	for name, value := range q {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// Browser is an HTTP client with cookies that hands redirects back.
type Browser struct {
	client *http.Client
	server *Server
}

// NewBrowser is a browser without cookies.
func (s *Server) NewBrowser(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *s.client
	c.Jar = jar
	return &Browser{client: &c, server: s}
}

// Get opens an address.
func (b *Browser) Get(t testing.TB, target string) Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	return do(t, b.client, req)
}

// Form is the form of a page: where it goes, and its fields as they stand.
type Form struct {
	Action string
	url.Values
}

// Submit sends a form of a page, as a browser does.
func (b *Browser) Submit(t testing.TB, page Response, f Form) Response {
	t.Helper()
	target, err := page.URL.Parse(f.Action)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), strings.NewReader(f.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Origin", b.server.URL)
	return do(t, b.client, req)
}

var (
	formTag  = regexp.MustCompile(`(?s)<form\b([^>]*)>(.*?)</form>`)
	inputTag = regexp.MustCompile(`(?s)<input\b([^>]*)>`)
	attrTag  = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
)

// Form is the first form of the page: one of ours, whose attributes are all
// written with double quotes.
func (r Response) Form(t testing.TB) Form {
	t.Helper()
	m := formTag.FindSubmatch(r.Body)
	if m == nil {
		t.Fatalf("authtest: no form in the page: %s", r)
	}
	f := Form{Action: attributes(m[1])["action"], Values: url.Values{}}
	for _, in := range inputTag.FindAllSubmatch(m[2], -1) {
		if a := attributes(in[1]); a["name"] != "" {
			f.Set(a["name"], a["value"])
		}
	}
	return f
}

func attributes(tag []byte) map[string]string {
	out := map[string]string{}
	for _, a := range attrTag.FindAllSubmatch(tag, -1) {
		out[string(a[1])] = html.UnescapeString(string(a[2]))
	}
	return out
}

// String names the answer without its values, which are secrets.
func (a Answer) String() string { return fmt.Sprintf("answer at %s after %v", a.RedirectURI, a.Pages) }
