package tokensource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// endpoint talks to one token endpoint as one client. Its requests may overlap
// only in exchange, not in discovery: a Stored makes one at a time.
type endpoint struct {
	config   Config
	client   *http.Client
	tokenURL string    // learnt by discovery
	notUntil time.Time // the issuer's Retry-After (SEC-245)
	refusal  error     // what came with it
}

const maxAnswer = 256 << 10 // bytes

// grant makes a token request (RFC 6749 §3.2), and repeats it, the same one,
// while it is not known whether it was heard: the issuer answers a repeated
// refresh token within its leeway with what it answered first (SEC-245).
func (e *endpoint) grant(ctx context.Context, form url.Values) (Entry, error) {
	if now := e.config.Now(); now.Before(e.notUntil) {
		return Entry{}, e.refusal
	}
	deadline := e.config.Now().Add(e.config.Patience)
	for attempt := 0; ; attempt++ {
		entry, err := e.attempt(ctx, form)
		if err == nil {
			return entry, nil
		}
		answer, answered := errors.AsType[*Error](err)
		if answered && !answer.retryable() {
			return Entry{}, err
		}
		wait := backoff(attempt)
		if answered && answer.RetryAfter > 0 {
			wait = answer.RetryAfter
			e.notUntil, e.refusal = e.config.Now().Add(wait), err
		}
		if e.config.Now().Add(wait).After(deadline) || ctx.Err() != nil {
			return Entry{}, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Entry{}, err
		}
	}
}

// backoff is 100 ms, doubled each time, and up to half of that more.
func backoff(attempt int) time.Duration {
	d := 100 * time.Millisecond << min(attempt, 6)
	return d + rand.N(d/2)
}

func (e *endpoint) attempt(ctx context.Context, form url.Values) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if e.tokenURL == "" {
		if err := e.discover(ctx); err != nil {
			return Entry{}, fmt.Errorf("tokensource: discovery: %w", err)
		}
	}
	req, err := e.request(ctx, form)
	if err != nil {
		return Entry{}, err
	}
	asked := e.config.Now()
	status, header, body, err := e.do(req)
	if err != nil {
		return Entry{}, fmt.Errorf("tokensource: %w", err)
	}
	var answer struct {
		AccessToken  string  `json:"access_token"`
		TokenType    string  `json:"token_type"`
		ExpiresIn    seconds `json:"expires_in"`
		RefreshToken string  `json:"refresh_token"`
		IDToken      string  `json:"id_token"`
		Scope        string  `json:"scope"`
		Code         string  `json:"error"`
		Description  string  `json:"error_description"`
	}
	// One member of an unexpected type must not lose the others: the answer may
	// hold the only refresh token there is. What could not be read is empty.
	_ = json.Unmarshal(body, &answer)
	if status != http.StatusOK {
		return Entry{}, &Error{
			Status: status, Code: printable(answer.Code), Description: printable(answer.Description),
			RetryAfter: retryAfter(header, e.config.Now()), refresh: form.Has("refresh_token"),
		}
	}
	if answer.AccessToken == "" {
		// An answer cut short, or one of a proxy: nothing is known (SEC-246).
		return Entry{}, errors.New("tokensource: the token endpoint's answer holds no token")
	}
	t := Token{
		AccessToken: NewSecret(answer.AccessToken),
		TokenType:   answer.TokenType,
		Scopes:      strings.Fields(answer.Scope),
		IssuedAt:    asked, // the earliest it can be: we err on the safe side
		ExpiresAt:   asked.Add(answer.ExpiresIn.duration()),
		IDToken:     NewSecret(answer.IDToken),
	}
	if answer.Scope == "" { // RFC 6749 §5.1: then it is what was asked for
		t.Scopes = strings.Fields(form.Get("scope"))
	}
	return Entry{Token: t, RefreshToken: NewSecret(answer.RefreshToken)}, nil
}

func (e *endpoint) request(ctx context.Context, form url.Values) (*http.Request, error) {
	body := url.Values{}
	for name, values := range form {
		body[name] = values
	}
	c := &e.config
	if c.AuthMethod != ClientSecretBasic {
		body.Set("client_id", c.ClientID)
	}
	if c.AuthMethod == ClientSecretPost {
		body.Set("client_secret", c.ClientSecret.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.tokenURL, strings.NewReader(body.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if c.AuthMethod == ClientSecretBasic { // RFC 6749 §2.3.1: both are form-encoded first
		req.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret.Reveal()))
	}
	return req, nil
}

// discover learns the token endpoint (OpenID Connect Discovery §4), from
// metadata that is exactly that of the configured issuer (§4.3, SEC-102).
func (e *endpoint) discover(ctx context.Context) error {
	c := &e.config
	if c.TokenURL != "" {
		e.tokenURL = c.TokenURL
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimSuffix(c.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	status, header, body, err := e.do(req)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return &Error{Status: status, RetryAfter: retryAfter(header, c.Now())}
	}
	var metadata struct {
		Issuer        string `json:"issuer"`
		TokenEndpoint string `json:"token_endpoint"`
	}
	if err := json.Unmarshal(body, &metadata); err != nil {
		return errors.New("metadata is not a JSON object")
	}
	if metadata.Issuer != c.Issuer {
		return errors.New("metadata is of another issuer")
	}
	if err := checkURL(metadata.TokenEndpoint); err != nil {
		return fmt.Errorf("token_endpoint: %w", err)
	}
	e.tokenURL = metadata.TokenEndpoint
	return nil
}

// do sends a request and reads its answer. An error never holds the request's
// address or body.
func (e *endpoint) do(req *http.Request) (status int, header http.Header, body []byte, err error) {
	resp, err := e.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("answer larger than 256 KiB")
	}
	if err != nil && resp.StatusCode == http.StatusOK {
		return 0, nil, nil, err
	}
	return resp.StatusCode, resp.Header, body, nil
}

// seconds is expires_in: a number, or a number in quotes as some issuers write it.
type seconds int64

// UnmarshalJSON implements json.Unmarshaler. What is no number is 0, unknown.
func (s *seconds) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err != nil || !(f > 0) {
		return nil
	}
	const month = 30 * 24 * 3600 // longer than any token lives
	*s = seconds(min(f, month))
	return nil
}

// unknownLifetime is for answers without expires_in, which is only recommended
// (RFC 6749 §5.1): enough for a burst of requests, and wrong for a minute at most.
const unknownLifetime = time.Minute

func (s seconds) duration() time.Duration {
	if s == 0 {
		return unknownLifetime
	}
	return time.Duration(s) * time.Second
}
