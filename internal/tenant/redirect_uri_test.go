package tenant

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// mutations are about 200 values near a registered URI: each differs from it,
// and an attacker could hope that somebody normalises it away.
func mutations(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	origin, path := u.Scheme+"://"+u.Host, u.RequestURI()
	out := []string{
		"", " " + raw, raw + " ", raw + "\t", raw + "\n", raw + "\x00", raw + "%00", raw + "%20", raw + "+",
		raw + "/", raw + "//", raw + "/.", raw + "/..", raw + "/./", raw + "/%2e", raw + "/%2e%2e", raw + "/../evil", raw + "\\", raw + "%5c",
		raw + "?", raw + "?x=1", raw + "&", raw + "&x=1", raw + "#", raw + "#x", raw + "%23", raw + "%3f", raw + ";", raw + ";x=1", raw + "/..;/",
		raw + "@evil.example", raw + ".evil.example", raw + ":1", raw + "*", raw + "/*", raw + "%2f", raw + "é", raw + "%C3%A9", raw + `"`, raw + "<", raw + "'",
		strings.ToUpper(raw), strings.ToUpper(u.Scheme) + raw[len(u.Scheme):],
		"http" + strings.TrimPrefix(raw, u.Scheme), "httpss" + strings.TrimPrefix(raw, u.Scheme), "ftp" + strings.TrimPrefix(raw, u.Scheme),
		"javascript:" + raw, "data:" + raw, "blob:" + raw, "view-source:" + raw, "//" + u.Host + path, u.Host + path, path, "\\\\" + u.Host + path,
		u.Scheme + ":" + u.Host + path, u.Scheme + ":/" + u.Host + path, u.Scheme + ":///" + u.Host + path, u.Scheme + ":\\\\" + u.Host + path,
		u.Scheme + "://user@" + u.Host + path, u.Scheme + "://user:pw@" + u.Host + path, u.Scheme + "://@" + u.Host + path,
		u.Scheme + "://evil.example/" + raw, u.Scheme + "://evil.example?" + raw, u.Scheme + "://evil.example#" + raw, u.Scheme + "://evil.example\\@" + u.Host + path,
		origin + ":443" + path, origin + ":80" + path, origin + ":" + path, origin + ":0443" + path, origin + ":8443" + path, origin + ":443:443" + path,
		origin + "." + path, u.Scheme + "://." + u.Host + path, u.Scheme + "://www." + u.Host + path, u.Scheme + "://" + strings.ToUpper(u.Host) + path,
		u.Scheme + "://" + u.Host[1:] + path, u.Scheme + "://x" + u.Host + path, origin + "%2e" + path, origin + "%00" + path, origin + "\x00" + path,
		origin + "/%2e" + path, origin + "/." + path, origin + "/x/.." + path, origin + "/" + path, origin + "\\" + path, origin + "/..;" + path,
		origin, origin + "/", origin + "?" + path, origin + "/;" + path, origin + strings.ReplaceAll(path, "/", "//"), origin + strings.ReplaceAll(path, "/", "\\"),
		origin + strings.ReplaceAll(path, "/", "%2f"), origin + strings.ReplaceAll(path, "/", "%2F"), origin + strings.ToUpper(path),
		raw + raw, raw + " " + raw, raw + "," + raw, "*", "https://*", "https://*.example.com/", "null", "about:blank",
	}
	for i := 1; i < len(raw); i++ { // one byte gone, doubled, encoded, or with a tab inside
		out = append(out, raw[:i]+raw[i+1:], raw[:i]+raw[i:i+1]+raw[i:], fmt.Sprintf("%s%%%02x%s", raw[:i], raw[i], raw[i+1:]), raw[:i]+"\t"+raw[i:])
	}
	return out
}

