package jose

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func part(s string) string { return b64.EncodeToString([]byte(s)) }

func compact(header, payload string) string {
	return part(header) + "." + part(payload) + "." + part("signature")
}

const goodHeader = `{"alg":"RS256","kid":"k","typ":"JWT"}`

// SEC-91, SEC-92, SEC-93: one form is read; everything near it is refused.
func TestParseCompactRefuses(t *testing.T) {
	t.Parallel()
	good := compact(goodHeader, `{"a":1}`)
	if _, err := ParseCompact(good); err != nil {
		t.Fatalf("ParseCompact of the good token: %v", err)
	}
	h, p, s := part(goodHeader), part(`{"a":1}`), part("signature")
	deep := strings.Repeat(`{"a":`, 21) + "1" + strings.Repeat("}", 21)
	tests := map[string]string{
		"empty":                       "",
		"one part":                    h,
		"two parts":                   h + "." + p,
		"four parts":                  good + "." + s,
		"five parts, as encrypted":    good + "." + s + "." + s,
		"only dots":                   "..",
		"no header":                   "." + p + "." + s,
		"no payload":                  h + ".." + s,
		"no signature":                h + "." + p + ".",
		"space before":                " " + good,
		"space after":                 good + " ",
		"line break in the payload":   h + "." + p[:4] + "\n" + p[4:] + "." + s,
		"line break in the signature": h + "." + p + "." + s[:4] + "\r\n" + s[4:],
		"padding":                     h + "." + p + "." + part("si") + "=",
		"standard alphabet":           h + "." + p + "." + "a+/b",
		"spare bits":                  h + "." + p + "." + "aB", // "aA" is the one spelling of this octet
		"length no encoding has":      h + "." + p + "." + "aaaaa",
		"JSON serialisation":          `{"payload":"` + p + `","protected":"` + h + `","signature":"` + s + `"}`,
		"polyglot":                    `{"a":"` + good + `"}`,
		"not UTF-8":                   compact(goodHeader, "{\"a\":\"\xff\"}"),
		"half surrogate":              compact(goodHeader, `{"a":"\ud800"}`),
		"byte order mark":             compact("\ufeff"+goodHeader, `{}`),
		"header array":                compact(`[]`, `{}`),
		"payload array":               compact(goodHeader, `[1]`),
		"payload string":              compact(goodHeader, `"a"`),
		"payload null":                compact(goodHeader, `null`),
		"two objects":                 compact(goodHeader, `{}{}`),
		"trailing comma":              compact(goodHeader, `{"a":1,}`),
		"repeated claim":              compact(goodHeader, `{"a":1,"a":2}`),
		"repeated, escaped":           compact(goodHeader, `{"a":1,"\u0061":2}`),
		"repeated, nested":            compact(goodHeader, `{"b":[{"a":1,"a":2}]}`),
		"repeated among many":         compact(goodHeader, many(100)+`,"m1":1}`),
		"repeated header":             compact(`{"alg":"RS256","alg":"none"}`, `{}`),
		"too deep":                    compact(goodHeader, deep),
		"no alg":                      compact(`{"typ":"JWT"}`, `{}`),
		"empty alg":                   compact(`{"alg":""}`, `{}`),
		"alg in another case":         compact(`{"ALG":"RS256"}`, `{}`),
		"alg not a string":            compact(`{"alg":["RS256"]}`, `{}`),
		"kid not a string":            compact(`{"alg":"RS256","kid":1}`, `{}`),
		"kid null":                    compact(`{"alg":"RS256","kid":null}`, `{}`),
		"kid too long":                compact(`{"alg":"RS256","kid":"`+strings.Repeat("k", 257)+`"}`, `{}`),
		"typ not a string":            compact(`{"alg":"RS256","typ":{}}`, `{}`),
		"crit":                        compact(`{"alg":"RS256","crit":["exp"],"exp":1}`, `{}`),
		"crit empty":                  compact(`{"alg":"RS256","crit":[]}`, `{}`),
		"crit null":                   compact(`{"alg":"RS256","crit":null}`, `{}`),
		"crit repeated":               compact(`{"alg":"RS256","crit":["b64","b64"],"b64":true}`, `{}`),
		"b64 false":                   compact(`{"alg":"RS256","b64":false}`, `{}`),
		"zip":                         compact(`{"alg":"RS256","zip":"DEF"}`, `{}`),
		"enc":                         compact(`{"alg":"RSA-OAEP","enc":"A256GCM"}`, `{}`),
		"17 KiB":                      compact(goodHeader, `{"a":"`+strings.Repeat("x", 17<<10)+`"}`),
		"control character":           compact(goodHeader, "{\"a\":\"\x01\"}"),
		"number with leading zero":    compact(goodHeader, `{"a":01}`),
		"number without digits":       compact(goodHeader, `{"a":-}`),
		"NaN":                         compact(goodHeader, `{"a":NaN}`),
		"single quotes":               compact(goodHeader, `{'a':1}`),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseCompact(raw)
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("ParseCompact = %v, want ErrMalformed", err)
			}
			if raw != "" && len(raw) > 2 && strings.Contains(err.Error(), raw) {
				t.Errorf("the error repeats the token (SEC-99): %v", err)
			}
		})
	}
}

