package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/verify"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.Set{Keys: []jose.Key{{Kid: "k", Public: &key.PublicKey}}})
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	v, err := verify.New(verify.Options{
		Issuer: "https://issuer.example/", Audience: []string{"api"}, Keys: set,
		Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	enc := jose.NewEncoder(jose.Header{Alg: jose.RS256, Typ: "JWT", Kid: "k"}, jose.NewRSASigner(jose.RS256, key))
	token := func(scope string) string {
		raw, err := enc.Encode(nil, fmt.Appendf(nil, `{"iss":"https://issuer.example/","aud":"api","sub":"u","scope":%q,"exp":%d}`, scope, noon.Unix()+60))
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + string(raw)
	}
	h := cors("http://localhost:3000", routes(v))
	for _, tt := range []struct {
		method, path, authorization, origin string
		status                              int
		allowed                             string
	}{
		{"GET", "/public", "", "", 200, ""},
		{"GET", "/private", "", "", 401, ""},
		{"GET", "/private", token(""), "", 200, ""},
		{"GET", "/private-scoped", token("read:other"), "", 403, ""},
		{"GET", "/private-scoped", token("openid read:messages"), "http://localhost:3000", 200, "http://localhost:3000"},
		{"GET", "/private", "", "http://localhost:3000", 401, "http://localhost:3000"},
		{"GET", "/public", "", "http://evil.example", 200, ""},
		{"OPTIONS", "/private", "", "http://localhost:3000", 204, "http://localhost:3000"},
		{"OPTIONS", "/private", "", "http://evil.example", 405, ""},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		for name, value := range map[string]string{"Authorization": tt.authorization, "Origin": tt.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != tt.status || got != tt.allowed {
			t.Errorf("%s %s from %q: %d, origin %q; want %d, %q", tt.method, tt.path, tt.origin, w.Code, got, tt.status, tt.allowed)
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: challenge %q", tt.path, w.Header().Get("WWW-Authenticate"))
		}
	}
}