// SEC-20: byte for byte, whatever an unregistered value looks like.
func TestMatchRedirectExactly(t *testing.T) {
	registered := []string{"https://app.example.com/callback", "https://app.example.com/cb?tenant=a", "com.example.app:/done"}
	native := Client{AppType: "native", FirstParty: true, Callbacks: registered}
	for _, raw := range []string{"com.example.app:/done/", "COM.example.app:/done", "com.example.app://done", "com.example.app:done", "com.example.app:/done?x"} {
		if got := native.MatchRedirect(raw); got != RedirectRefused {
			t.Errorf("MatchRedirect(%q) = %v, want RedirectRefused", raw, got)
		}
	}
	for _, raw := range registered {
		for _, c := range []Client{native, {Callbacks: registered}} {
			if got := c.MatchRedirect(raw); got != RedirectExact {
				t.Errorf("MatchRedirect(%q) = %v, want RedirectExact", raw, got)
			}
		}
		if strings.HasPrefix(raw, "com.") {
			continue
		}
		n := 0
		for _, m := range mutations(raw) {
			if m == raw {
				continue
			}
			n++
			if got := native.MatchRedirect(m); got != RedirectRefused {
				t.Errorf("registered %q: MatchRedirect(%q) = %v, want RedirectRefused", raw, m, got)
			}
		}
		if n < 180 {
			t.Errorf("only %d mutations of %q", n, raw)
		}
	}
}

// SEC-21: one whole label or a part of one, never two, none or an encoded dot.
func TestMatchRedirectWildcard(t *testing.T) {
	c := Client{FirstParty: true, Callbacks: []string{"https://*.example.com/cb", "https://pre-*-suf.apps.example.com/cb", "https://*.com/cb", "https://app.example.org*"}}
	tests := map[string]RedirectMatch{
		"https://a.example.com/cb":                RedirectWildcard,
		"https://pre-x-suf.apps.example.com/cb":   RedirectWildcard,
		"https://pre--suf.apps.example.com/cb":    RedirectRefused,
		"https://pre-a.b-suf.apps.example.com/cb": RedirectRefused,
		"https://a.b.example.com/cb":              RedirectRefused,
		"https://example.com/cb":                  RedirectRefused,
		"https://.example.com/cb":                 RedirectRefused,
		"https://a%2eb.example.com/cb":            RedirectRefused,
		"https://a%2e.example.com/cb":             RedirectRefused,
		"https://*.example.com/cb":                RedirectRefused,
		"http://a.example.com/cb":                 RedirectRefused,
		"https://a.example.com:444/cb":            RedirectRefused,
		"https://a.example.com/cb/":               RedirectRefused,
		"https://a.example.com/cb?x":              RedirectRefused,
		"https://evil.example/?.example.com/cb":   RedirectRefused,
		"https://evil.com/cb":                     RedirectRefused,
		"https://app.example.org.evil.example":    RedirectRefused,
		"https://a.EXAMPLE.com/cb":                RedirectRefused,
	}
	for raw, want := range tests {
		if got := c.MatchRedirect(raw); got != want {
			t.Errorf("MatchRedirect(%q) = %v, want %v", raw, got, want)
		}
	}
	c.FirstParty = false
	if got := c.MatchRedirect("https://a.example.com/cb"); got != RedirectRefused {
		t.Errorf("third-party client: a wildcard matched: %v", got)
	}
}

