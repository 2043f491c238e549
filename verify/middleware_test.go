package verify

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// RFC 6750 §3 and SEC-103: what each placement of a token is answered.
func TestMiddleware(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	v := fixed(t, k)
	good := k.token(t, goodClaims(testIssuer).with(claimSet{"permissions": []string{"read:all"}}))
	expired := k.token(t, goodClaims(testIssuer).with(claimSet{"exp": noon.Unix()}))
	tests := map[string]struct {
		headers   []string
		query     string
		form      string
		status    int
		challenge string
	}{
		"good":                  {headers: []string{"Bearer " + good}, status: 200},
		"scheme in lower case":  {headers: []string{"bearer " + good}, status: 200},
		"no token":              {status: 401, challenge: `Bearer realm="api"`},
		"another scheme":        {headers: []string{"Basic YTpi"}, status: 401, challenge: `Bearer realm="api"`},
		"expired":               {headers: []string{"Bearer " + expired}, status: 401, challenge: `Bearer realm="api", error="invalid_token", error_description="token expired"`},
		"junk":                  {headers: []string{"Bearer x"}, status: 401, challenge: `Bearer realm="api", error="invalid_token", error_description="malformed token"`},
		"scheme alone":          {headers: []string{"Bearer"}, status: 400, challenge: `Bearer realm="api", error="invalid_request", error_description="not exactly one bearer token"`},
		"two tokens":            {headers: []string{"Bearer " + good + " " + good}, status: 400, challenge: `Bearer realm="api", error="invalid_request", error_description="not exactly one bearer token"`},
		"two headers":           {headers: []string{"Bearer " + good, "Bearer " + good}, status: 400, challenge: `Bearer realm="api", error="invalid_request", error_description="not exactly one bearer token"`},
		"query alone":           {query: "?access_token=" + good, status: 401, challenge: `Bearer realm="api"`},
		"header and query":      {headers: []string{"Bearer " + good}, query: "?a=1&access%5Ftoken=x&access_token=" + good, status: 400, challenge: `Bearer realm="api", error="invalid_request", error_description="not exactly one bearer token"`},
		"like-named query":      {headers: []string{"Bearer " + good}, query: "?my_access_token=1", status: 200},
		"form alone":            {form: "access_token=" + good, status: 401, challenge: `Bearer realm="api"`},
		"two schemes in header": {headers: []string{"Basic YTpi, Bearer " + good}, status: 401, challenge: `Bearer realm="api"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := false
			h := v.Middleware(&MiddlewareOptions{Realm: `a"p\i`})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				claims, ok := FromContext(r.Context())
				served = ok && claims.Subject() == "auth0|7"
			}))
			r := httptest.NewRequest("POST", "https://api.example/x"+tt.query, strings.NewReader(tt.form))
			if tt.form != "" {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			for _, value := range tt.headers {
				r.Header.Add("Authorization", value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || served != (tt.status == 200) {
				t.Errorf("status %d, served %v; want %d", w.Code, served, tt.status)
			}
			if got := w.Header().Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("challenge %s\nwant      %s", got, tt.challenge)
			}
			if tt.status != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the refusal may be cached")
			}
			if strings.Contains(w.Body.String(), good[:20]) {
				t.Error("the answer repeats the token (SEC-99)")
			}
		})
	}
}

func TestMiddlewareWithoutKeysIs503(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	is := newIssuer(t, k)
	is.status.Store(http.StatusInternalServerError)
	var told error
	h := is.verifier(t).Middleware(&MiddlewareOptions{OnError: func(_ *http.Request, err error) { told = err }})(http.NotFoundHandler())
	r := httptest.NewRequest("GET", "https://api.example/", nil)
	r.Header.Set("Authorization", "Bearer "+k.token(t, is.claims()))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("status %d, headers %v; want 503, Retry-After 1, no challenge", w.Code, w.Header())
	}
	if told == nil || !strings.Contains(told.Error(), "500") {
		t.Errorf("OnError was told %v, want the reason", told)
	}
	if strings.Contains(w.Body.String(), "500") {
		t.Error("the caller was told the reason")
	}
}

func TestOptionalToken(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	h := fixed(t, k).Middleware(&MiddlewareOptions{Optional: true})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := FromContext(r.Context()); ok {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	for authorization, want := range map[string]int{
		"": 200, "Bearer " + k.token(t, goodClaims(testIssuer)): 202, "Bearer x": 401, "Bearer": 400,
	} {
		r := httptest.NewRequest("GET", "https://api.example/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%.10q: status %d, want %d", authorization, w.Code, want)
		}
	}
}

// SEC-104: whole values are compared, never parts of them.
func TestRequireScopeAndPermission(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	v := fixed(t, k)
	token := func(scope any, permissions any) string {
		return k.token(t, goodClaims(testIssuer).with(claimSet{"scope": scope, "permissions": permissions}))
	}
	tests := map[string]struct {
		raw       string
		gate      func(http.Handler) http.Handler
		status    int
		challenge string
	}{
		"has it":              {token("a read:messages b", nil), RequireScope("read:messages"), 200, ""},
		"has both":            {token("b a", nil), RequireScope("a", "b"), 200, ""},
		"has one of two":      {token("a", nil), RequireScope("a", "b"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="a b"`},
		"prefix":              {token("read:all", nil), RequireScope("read"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="read"`},
		"longer":              {token("read", nil), RequireScope("read:all"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="read:all"`},
		"suffix":              {token("notadmin", nil), RequireScope("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"other case":          {token("Admin", nil), RequireScope("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"scope is a list":     {token([]string{"admin"}, nil), RequireScope("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"no scope":            {token(nil, nil), RequireScope("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"permission":          {token(nil, []string{"x", "admin"}), RequirePermission("admin"), 200, ""},
		"permission, part":    {token(nil, []string{"notadmin"}), RequirePermission("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"permission a text":   {token(nil, "admin"), RequirePermission("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
		"scope no permission": {token("admin", nil), RequirePermission("admin"), 403, `Bearer error="insufficient_scope", error_description="insufficient scope", scope="admin"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := v.Middleware(nil)(tt.gate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			r := httptest.NewRequest("GET", "https://api.example/", nil)
			r.Header.Set("Authorization", "Bearer "+tt.raw)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("WWW-Authenticate"); w.Code != tt.status || got != tt.challenge {
				t.Errorf("%d %s\nwant %d %s", w.Code, got, tt.status, tt.challenge)
			}
		})
	}
	w := httptest.NewRecorder()
	RequireScope("a")(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "https://api.example/", nil))
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without Middleware: %d %q, want 401 Bearer", w.Code, w.Header().Get("WWW-Authenticate"))
	}
}
