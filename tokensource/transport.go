package tokensource

import (
	"errors"
	"net/http"
)

// HTTPClient returns a client that authorizes its requests with tokens of src.
// Base, which may be nil, gives everything else: transport, timeout, jar.
func HTTPClient(src Source, base *http.Client) *http.Client {
	var client http.Client
	if base != nil {
		client = *base
	}
	client.Transport = &Transport{Source: src, Base: client.Transport}
	return &client
}

// Transport is an http.RoundTripper that sets the Authorization header. It
// sends tokens over https, and over http only to this machine (SEC-218); after
// a redirect to another host it sends the request without one.
type Transport struct {
	Source Source
	Base   http.RoundTripper // default http.DefaultTransport
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	first := r
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request // the request that the server redirected
	}
	if first.URL.Scheme != r.URL.Scheme || first.URL.Host != r.URL.Host {
		return base.RoundTrip(r)
	}
	if !secure(r.URL) {
		closeBody(r)
		return nil, errors.New("tokensource: a token is not sent over plain http")
	}
	token, err := t.Source.Token(r.Context())
	if err != nil {
		closeBody(r)
		return nil, err
	}
	clone := r.Clone(r.Context()) // a RoundTripper must not change the request
	token.SetAuthHeader(clone)
	return base.RoundTrip(clone)
}

// closeBody does what a RoundTripper owes even when it fails.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