// many is an object of n members without its closing brace.
func many(n int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `"m%d":%d`, i, i)
	}
	return b.String()
}

func TestManyMembersAreRead(t *testing.T) {
	t.Parallel()
	tok, err := ParseCompact(compact(goodHeader, many(500)+"}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Find(tok.Claims, "m499")); got != "499" || len(tok.Claims) != 500 {
		t.Errorf("m499 = %q among %d, want 499 among 500", got, len(tok.Claims))
	}
}

// SEC-92: 1 MiB of dots allocates under 64 KiB; it is refused by its length.
func TestHugeTokenCostsNothing(t *testing.T) {
	t.Parallel()
	dots := strings.Repeat(".", 1<<20)
	res := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseCompact(dots); err == nil {
				b.Fatal("accepted")
			}
		}
	})
	if got := res.AllocedBytesPerOp(); got > 64<<10 {
		t.Errorf("%d bytes allocated, want at most 64 KiB", got)
	}
}

func TestStringsSurviveEscaping(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "plain", `"\/`, "\x00\x1f\x7f\b\f\n\r\t", "</script><!--&amp;", "é€😀", "\u2028\u2029\ufffd", "a\xffb\xc3",
	} {
		out := AppendString(nil, s)
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Errorf("AppendString(%q) = %s: %v", s, out, err)
			continue
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); got != want {
			t.Errorf("AppendString(%q) reads as %q, want %q", s, got, want)
		}
		if strings.ContainsAny(string(out), "<>&\u2028\u2029\x00\n") {
			t.Errorf("AppendString(%q) = %s is not safe in HTML", s, out)
		}
		if got, ok := StringValue(out); !ok || got != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("StringValue(%s) = %q, %v", out, got, ok)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\xff\u2028<")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		out := AppendString(nil, s)
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if utf8.ValidString(s) && got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// Whatever ParseCompact accepts has one spelling, and encoding/json agrees
// that both parts are JSON objects (SEC-92).
func FuzzParseCompact(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.token)
	}
	f.Add(compact(goodHeader, `{"a":[1,-0.5e+3,true,null,{"b":"\u00e9\ud83d\ude00"}]}`))
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := ParseCompact(raw)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		again := b64.EncodeToString(tok.Header) + "." + b64.EncodeToString(tok.Payload) + "." + b64.EncodeToString(tok.Signature)
		if again != raw {
			t.Errorf("%q has a second spelling %q", raw, again)
		}
		if !strings.HasPrefix(raw, string(tok.SigningInput)+".") {
			t.Errorf("signing input %q of %q", tok.SigningInput, raw)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(tok.Payload, &m); err != nil || len(m) != len(tok.Claims) {
			t.Errorf("encoding/json reads %d members, %v; we read %d of %s", len(m), err, len(tok.Claims), tok.Payload)
		}
		for _, c := range tok.Claims {
			if got := m[string(c.Name)]; string(got) != string(c.Value) {
				t.Errorf("%q = %s, encoding/json says %s", c.Name, c.Value, got)
			}
		}
	})
}
