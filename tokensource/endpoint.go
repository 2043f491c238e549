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
	"sync"
	"time"
)

// endpoint talks to one token endpoint as one client. It is shared by all
// sources of a Users.
type endpoint struct {
	config Config
	client *http.Client
	turn   Locks // one discovery at a time

	mu       sync.Mutex
	found    *metadata // nil: not discovered yet
	notUntil time.Time // the issuer's Retry-After (SEC-245)
	refusal  error     // what came with it
}

// metadata is what discovery says, or Config in its place.
type metadata struct {
	tokenURL string
	attempts bool // the endpoint understands AttemptHeader
}

const maxAnswer = 256 << 10 // bytes

// grant makes a token request (RFC 6749 §3.2), and repeats it, the same one,
// while it is not known whether it was heard: the issuer answers a repeated
// refresh token within its leeway with what it answered first, and one with
// the same attempt nonce, unless that is empty, at any time (SEC-245).
func (e *endpoint) grant(ctx context.Context, form url.Values, attempt Secret) (Entry, error) {
	m, err := e.metadata(ctx)
	if err != nil {
		return Entry{}, err
	}
	return repeat(ctx, e, func(ctx context.Context) (Entry, error) {
		return e.exchange(ctx, m.tokenURL, form, attempt)
	})
}

// metadata returns what discovery said, after asking once.
func (e *endpoint) metadata(ctx context.Context) (metadata, error) {
	unlock, err := e.turn.Lock(ctx, Key{})
	if err != nil {
		return metadata{}, fmt.Errorf("tokensource: discovery: %w", err)
	}
	defer unlock()
	e.mu.Lock()
	found := e.found
	e.mu.Unlock()
	if found != nil {
		return *found, nil
	}
	m, err := repeat(ctx, e, e.discover)
	if err != nil {
		return metadata{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.found = &m
	return m, nil
}

// repeat makes a request until it is answered, or the patience ends.
func repeat[T any](ctx context.Context, e *endpoint, request func(context.Context) (T, error)) (T, error) {
	var none T
	if err := e.refused(); err != nil {
		return none, err
	}
	deadline := e.config.Now().Add(e.config.Patience)
	for tries := 0; ; tries++ {
		answer, err := once(ctx, request)
		if err == nil {
			return answer, nil
		}
		refusal, answered := errors.AsType[*Error](err)
		if answered && !refusal.retryable() {
			return none, err
		}
		wait := backoff(tries)
		if answered && refusal.RetryAfter > 0 {
			wait = refusal.RetryAfter
			e.refuse(e.config.Now().Add(wait), err)
		}
		if e.config.Now().Add(wait).After(deadline) || ctx.Err() != nil {
			return none, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return none, err
		}
	}
}

func once[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return request(ctx)
}

// refused is the issuer's last word while it asked not to be asked.
func (e *endpoint) refused() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.config.Now().Before(e.notUntil) {
		return e.refusal
	}
	return nil
}

func (e *endpoint) refuse(until time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notUntil, e.refusal = until, err
}

// backoff is 100 ms, doubled each time, and up to half of that more.
func backoff(attempt int) time.Duration {
	d := 100 * time.Millisecond << min(attempt, 6)
	return d + rand.N(d/2)
}

func (e *endpoint) exchange(ctx context.Context, tokenURL string, form url.Values, attempt Secret) (Entry, error) {
	req, err := e.request(ctx, tokenURL, form)
	if err != nil {
		return Entry{}, err
	}
	if !attempt.IsZero() {
		req.Header.Set(AttemptHeader, attempt.Reveal())
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

func (e *endpoint) request(ctx context.Context, tokenURL string, form url.Values) (*http.Request, error) {
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(body.Encode()))
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
func (e *endpoint) discover(ctx context.Context) (metadata, error) {
	c := &e.config
	if c.TokenURL != "" {
		return metadata{tokenURL: c.TokenURL, attempts: c.Attempts}, nil
	}
	m, err := e.fetchMetadata(ctx)
	if err != nil {
		return metadata{}, fmt.Errorf("tokensource: discovery: %w", err)
	}
	m.attempts = m.attempts || c.Attempts
	return m, nil
}

func (e *endpoint) fetchMetadata(ctx context.Context) (metadata, error) {
	c := &e.config
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimSuffix(c.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return metadata{}, err
	}
	req.Header.Set("Accept", "application/json")
	status, header, body, err := e.do(req)
	if err != nil {
		return metadata{}, err
	}
	if status != http.StatusOK {
		return metadata{}, &Error{Status: status, RetryAfter: retryAfter(header, c.Now())}
	}
	var said struct {
		Issuer         string          `json:"issuer"`
		TokenEndpoint  string          `json:"token_endpoint"`
		RetrySupported json.RawMessage `json:"refresh_token_retry_supported"` // whatever others may call so
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return metadata{}, errors.New("metadata is not a JSON object")
	}
	if said.Issuer != c.Issuer {
		return metadata{}, errors.New("metadata is of another issuer")
	}
	if err := checkURL(said.TokenEndpoint); err != nil {
		return metadata{}, fmt.Errorf("token_endpoint: %w", err)
	}
	return metadata{tokenURL: said.TokenEndpoint, attempts: string(said.RetrySupported) == "true"}, nil
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
