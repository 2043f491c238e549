package oauth

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// SEC-4, SEC-5, SEC-8: one credential in a request, in the forms clients send.
func TestClientAuthentication(t *testing.T) {
	const jwt = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
	tests := map[string]struct {
		header, body string
		want         ClientAuthentication
		status       int
	}{
		"public":                     {"", "client_id=c", ClientAuthentication{Method: AuthNone, ClientID: "c"}, 0},
		"secret in the body":         {"", "client_id=c&client_secret=s", ClientAuthentication{Method: AuthSecretPost, ClientID: "c", Secret: "s"}, 0},
		"empty secret is none":       {"", "client_id=c&client_secret=", ClientAuthentication{Method: AuthNone, ClientID: "c"}, 0},
		"basic":                      {basic("c", "s"), "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "s"}, 0},
		"basic, scheme in any case":  {"bAsIc" + basic("c", "s")[5:], "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "s"}, 0},
		"basic, form-encoded":        {basic("c%3A1", "a%2Bb"), "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c:1", Secret: "a+b", RawSecret: "a%2Bb"}, 0},
		"basic, raw":                 {basic("c", "a+b"), "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "a b", RawSecret: "a+b"}, 0},
		"basic, raw percent":         {basic("c", "100%"), "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "100%"}, 0},
		"basic, secret with colons":  {basic("c", "a:b"), "", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "a:b"}, 0},
		"basic, client_id again":     {basic("c", "s"), "client_id=c", ClientAuthentication{Method: AuthSecretBasic, ClientID: "c", Secret: "s"}, 0},
		"basic, no secret":           {basic("c", ""), "", ClientAuthentication{Method: AuthNone, ClientID: "c"}, 0},
		"basic, secret in the body":  {basic("c", ""), "client_secret=s", ClientAuthentication{Method: AuthSecretPost, ClientID: "c", Secret: "s"}, 0},
		"another scheme":             {"Bearer x", "client_id=c", ClientAuthentication{Method: AuthNone, ClientID: "c"}, 0},
		"assertion":                  {"", "client_assertion=a.b.c&" + jwt, ClientAuthentication{Method: AuthPrivateKeyJWT, Assertion: "a.b.c", AssertionType: AssertionTypeJWTBearer}, 0},
		"assertion, secret None":     {"", "client_secret=None&client_assertion=a.b.c&" + jwt, ClientAuthentication{Method: AuthPrivateKeyJWT, Assertion: "a.b.c", AssertionType: AssertionTypeJWTBearer}, 0},
		"secret None alone":          {"", "client_id=c&client_secret=None", ClientAuthentication{Method: AuthSecretPost, ClientID: "c", Secret: "None"}, 0},
		"two secrets":                {basic("c", "s"), "client_secret=s", ClientAuthentication{}, 400},
		"two clients":                {basic("c", "s"), "client_id=d", ClientAuthentication{}, 400},
		"basic and assertion":        {basic("c", "s"), "client_assertion=a.b.c&" + jwt, ClientAuthentication{}, 400},
		"secret and assertion":       {"", "client_secret=s&client_assertion=a.b.c&" + jwt, ClientAuthentication{}, 400},
		"assertion without its type": {"", "client_assertion=a.b.c", ClientAuthentication{}, 400},
		"type without assertion":     {"", jwt, ClientAuthentication{}, 400},
		"basic, no colon":            {"Basic " + base64.StdEncoding.EncodeToString([]byte("c")), "", ClientAuthentication{}, 400},
		"basic, no id":               {basic("", "s"), "", ClientAuthentication{}, 400},
		"basic, not base64":          {"Basic !!!", "", ClientAuthentication{}, 400},
		"basic, base64url":           {"Basic Yz_-", "", ClientAuthentication{}, 400},
		"basic, bad UTF-8":           {basic("c", "\xff"), "", ClientAuthentication{}, 400},
		"basic, NUL":                 {basic("c", "%00"), "", ClientAuthentication{}, 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := post(form, "grant_type=client_credentials&"+tt.body)
			if tt.header != "" {
				r.Header.Set("Authorization", tt.header)
			}
			req, err := ParseTokenRequest(r)
			if got := status(err); got != tt.status {
				t.Fatalf("ParseTokenRequest: %v, want status %d", err, tt.status)
			}
			if err == nil && req.Client != tt.want {
				t.Errorf("client = %+v, want %+v", req.Client, tt.want)
			}
		})
	}
}

func TestTwoAuthorizationHeaders(t *testing.T) {
	r := post(form, "grant_type=client_credentials")
	r.Header.Add("Authorization", basic("c", "s"))
	r.Header.Add("Authorization", basic("c", "s"))
	if _, err := ParseTokenRequest(r); status(err) != 400 {
		t.Errorf("two Authorization headers: %v, want 400 (SEC-5)", err)
	}
}

// What each of the vendor's clients sends reads the same (authentication-api.md §0).
func TestParseTokenRequestQuirks(t *testing.T) {
	want := TokenRequest{
		GrantType: GrantPasswordRealm, Client: ClientAuthentication{Method: AuthNone, ClientID: "c"},
		Username: "u", Password: "p", Realm: "r",
	}
	bodies := map[string]string{
		form: "grant_type=http%3A%2F%2Fauth0.com%2Foauth%2Fgrant-type%2Fpassword-realm&client_id=c&username=u&password=p&realm=r&scope=&unknown=1",
		"application/json": `{"grant_type":"http://auth0.com/oauth/grant-type/password-realm","client_id":"c","username":"u",
			"password":"p","realm":"r","scope":"","organization":null,"audience":null,"client_secret":null,"extra":{"a":[1]}}`,
	}
	for contentType, body := range bodies {
		got, err := ParseTokenRequest(post(contentType, body))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", contentType, got, err, want)
		}
	}
}

