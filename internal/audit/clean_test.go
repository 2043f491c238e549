package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bulla-auth/bulla/internal/tenant"
	"pgregory.net/rapid"
)

// SEC-231: values are escaped and cut at 256 bytes.
func TestPrintable(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":             {"curl/8.1", "curl/8.1"},
		"line break":        {"a\r\nb", `a\r\nb`},
		"terminal escape":   {"\x1b[31mred", `\x1b[31mred`},
		"right to left":     {"a\u202eb", `a\u202eb`},
		"line separator":    {"a\u2028b", `a\u2028b`},
		"not UTF-8":         {"a\xffb", `a\xffb`},
		"letters":           {"Zoë 李", "Zoë 李"},
		"256 bytes":         {strings.Repeat("a", 256), strings.Repeat("a", 256)},
		"257 bytes":         {strings.Repeat("a", 257), strings.Repeat("a", 253) + "…"},
		"cut between runes": {strings.Repeat("ë", 200), strings.Repeat("ë", 126) + "…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Printable(tt.in); got != tt.want {
				t.Errorf("Printable(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestPrintableOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "in"))
		got := Printable(in)
		if len(got) > MaxValue || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\x1b\u2028\u202e") {
			t.Fatalf("Printable(%q) = %q", in, got)
		}
	})
}

// SEC-230: no event holds a token, code, secret or password.
func TestCleanRedacts(t *testing.T) {
	const canary = "canary-value-that-must-not-appear"
	type foreign struct {
		Name   string `json:"name"`
		Secret string `json:"client_secret"`
	}
	e := Clean(tenant.Event{
		Type:   ManagementWritten,
		Origin: tenant.Origin{SDK: json.RawMessage(`{"name":"auth0.js"}`)},
		Details: map[string]any{
			"request": map[string]any{
				"body":    map[string]any{"password": canary, "Client-Secret": canary, "name": "a\nb"},
				"headers": []any{map[string]any{"authorization": canary}},
			},
			"refresh_token": canary,
			"struct":        foreign{Name: "n", Secret: canary},
			"scopes":        []string{"read:x"},
			"count":         3,
		},
	})
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), canary) {
		t.Errorf("the event holds a secret: %s", b)
	}
	body := e.Details["request"].(map[string]any)["body"].(map[string]any)
	if got, want := body["name"], `a\nb`; got != want {
		t.Errorf("name = %q, want %q", got, want)
	}
	if got, want := e.Description, "Successful Management API write"; got != want {
		t.Errorf("Description = %q, want %q", got, want)
	}
	if string(e.Origin.SDK) != `{"name":"auth0.js"}` {
		t.Errorf("SDK = %s, want it kept", e.Origin.SDK)
	}
}

func TestCleanBoundsDepth(t *testing.T) {
	deep := map[string]any{}
	at := deep
	for range 100 {
		next := map[string]any{}
		at["n"] = next
		at = next
	}
	b, err := json.Marshal(Clean(tenant.Event{Details: deep}).Details)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(b), "{"); got > maxDepth {
		t.Errorf("%d levels kept, want at most %d", got, maxDepth)
	}
}

// SEC-232: each kind of event has one stable code and a text.
func TestCodesAreDescribed(t *testing.T) {
	for code, k := range kinds {
		if k.description == "" {
			t.Errorf("code %q has no description", code)
		}
	}
	for _, code := range []string{"sertft", "fertft", "ferrt", "srrt", "seacft", "feacft", "seccft", "feccft",
		"sepft", "fepft", "sdu", "sapi", "api_limit", "resource_cleanup"} {
		if Description(code) == "" {
			t.Errorf("code %q of the minimal set of management-endpoints.md §14 is missing", code)
		}
	}
}
