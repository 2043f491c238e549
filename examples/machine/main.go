// Command machine is a program without a user that calls an API: it obtains a
// token by client credentials and uses it for as long as it is good.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/bulla-auth/bulla/tokensource"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		os.Exit(1)
	}
}

// env is the first of the variables that is set.
func env(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func run() error {
	issuer := flag.String("issuer", cmp.Or(env("ISSUER"), "https://localhost:8443/"), "the token issuer [ISSUER]")
	ca := flag.String("ca", env("CA_FILE"), "PEM file of the issuer's certificate authority [CA_FILE]")
	clientID := flag.String("client-id", env("CLIENT_ID", "MGMT_CLIENT_ID"), "client id [CLIENT_ID or MGMT_CLIENT_ID]")
	audience := flag.String("audience", env("AUDIENCE"), "identifier of the API [AUDIENCE]")
	api := flag.String("api", cmp.Or(env("API_URL"), "http://localhost:3001/private"), "address to call [API_URL]")
	flag.Parse()
	// The secret is no flag: other users of the machine can read those.
	secret := tokensource.NewSecret(env("CLIENT_SECRET", "MGMT_CLIENT_SECRET"))

	client, err := clientTrusting(*ca)
	if err != nil {
		return err
	}
	tokens, err := tokensource.ClientCredentials(tokensource.Config{
		Issuer:       *issuer,
		ClientID:     *clientID,
		ClientSecret: secret,
		Audience:     *audience,
		HTTPClient:   client,
	})
	if err != nil {
		return err
	}

	// Everything sent through this client carries a token.
	authorized := tokensource.HTTPClient(tokens, client)
	var used []tokensource.Token
	for n := range 2 {
		if err := call(authorized, *api, n+1); err != nil {
			return err
		}
		token, err := tokens.Token(context.Background())
		if err != nil {
			return err
		}
		used = append(used, token)
	}
	if used[0].AccessToken.Reveal() != used[1].AccessToken.Reveal() {
		return fmt.Errorf("the second call needed another token: its lifetime is very short")
	}
	fmt.Printf("one token served both calls, good until %s\n", used[0].ExpiresAt.UTC().Format(time.RFC3339))
	return nil
}

func call(client *http.Client, url string, n int) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	fmt.Printf("call %d: %s %s\n", n, resp.Status, body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s %s", url, resp.Status, resp.Header.Get("WWW-Authenticate"))
	}
	return nil
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
