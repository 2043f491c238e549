package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/jose"
)

// remote fetches a key set over HTTP: from a fixed address, or from the one
// that the issuer's metadata names. Its fetches never overlap (keySet.flight).
type remote struct {
	client  *http.Client
	issuer  string
	fixed   string // Options.JWKSURL
	jwksURI string // learnt by discovery; forgotten after a failure
}

func newRemote(o *Options) *remote {
	var client http.Client
	if o.HTTPClient != nil {
		client = *o.HTTPClient
	}
	client.CheckRedirect = sameHost
	client.Jar = nil
	return &remote{client: &client, issuer: o.Issuer, fixed: o.JWKSURL}
}

// sameHost lets a server move its key set within itself, over https (SEC-101).
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
		return errors.New("redirect refused")
	}
	return nil
}

func (r *remote) fetch(ctx context.Context) ([]byte, error) {
	uri := r.fixed
	if uri == "" {
		if r.jwksURI == "" {
			if err := r.discover(ctx); err != nil {
				return nil, fmt.Errorf("discovery: %w", err)
			}
		}
		uri = r.jwksURI
	}
	body, err := r.get(ctx, uri)
	if err != nil {
		r.jwksURI = ""
		return nil, fmt.Errorf("key set: %w", err)
	}
	return body, nil
}

// discover learns jwks_uri (OpenID Connect Discovery §4). The metadata must be
// that of the issuer we were configured with, exactly (§4.3, SEC-102).
func (r *remote) discover(ctx context.Context) error {
	body, err := r.get(ctx, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	members, err := jose.AppendMembers(nil, body)
	if err != nil {
		return errors.New("metadata is not a JSON object")
	}
	issuer, _ := jose.StringValue(jose.Find(members, "issuer"))
	if issuer != r.issuer {
		return errors.New("metadata is of another issuer")
	}
	uri, _ := jose.StringValue(jose.Find(members, "jwks_uri"))
	if err := checkURL(uri); err != nil {
		return fmt.Errorf("jwks_uri: %w", err)
	}
	r.jwksURI = uri
	return nil
}

// get reads at most the size of a key set (SEC-101).
func (r *remote) get(ctx context.Context, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, jose.MaxSetSize+1))
	if err != nil {
		return nil, err
	}
	if len(body) > jose.MaxSetSize {
		return nil, errors.New("answer larger than 256 KiB")
	}
	return body, nil
}
