package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const form = "application/x-www-form-urlencoded"

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func status(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Status
}

// members is a JSON object of n members.
func members(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"p%d":"v"`, i)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// pairs is a form of n parameters.
func pairs(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf("p%d=v", i)
	}
	return strings.Join(parts, "&")
}

// SEC-34, SEC-60, SEC-61, SEC-225: what a body is refused for.
func TestReadBodyRefuses(t *testing.T) {
	tests := map[string]struct {
		contentType, body string
		status            int
	}{
		"no content type":             {"", "a=b", 400},
		"text":                        {"text/plain", "a=b", 400},
		"multipart":                   {"multipart/form-data; boundary=x", "--x--", 400},
		"other character set":         {form + "; charset=iso-8859-1", "a=b", 400},
		"UTF-16 JSON":                 {"application/json; charset=utf-16", `{}`, 400},
		"malformed content type":      {form + "; charset", "a=b", 400},
		"JSON read as a form":         {form, `{"a":"b"}=%zz`, 400},
		"form read as JSON":           {"application/json", "a=b", 400},
		"form, repeated":              {form, "a=1&b=2&a=3", 400},
		"form, repeated alike":        {form, "a=1&a=1", 400},
		"form, repeated empty":        {form, "a=&a=1", 400},
		"form, repeated encoded":      {form, "a=1&%61=1", 400},
		"form, bad escape":            {form, "a=%zz", 400},
		"form, semicolon":             {form, "a=1;b=2", 400},
		"form, bad UTF-8":             {form, "a=%ff", 400},
		"form, bad UTF-8 name":        {form, "%c0%af=1", 400},
		"form, NUL":                   {form, "a=b%00", 400},
		"form, too many":              {form, pairs(MaxParameters + 1), 400},
		"form, too large":             {form, "a=" + strings.Repeat("b", MaxBody-1), 413},
		"JSON, empty":                 {"application/json", "", 400},
		"JSON, array":                 {"application/json", `[{"a":"b"}]`, 400},
		"JSON, string":                {"application/json", `"a"`, 400},
		"JSON, null":                  {"application/json", `null`, 400},
		"JSON, two objects":           {"application/json", `{"a":"b"}{"a":"c"}`, 400},
		"JSON, rest":                  {"application/json", `{"a":"b"} x`, 400},
		"JSON, cut":                   {"application/json", `{"a":"b"`, 400},
		"JSON, repeated":              {"application/json", `{"a":"b","a":"c"}`, 400},
		"JSON, repeated escaped":      {"application/json", `{"a":"b","\u0061":"c"}`, 400},
		"JSON, repeated inside":       {"application/json", `{"x":{"a":1,"a":2}}`, 400},
		"JSON, repeated null":         {"application/json", `{"a":null,"a":"c"}`, 400},
		"JSON, bad UTF-8":             {"application/json", "{\"a\":\"\xff\"}", 400},
		"JSON, lone high surrogate":   {"application/json", `{"a":"\ud800"}`, 400},
		"JSON, lone low surrogate":    {"application/json", `{"a":"\udc00"}`, 400},
		"JSON, surrogate and another": {"application/json", `{"a":"\ud800\u0041"}`, 400},
		"JSON, NUL":                   {"application/json", `{"a":"\u0000"}`, 400},
		"JSON, byte order mark":       {"application/json", "\ufeff{}", 400},
		"JSON, single quotes":         {"application/json", `{'a':'b'}`, 400},
		"JSON, comment":               {"application/json", `{/**/}`, 400},
		"JSON, depth 5":               {"application/json", `{"a":{"b":{"c":{"d":{}}}}}`, 400},
		"JSON, deep array":            {"application/json", `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, 400},
		"JSON, too many":              {"application/json", members(MaxParameters + 1), 400},
		"JSON, too large":             {"application/json", `{"a":"` + strings.Repeat("b", MaxBody) + `"}`, 413},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := ReadBody(post(tt.contentType, tt.body))
			if got := status(err); got != tt.status {
				t.Fatalf("ReadBody = %+v, %v: status %d, want %d", p, err, got, tt.status)
			}
			if e := AsError(err); e.Code != InvalidRequest || strings.ContainsAny(e.Description, `"\`) {
				t.Errorf("error is %+v, want invalid_request in plain text (RFC 6749 §5.2)", e)
			}
		})
	}
}

func TestReadBodyAccepts(t *testing.T) {
	tests := map[string]struct{ contentType, body, want string }{
		"form":                   {form, "b=1&a=x+y%26", "x y&"},
		"form, charset":          {form + "; charset=UTF-8", "a=%c3%a9", "é"},
		"form, empty is absent":  {form, "a=&b=1", ""},
		"form, no value":         {form, "a", ""},
		"form, upper-case type":  {"Application/X-WWW-Form-URLEncoded", "a=1", "1"},
		"form, most parameters":  {form, "a=1&" + pairs(MaxParameters-1), "1"},
		"form, at the limit":     {form, "a=" + strings.Repeat("b", MaxBody-2), strings.Repeat("b", MaxBody-2)},
		"JSON":                   {"application/json", ` {"b":1,"a":"x"} `, "x"},
		"JSON, charset":          {`application/json; charset="utf-8"`, `{"a":"é"}`, "é"},
		"JSON, surrogate pair":   {"application/json", `{"a":"\ud83d\ude00"}`, "😀"},
		"JSON, escaped escape":   {"application/json", `{"a":"\\ud800"}`, `\ud800`},
		"JSON, null is absent":   {"application/json", `{"a":null}`, ""},
		"JSON, empty is absent":  {"application/json", `{"a":""}`, ""},
		"JSON, unknown of depth": {"application/json", `{"a":"x","b":{"c":[{}]}}`, "x"},
		"JSON, at the limit":     {"application/json", members(MaxParameters), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := ReadBody(post(tt.contentType, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Text("a"); got != tt.want || p.Err() != nil {
				t.Errorf("a = %q (%v), want %q", got, p.Err(), tt.want)
			}
		})
	}
}

// SEC-61: a known parameter that is no string refuses; it is not read as one.
func TestKnownParameterMustBeText(t *testing.T) {
	for _, value := range []string{"1", "true", "1e999", "[]", `["x"]`, `{"x":"y"}`} {
		p, err := ReadBody(post("application/json", `{"a":`+value+`}`))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if got := p.Text("a"); got != "" || status(p.Err()) != 400 {
			t.Errorf("a of %s = %q, %v; want none and status 400", value, got, p.Err())
		}
	}
}

// SEC-60: POST, and nothing in the query but the vendor's telemetry.
func TestReadBodyRequest(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodHead} {
		r := httptest.NewRequest(method, "/oauth/token", strings.NewReader("a=1"))
		r.Header.Set("Content-Type", form)
		if _, err := ReadBody(r); status(err) != http.StatusMethodNotAllowed {
			t.Errorf("%s: %v, want 405", method, err)
		}
	}
	for query, want := range map[string]int{
		"code=x": 400, "a=": 0, // an empty parameter is an absent one
		"client_id=x&auth0Client=y": 400, "auth0Client=abc": 0, "": 0, "a=%zz": 400,
	} {
		r := post(form, "a=1")
		r.URL.RawQuery = query
		_, err := ReadBody(r)
		if got := status(err); got != want {
			t.Errorf("query %q: status %d, want %d", query, got, want)
		}
	}
	two := post(form, "a=1")
	two.Header.Add("Content-Type", "application/json")
	packed := post(form, "a=1")
	packed.Header.Set("Content-Encoding", "gzip")
	for name, r := range map[string]*http.Request{"two content types": two, "compressed": packed} {
		if _, err := ReadBody(r); status(err) != 400 {
			t.Errorf("%s: %v, want 400", name, err)
		}
	}
}

// The body's declared length is believed only to refuse; the read is bounded too.
func TestReadBodyUnknownLength(t *testing.T) {
	r := post(form, "a="+strings.Repeat("b", MaxBody))
	r.ContentLength = -1
	if _, err := ReadBody(r); status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("ReadBody = %v, want 413", err)
	}
}

func FuzzReadBody(f *testing.F) {
	f.Add(true, `{"grant_type":"password","a":{"b":[1,null]},"c":"\ud83d\ude00"}`)
	f.Add(true, `{"a":"b","a":"c"}`)
	f.Add(true, `{"a":"\ud800\\"}`)
	f.Add(false, "grant_type=password&a=%c3%a9+x&b")
	f.Add(false, "a=1&%61=2")
	f.Fuzz(func(t *testing.T, asJSON bool, body string) {
		contentType := form
		if asJSON {
			contentType = "application/json"
		}
		p, err := ReadBody(post(contentType, body))
		if err != nil {
			if e := AsError(err); e.Status != 400 && e.Status != 413 {
				t.Fatalf("status %d for %q", e.Status, body)
			}
			return
		}
		if len(p.values) > MaxParameters {
			t.Fatalf("%d parameters", len(p.values))
		}
		for name, value := range p.values {
			if checkText(name) != nil || checkText(value) != nil || value == "" {
				t.Fatalf("%q = %q was let through", name, value)
			}
		}
	})
}