// SEC-22: the port alone, of the two literal addresses alone, of native clients alone.
func TestMatchRedirectLoopback(t *testing.T) {
	entries := []string{"http://127.0.0.1/cb", "http://[::1]:7000/cb", "http://localhost:3000/cb"}
	native := Client{AppType: "native", FirstParty: true, Callbacks: entries}
	tests := map[string]RedirectMatch{
		"http://127.0.0.1/cb":                 RedirectExact,
		"http://127.0.0.1:51234/cb":           RedirectExact,
		"http://[::1]:51234/cb":               RedirectExact,
		"http://[::1]/cb":                     RedirectExact,
		"http://localhost:3000/cb":            RedirectExact,
		"http://localhost:3001/cb":            RedirectRefused,
		"http://127.0.0.1:51234/other":        RedirectRefused,
		"http://127.0.0.1:51234/cb?x=1":       RedirectRefused,
		"http://127.0.0.1:0/cb":               RedirectRefused,
		"http://127.0.0.1:65536/cb":           RedirectRefused,
		"http://127.0.0.1:0080/cb":            RedirectRefused,
		"http://127.0.0.1:/cb":                RedirectRefused,
		"http://127.0.0.1:80@evil.example/cb": RedirectRefused,
		"https://127.0.0.1:51234/cb":          RedirectRefused,
		"http://127.1:51234/cb":               RedirectRefused,
		"http://127.0.0.2:51234/cb":           RedirectRefused,
		"http://0.0.0.0:51234/cb":             RedirectRefused,
		"http://[::ffff:127.0.0.1]:51234/cb":  RedirectRefused,
		"http://[0:0:0:0:0:0:0:1]:51234/cb":   RedirectRefused,
		"http://localhost.:51234/cb":          RedirectRefused,
		"http://127.0.0.1.evil.example:51/cb": RedirectRefused,
		"http://2130706433:51234/cb":          RedirectRefused,
		"http://0x7f000001:51234/cb":          RedirectRefused,
	}
	for raw, want := range tests {
		if got := native.MatchRedirect(raw); got != want {
			t.Errorf("MatchRedirect(%q) = %v, want %v", raw, got, want)
		}
	}
	web := Client{AppType: "spa", FirstParty: true, Callbacks: entries}
	if got := web.MatchRedirect("http://127.0.0.1:51234/cb"); got != RedirectRefused {
		t.Errorf("a client that is not native has the freedom of the port: %v", got)
	}
}

// SEC-23.
func TestCheckRedirectURI(t *testing.T) {
	good := []string{
		"https://app.example.com", "https://app.example.com/cb?a=b&c=%20", "http://localhost:3000", "http://127.0.0.1:8080/cb", "http://[::1]/cb",
		"http://shop.localhost:3000/cb", "com.example.app:/cb", "com.example.app://host/path", "https://*.example.com", "https://pre-*.example.com/cb", "https://192.0.2.1/cb",
	}
	for _, raw := range good {
		if err := CheckRedirectURI(raw); err != nil {
			t.Errorf("CheckRedirectURI(%q) = %v, want nil", raw, err)
		}
	}
	bad := []string{
		"", "*", "/", "//host/", "app", "https:", "https://", "https:///cb", "https:app.example.com", "https:/app.example.com", "https://:443/cb",
		"http://app.example.com/cb", "http://localhost.evil.example", "http://127.0.0.1.evil.example/", "http://0.0.0.0/",
		"https://app.example.com/#f", "https://u@app.example.com", "https://u:p@app.example.com/", "https://app.example.com\\@evil.example", `https:\\app.example.com`,
		"https://*", "https://*.com", "https://*.com.", "https://app.*.com", "https://*.*.example.com", "https://app.example.com*", "https://app.example.com:*/", "https://app.example.com/*",
		"https://app.example.com/?*", "https://app.example.com:99999", "https://app.example.com:", "https://exämple.com", "https://app%2eexample.com", "https://a..example.com",
		"https://[::1", "https://[zz]/", "https://[::1]x/", "1app:/cb", "app space:/cb", ":cb", "app:", "com.example.app:/*",
		"https://app.example.com/" + strings.Repeat("a", 2048),
	}
	for _, scheme := range []string{"javascript", "data", "vbscript", "blob", "file", "about", "filesystem", "view-source"} {
		for _, s := range []string{scheme, strings.ToUpper(scheme), strings.ToUpper(scheme[:1]) + scheme[1:]} {
			for _, prefix := range []string{"", " ", "\t", "\n", "\x00", "\x1f", "\u00a0"} {
				bad = append(bad, prefix+s+":alert(1)", prefix+s+"://app.example.com/cb")
			}
		}
	}
	for _, raw := range bad {
		if err := CheckRedirectURI(raw); err == nil {
			t.Errorf("CheckRedirectURI(%q) = nil, want an error", raw)
		}
	}
}

