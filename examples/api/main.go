// Command api is an API protected by access tokens: one page for everybody,
// one for holders of a valid token, one for those with a scope.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bulla-auth/bulla/verify"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run() error {
	issuer := flag.String("issuer", "https://localhost:8443/", "the token issuer, as in iss")
	audience := flag.String("audience", "https://api.example.com/", "this API's identifier")
	ca := flag.String("ca", "", "PEM file of the issuer's certificate authority")
	listen := flag.String("listen", "localhost:3001", "address to listen on")
	origin := flag.String("origin", "http://localhost:3000", "web page that may call this API")
	flag.Parse()

	client, err := clientTrusting(*ca)
	if err != nil {
		return err
	}
	verifier, err := verify.New(verify.Options{
		Issuer:     *issuer,
		Audience:   []string{*audience},
		HTTPClient: client,
	})
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           cors(*origin, routes(verifier)),
		ReadHeaderTimeout: 5 * time.Second,
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		_ = server.Close()
	}()
	fmt.Printf("api: ready http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func routes(v *verify.Verifier) http.Handler {
	authenticated := v.Middleware(nil)
	mayReadMessages := verify.RequireScope("read:messages")

	mux := http.NewServeMux()
	mux.HandleFunc("GET /public", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"message": "Hello from a public endpoint."})
	})
	mux.Handle("GET /private", authenticated(http.HandlerFunc(private)))
	mux.Handle("GET /private-scoped", authenticated(mayReadMessages(http.HandlerFunc(private))))
	return mux
}

// private is only reached by requests with a valid token, so the claims are there.
func private(w http.ResponseWriter, r *http.Request) {
	claims, _ := verify.FromContext(r.Context())
	reply(w, map[string]any{
		"message": "Hello from a private endpoint.",
		"sub":     claims.Subject(),
		"scopes":  claims.Scopes(),
	})
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// cors lets pages of one origin call the API. It stands outside of the token
// check, because a browser's preflight carries no token.
func cors(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if r.Header.Get("Origin") == origin {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", "GET")
				h.Set("Access-Control-Allow-Headers", "Authorization")
				h.Set("Access-Control-Max-Age", "600")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// clientTrusting returns a client that trusts the authority in file beside the
// system's, or nil, the default client, for no file.
func clientTrusting(file string) (*http.Client, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &http.Client{Transport: transport}, nil
}