func TestParseTokenRequestMissing(t *testing.T) {
	for _, body := range []string{"client_id=c", "grant_type=&client_id=c"} {
		_, err := ParseTokenRequest(post(form, body))
		if e := AsError(err); e.Description != "Missing required parameter: grant_type" || e.Status != 400 {
			t.Errorf("%s: %+v", body, e)
		}
	}
}

// SEC-38: the number of scopes is limited before anything is done with them.
func TestTooManyScopes(t *testing.T) {
	for n, want := range map[int]int{maxScopes: 0, maxScopes + 1: 400, 10000: 400} {
		scope := strings.TrimSpace(strings.Repeat("s ", n))
		_, err := ParseTokenRequest(post("application/json", `{"grant_type":"x","scope":"`+scope+`"}`))
		if got := status(err); got != want || err != nil && AsError(err).Code != InvalidScope {
			t.Errorf("%d scopes: %v, want status %d", n, err, want)
		}
	}
}

func TestParseRevocationRequest(t *testing.T) {
	got, err := ParseRevocationRequest(post("application/json", `{"client_id":"c","token":"t","token_type_hint":"access_token"}`))
	want := RevocationRequest{Client: ClientAuthentication{Method: AuthNone, ClientID: "c"}, Token: "t", TokenTypeHint: "access_token"}
	if err != nil || got != want {
		t.Errorf("ParseRevocationRequest = %+v, %v; want %+v", got, err, want)
	}
	if _, err := ParseRevocationRequest(post("application/json", `{"client_id":"c","token":["t"]}`)); status(err) != 400 {
		t.Errorf("token as an array: %v, want 400", err)
	}
}

