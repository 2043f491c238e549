package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of a request, held before any work is done (SEC-60, SEC-61, SEC-225).
const (
	// MaxBody is the size of a body in bytes.
	MaxBody = 64 << 10
	// MaxParameters is the number of parameters of a query, a form or an object.
	MaxParameters = 100
	maxJSONDepth  = 4
)

// Parameters are the parameters of one request, each at most once (RFC 6749
// §3.1, SEC-34). An absent one, an empty one and a JSON null are the same.
type Parameters struct {
	values map[string]string
	// other names members of a JSON body that are neither a string nor null:
	// unknown ones are ignored, known ones refuse the request (SEC-61).
	other map[string]bool
	// wrong is the first known parameter that was asked for and is no string.
	wrong string
}

// Text is the value of a parameter, or empty.
func (p *Parameters) Text(name string) string {
	if p.other[name] && p.wrong == "" {
		p.wrong = name
	}
	return p.values[name]
}

// Err is an Error when a parameter that Text was asked for is not a string.
func (p *Parameters) Err() error {
	if p.wrong == "" {
		return nil
	}
	return badRequest("The parameter " + Quote(p.wrong) + " must be a string.")
}

// Missing is the answer to a request without a parameter it must have.
func Missing(name string) *Error {
	return NewError(InvalidRequest, "Missing required parameter: "+name, nil).WithReason("missing_parameter")
}

func badRequest(description string) *Error {
	return NewError(InvalidRequest, description, nil).WithReason("malformed_request")
}

// ReadQuery reads the parameters of the query string.
func ReadQuery(r *http.Request) (*Parameters, error) {
	return parseForm(r.URL.RawQuery)
}

