package authorize

import (
	"net/url"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// printable is every printable ASCII byte.
var printable = func() string {
	var b strings.Builder
	for c := byte(0x20); c < 0x7f; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()

// SEC-36: state comes back unchanged, and the registered address stays as it is.
func TestLocation(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		response Response
		want     string
	}{
		"query":              {Response{Mode: modeQuery, RedirectURI: "https://a.example/cb", Params: []Param{{"code", "x"}, {"state", "s"}}}, "https://a.example/cb?code=x&state=s"},
		"query in it":        {Response{Mode: modeQuery, RedirectURI: "https://a.example/cb?t=%20", Params: []Param{{"code", "x"}}}, "https://a.example/cb?t=%20&code=x"},
		"query, open":        {Response{Mode: modeQuery, RedirectURI: "https://a.example/cb?", Params: []Param{{"code", "x"}}}, "https://a.example/cb?code=x"},
		"query, open, amp":   {Response{Mode: modeQuery, RedirectURI: "https://a.example/cb?a=b&", Params: []Param{{"code", "x"}}}, "https://a.example/cb?a=b&code=x"},
		"no path":            {Response{Mode: modeQuery, RedirectURI: "https://a.example", Params: []Param{{"code", "x"}}}, "https://a.example?code=x"},
		"fragment":           {Response{Mode: modeFragment, RedirectURI: "https://a.example/cb?q", Params: []Param{{"token_type", "Bearer"}, {"scope", "a b"}}}, "https://a.example/cb?q#token_type=Bearer&scope=a%20b"},
		"custom scheme":      {Response{Mode: modeQuery, RedirectURI: "com.example:/cb", Params: []Param{{"code", "x"}}}, "com.example:/cb?code=x"},
		"line break, SEC-28": {Response{Mode: modeQuery, RedirectURI: "https://a.example", Params: []Param{{"state", "a\r\nSet-Cookie: x"}}}, "https://a.example?state=a%0D%0ASet-Cookie%3A%20x"},
	}
	for name, tt := range tests {
		if got := tt.response.Location(); got != tt.want {
			t.Errorf("%s: Location() = %q, want %q", name, got, tt.want)
		}
	}
	for _, mode := range []string{modeQuery, modeFragment} {
		r := Response{Mode: mode, RedirectURI: "https://a.example/cb", Params: []Param{{"state", printable}}}
		u, err := url.Parse(r.Location())
		if err != nil {
			t.Fatal(err)
		}
		values, err := url.ParseQuery(u.RawQuery + u.EscapedFragment())
		if err != nil || values.Get("state") != printable {
			t.Errorf("%s: state came back as %q (%v), want %q", mode, values.Get("state"), err, printable)
		}
	}
}

// SEC-35: iss in every response, error or not, unless the tenant turned it off.
func TestRespond(t *testing.T) {
	t.Parallel()
	off := false
	for _, tt := range []struct {
		settings tenant.Settings
		state    string
		want     []Param
	}{
		{tenant.Settings{}, "s", []Param{{"error", "login_required"}, {"error_description", "Login required"}, {"state", "s"}, {"iss", "https://id.example/"}}},
		{tenant.Settings{}, "", []Param{{"error", "login_required"}, {"error_description", "Login required"}, {"iss", "https://id.example/"}}},
		{tenant.Settings{IssParameter: &off}, "s", []Param{{"error", "login_required"}, {"error_description", "Login required"}, {"state", "s"}}},
	} {
		q := &request{tenant: tenant.Tenant{Domain: "id.example", Settings: tt.settings}, mode: modeFormPost, redirectURI: "https://a.example/cb"}
		q.State = tt.state
		got := q.respondError(oauth.NewError(oauth.LoginRequired, "Login required", nil))
		if got.Mode != modeFormPost || got.Origin != "https://a.example" || len(got.Params) != len(tt.want) {
			t.Fatalf("respondError = %+v, want members %v", got, tt.want)
		}
		for i := range tt.want {
			if got.Params[i] != tt.want[i] {
				t.Errorf("member %d = %v, want %v", i, got.Params[i], tt.want[i])
			}
		}
	}
}