// SEC-24: a bad value planted in the store is not used.
func TestPlantedRedirectIsNotUsed(t *testing.T) {
	for _, raw := range []string{"javascript:alert(1)", "http://app.example.com/cb", "https://u@app.example.com/", "https://app.example.com/#x", "https://*.com/cb"} {
		c := Client{FirstParty: true, Callbacks: []string{raw}}
		if got := c.MatchRedirect(raw); got != RedirectRefused {
			t.Errorf("MatchRedirect(%q) = %v, want RedirectRefused", raw, got)
		}
	}
}

// SEC-28: the return address of a logout, in the spellings of attackers.
func TestMatchReturnURL(t *testing.T) {
	registered := []string{"https://app.example.com/bye", "https://*.apps.example.com", "http://localhost:3000"}
	good := []string{
		"https://app.example.com/bye", "https://app.example.com/bye?x=1", "https://app.example.com/bye#frag", "https://a.apps.example.com", "http://localhost:3000?a=b#c",
	}
	for _, raw := range good {
		if !MatchReturnURL(registered, raw) {
			t.Errorf("MatchReturnURL(%q) = false, want true", raw)
		}
	}
	bad := []string{
		"", "//evil.example", "/\\evil.example", "https:evil.example", "https:/evil.example", "ht\ttps://evil.example", "https://evil.example", "https://app.example.com",
		"https://app.example.com/bye/", "https://app.example.com/byebye", "https://app.example.com/bye/../x", "https://app.example.com@evil.example/bye",
		"https://app.example.com\\.evil.example/bye", "https://app.example.com/bye\\", "https://app.example.com.evil.example/bye", "https://a.b.apps.example.com",
		"https://evil.example/?https://app.example.com/bye", "https://evil.example#https://app.example.com/bye", "javascript:alert(1)", "https://*.apps.example.com",
		"https://app.example.com/bye\n", " https://app.example.com/bye", "https://app.example.com/bye?\nSet-Cookie:x", "https://app.example.com/bye#\x00", "https://app.example.com:443/bye",
		"http://app.example.com/bye", "HTTPS://app.example.com/bye", "https://app.example.com/%62ye", "?", "#",
	}
	for _, raw := range bad {
		if MatchReturnURL(registered, raw) {
			t.Errorf("MatchReturnURL(%q) = true, want false", raw)
		}
	}
}

func TestWebOrigin(t *testing.T) {
	tests := map[string]string{
		"https://App.example.com:443/cb?x=1": "https://app.example.com", "http://localhost:3000": "http://localhost:3000", "http://[::1]:80/": "http://[::1]",
		"com.example.app:/cb": "", "https://*.example.com/": "", "null": "", "": "", "https://u@a.example": "",
	}
	for raw, want := range tests {
		if got := WebOrigin(raw); got != want {
			t.Errorf("WebOrigin(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzMatchRedirect(f *testing.F) {
	registered := []string{"https://app.example.com/callback", "http://127.0.0.1/cb", "https://*.example.com/cb"}
	for _, raw := range registered {
		f.Add(raw)
	}
	c := Client{AppType: "native", FirstParty: true, Callbacks: registered}
	f.Fuzz(func(t *testing.T, raw string) {
		if c.MatchRedirect(raw) == RedirectRefused {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.User != nil || u.Fragment != "" || u.Hostname() != "127.0.0.1" && !strings.HasSuffix(u.Hostname(), ".example.com") {
			t.Errorf("MatchRedirect(%q) matched; net/url reads %+v (%v)", raw, u, err)
		}
	})
}