// ReadForm reads the parameters of a form body, as a page's form sends it.
func ReadForm(r *http.Request) (*Parameters, error) {
	kind, err := contentType(r)
	if err != nil {
		return nil, err
	}
	if kind != formType {
		return nil, badRequest("The content type must be " + formType + ".")
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return parseForm(string(body))
}

// ReadBody reads the parameters of a form or JSON body. Only the declared type
// is read, so that no second reader can find other parameters in the same bytes
// (SEC-61); parameters in the query string are refused, not merged (SEC-60).
func ReadBody(r *http.Request) (*Parameters, error) {
	if r.Method != http.MethodPost {
		return nil, badRequest("The method must be POST.").WithStatus(http.StatusMethodNotAllowed)
	}
	if err := refuseQuery(r); err != nil {
		return nil, err
	}
	kind, err := contentType(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if kind == jsonType {
		return parseJSON(body)
	}
	return parseForm(string(body))
}

// refuseQuery lets only the telemetry parameter of the vendor's clients pass
// (authentication-api.md §0).
func refuseQuery(r *http.Request) error {
	query, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return err
	}
	for name := range query.values {
		if name != "auth0Client" {
			return badRequest("Parameters must be sent in the body, not in the query string.")
		}
	}
	return nil
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// contentType is formType or jsonType. A character set other than UTF-8, and a
// coding of the whole body, are refused: they would let two readers disagree
// (SEC-61), or unpack to any size (SEC-225).
func contentType(r *http.Request) (string, error) {
	refused := badRequest("The content type must be " + formType + " or " + jsonType + ", in UTF-8.")
	if len(r.Header.Values("Content-Type")) != 1 || r.Header.Get("Content-Encoding") != "" {
		return "", refused
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != formType && kind != jsonType {
		return "", refused
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return "", refused
	}
	return kind, nil
}

func readBody(r *http.Request) ([]byte, error) {
	tooLarge := badRequest("The request body is too large.").WithStatus(http.StatusRequestEntityTooLarge)
	if r.ContentLength > MaxBody {
		return nil, tooLarge
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	var limit *http.MaxBytesError
	if errors.As(err, &limit) || len(body) > MaxBody {
		return nil, tooLarge
	}
	if err != nil {
		refused := badRequest("The request body could not be read.")
		refused.Err = err
		return nil, refused
	}
	return body, nil
}

// parseForm reads name=value pairs (RFC 6749 Appendix B), once each.
func parseForm(s string) (*Parameters, error) {
	if strings.Count(s, "&") >= MaxParameters {
		return nil, tooMany()
	}
	p := &Parameters{values: map[string]string{}}
	seen := map[string]bool{}
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := unescape(rawName)
		if err != nil {
			return nil, err
		}
		value, err := unescape(rawValue)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, repeated()
		}
		seen[name] = true
		if value != "" {
			p.values[name] = value
		}
	}
	return p, nil
}

func unescape(s string) (string, error) {
	if strings.Contains(s, ";") { // once a separator: refused, as by net/url
		return "", badRequest("The parameters are not form-encoded.")
	}
	v, err := url.QueryUnescape(s)
	if err != nil {
		return "", badRequest("The parameters are not form-encoded.")
	}
	return v, checkText(v)
}

// checkText refuses what is not text to every part that reads it after us:
// malformed UTF-8, and NUL, which PostgreSQL cannot hold.
func checkText(s string) error {
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return badRequest("A parameter is not well-formed UTF-8 text.")
	}
	return nil
}

// parseJSON reads one object. encoding/json would take the last of repeated
// keys and repair malformed UTF-8; neither is let through (SEC-61).
func parseJSON(body []byte) (*Parameters, error) {
	malformed := badRequest("The body is not a JSON object.")
	if !utf8.Valid(body) {
		return nil, checkText("\xff")
	}
	if hasLoneSurrogate(body) {
		return nil, checkText("\xff")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed
	}
	p := &Parameters{values: map[string]string{}, other: map[string]bool{}}
	seen := map[string]bool{}
	for d.More() {
		name, err := readKey(d, seen)
		if err != nil {
			return nil, err
		}
		if len(seen) > MaxParameters {
			return nil, tooMany()
		}
		t, err := d.Token()
		if err != nil {
			return nil, malformed
		}
		switch v := t.(type) {
		case nil:
		case string:
			if err := checkText(v); err != nil {
				return nil, err
			}
			if v != "" {
				p.values[name] = v
			}
		case json.Delim:
			p.other[name] = true
			if err := skip(d, v, 2); err != nil {
				return nil, err
			}
		default:
			p.other[name] = true
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed
	}
	return p, nil
}

func readKey(d *json.Decoder, seen map[string]bool) (string, error) {
	t, err := d.Token()
	name, ok := t.(string)
	if err != nil || !ok {
		return "", badRequest("The body is not a JSON object.")
	}
	if seen[name] {
		return "", repeated()
	}
	seen[name] = true
	return name, checkText(name)
}

// skip reads the rest of an object or array that nobody asks for; depth is its own.
func skip(d *json.Decoder, open json.Delim, depth int) error {
	if depth > maxJSONDepth {
		return badRequest("The body is nested too deeply.")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			if _, err := readKey(d, seen); err != nil {
				return err
			}
		}
		t, err := d.Token()
		if err != nil {
			return badRequest("The body is not a JSON object.")
		}
		if inner, ok := t.(json.Delim); ok {
			if err := skip(d, inner, depth+1); err != nil {
				return err
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return badRequest("The body is not a JSON object.")
	}
	return nil
}

// hasLoneSurrogate finds a \u escape that is half of a surrogate pair: the
// decoder would turn any of them into the same replacement character.
func hasLoneSurrogate(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(body[i:])
		switch {
		case !ok:
			i++ // the escaped character
		case unit < 0xd800 || unit > 0xdfff:
			i += 5
		default:
			low, ok := escapedUnit(body[min(i+6, len(body)):])
			if unit > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		}
	}
	return false
}

// escapedUnit is the value of the \uXXXX that b begins with.
func escapedUnit(b []byte) (uint, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var v uint
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			v = v<<4 | uint(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

func repeated() *Error { return badRequest("A parameter is repeated.") }
func tooMany() *Error  { return badRequest("There are too many parameters.") }