// SEC-34: a repeated parameter is refused wherever it stands.
func TestParseAuthorizationRequest(t *testing.T) {
	get := func(query string) *http.Request { return httptest.NewRequest(http.MethodGet, "/authorize?"+query, nil) }
	postTo := func(query, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/authorize?"+query, strings.NewReader(body))
		r.Header.Set("Content-Type", form)
		return r
	}
	good := "client_id=c&response_type=code&max_age=0&scope=openid+email&ext-x=1"
	for name, r := range map[string]*http.Request{"GET": get(good), "POST": postTo("", good)} {
		got, err := ParseAuthorizationRequest(r)
		want := AuthorizationRequest{ClientID: "c", ResponseType: "code", MaxAge: "0", Scope: "openid email"}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	bad := postTo("", `{"client_id":"c"}`)
	bad.Header.Set("Content-Type", "application/json")
	for name, r := range map[string]*http.Request{
		"repeated in the query":    get("client_id=c&client_id=c"),
		"unknown one repeated":     get("client_id=c&ext-x=1&ext-x=2"),
		"repeated in the body":     postTo("", "state=1&state=1"),
		"query beside a body":      postTo("client_id=c", "state=1"),
		"JSON":                     bad,
		"malformed UTF-8":          get("state=%ff"),
		"too many":                 get(strings.TrimSuffix(strings.Repeat("a&", MaxParameters+1), "&")),
		"NUL":                      get("state=%00"),
		"semicolons as separators": get("client_id=c;state=1"),
	} {
		if _, err := ParseAuthorizationRequest(r); status(err) != 400 {
			t.Errorf("%s: %v, want 400", name, err)
		}
	}
}

func FuzzParseTokenRequest(f *testing.F) {
	f.Add(basic("c%3a", "a+b"), "grant_type=refresh_token&refresh_token=x")
	f.Add("Basic", "grant_type=password&client_secret=None&client_assertion=x&client_assertion_type=y")
	f.Fuzz(func(t *testing.T, header, body string) {
		r := post(form, body)
		r.Header.Set("Authorization", header)
		req, err := ParseTokenRequest(r)
		if err != nil {
			if e := AsError(err); e.Code != InvalidRequest {
				t.Fatalf("%+v", e)
			}
			return
		}
		c := req.Client
		proofs := 0
		for _, p := range []string{c.Secret, c.Assertion} {
			if p != "" {
				proofs++
			}
		}
		if proofs > 1 || (proofs == 0) != (c.Method == AuthNone) || req.GrantType == "" {
			t.Fatalf("%+v from %q and %q", c, header, body)
		}
	})
}

// D4: an attempt has one spelling, and what others could guess is none.
func TestAttemptHeader(t *testing.T) {
	a := func(n int) string { return strings.Repeat("A", n) }
	tests := map[string]struct {
		values []string
		want   string
		status int
	}{
		"none":                    {nil, "", 0},
		"128 bits":                {[]string{a(22)}, a(22), 0},
		"256 bits":                {[]string{strings.Repeat("-", 21) + "_" + strings.Repeat("z", 20) + "8"}, strings.Repeat("-", 21) + "_" + strings.Repeat("z", 20) + "8", 0},
		"512 bits":                {[]string{a(86)}, a(86), 0},
		"short":                   {[]string{a(21)}, "", 400},
		"empty":                   {[]string{""}, "", 400},
		"huge":                    {[]string{a(87)}, "", 400},
		"no base64 of any length": {[]string{a(25)}, "", 400},
		"spare bits":              {[]string{a(21) + "B"}, "", 400},
		"padded":                  {[]string{a(22) + "=="}, "", 400},
		"of the other alphabet":   {[]string{a(21) + "+A"}, "", 400},
		"with a space":            {[]string{a(11) + " " + a(11)}, "", 400},
		"repeated":                {[]string{a(22), a(22)}, "", 400},
		"a list":                  {[]string{a(22) + "," + a(22)}, "", 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := post(form, "grant_type=refresh_token&refresh_token=x&client_id=c")
			for _, v := range tt.values {
				r.Header.Add(AttemptHeader, v)
			}
			req, err := ParseTokenRequest(r)
			if status(err) != tt.status || req.Attempt != tt.want {
				t.Errorf("attempt is %q, %v; want %q, status %d", req.Attempt, err, tt.want, tt.status)
			}
			if err != nil && AsError(err).Code != InvalidRequest {
				t.Errorf("code is %s, want %s", AsError(err).Code, InvalidRequest)
			}
		})
	}
}
