package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

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

func (r *remote) fetch(ctx context.Context, validator string) (fetched, error) {
	uri := r.fixed
	if uri == "" {
		if r.jwksURI == "" {
			if err := r.discover(ctx); err != nil {
				return fetched{}, fmt.Errorf("discovery: %w", err)
			}
		}
		uri = r.jwksURI
	}
	got, err := r.get(ctx, uri, validator)
	if err != nil {
		r.jwksURI = ""
		return fetched{}, fmt.Errorf("key set: %w", err)
	}
	return got, nil
}

// discover learns jwks_uri (OpenID Connect Discovery §4). The metadata must be
// that of the issuer we were configured with, exactly (§4.3, SEC-102).
func (r *remote) discover(ctx context.Context) error {
	got, err := r.get(ctx, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return err
	}
	members, err := jose.AppendMembers(nil, got.body)
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

// get reads at most the size of a key set (SEC-101). A validator is an address
// and its entity tag: one of another address says nothing about this.
func (r *remote) get(ctx context.Context, uri, validator string) (fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return fetched{}, err
	}
	req.Header.Set("Accept", "application/json")
	tag, asked := strings.CutPrefix(validator, uri+" ")
	if asked {
		req.Header.Set("If-None-Match", tag)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fetched{}, err
	}
	defer resp.Body.Close()
	var got fetched
	got.maxAge, got.said = maxAge(resp.Header)
	if asked && resp.StatusCode == http.StatusNotModified {
		got.unchanged, got.validator = true, validator
		return got, nil
	}
	if resp.StatusCode != http.StatusOK {
		return fetched{}, fmt.Errorf("answered %d", resp.StatusCode)
	}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, jose.MaxSetSize+1))
	if err != nil {
		return fetched{}, err
	}
	if len(got.body) > jose.MaxSetSize {
		return fetched{}, errors.New("answer larger than 256 KiB")
	}
	if tag := resp.Header.Get("ETag"); tag != "" && len(tag) <= 256 {
		got.validator = uri + " " + tag
	}
	return got, nil
}

// maxAge is how long an answer may be used (RFC 9111 §4.2.1, §5.2.2), and
// whether it says so. How much that counts is Options' business.
func maxAge(h http.Header) (time.Duration, bool) {
	var age time.Duration
	said := false
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0, true
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && !said {
				age, said = time.Duration(n)*time.Second, true
			}
		}
	}
	if n, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil && said {
		age = max(age-time.Duration(n)*time.Second, 0)
	}
	return age, said
}
