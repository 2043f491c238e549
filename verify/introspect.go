package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
)

// Introspection configures asking the issuer about each token that is good by
// itself (RFC 7662): "did you make this, and may it still be used?" It costs a
// request where the answer is not remembered; a Feed costs none.
//
// # The wire
//
//	POST /oauth/introspect
//	Authorization: Basic …          (RFC 6749 §2.3.1: each part form-encoded)
//	Content-Type: application/x-www-form-urlencoded
//
//	token=…&token_type_hint=access_token
//
// The answer is 200 with a JSON object of at most 64 KiB, in which no name stands
// twice and whose "active" is true or false. Nothing else in it is read: the
// claims are the token's. Every other answer, a redirect and 401 too, is a
// failure; after one nobody is asked for 1, 2, 4 … up to 30 s.
type Introspection struct {
	// URL is the endpoint. Default: "oauth/introspect" under the issuer.
	URL string
	// ClientID and ClientSecret are the resource server's own, sent by HTTP
	// Basic.
	ClientID     string
	ClientSecret Secret
	// CacheFor is how long an answer is remembered, and so the longest that a
	// revoked token passes. Default 10 s, at most 5 minutes, negative not at all.
	CacheFor time.Duration
	// CacheSize is how many answers are remembered. Default 10,000.
	CacheSize int
	// OnFailure says what is done with a token when the issuer does not answer:
	// by default it is refused with ErrUnavailable.
	OnFailure Failure
}

const (
	defaultAnswerLife  = 10 * time.Second
	maxAnswerLife      = 5 * time.Minute
	defaultAnswers     = 10_000
	maxAnswer          = 64 << 10
	introspectTimeout  = 5 * time.Second
	maxIntrospectPause = 30 * time.Second
)

// introspector asks, one request a token at a time, and remembers.
type introspector struct {
	client    *http.Client
	url       string
	basic     func(*http.Request)
	life      time.Duration
	onFailure Failure
	now       func() time.Time
	answers   *cache[introspected]

	requests, failed, hits atomic.Uint64

	mu       sync.Mutex
	flights  map[tokenSum]*question
	notUntil time.Time // after a failure, nobody is asked before this
	failures int       // in a row
	failure  error
}

// introspected is an answer.
type introspected struct {
	active bool
	until  time.Time
}

// question is a request that any number of callers wait for.
type question struct {
	done   chan struct{}
	active bool  // after done
	err    error // after done
}

func newIntrospector(o *Options, now func() time.Time) (*introspector, error) {
	in := *o.Introspection
	if in.URL == "" {
		in.URL = strings.TrimSuffix(o.Issuer, "/") + "/oauth/introspect"
	}
	if err := checkURL(in.URL); err != nil {
		return nil, fmt.Errorf("verify: Introspection: %w", err)
	}
	if in.ClientID == "" || len(in.ClientSecret) == 0 {
		return nil, errors.New("verify: Introspection needs ClientID and ClientSecret")
	}
	switch {
	case in.CacheFor == 0:
		in.CacheFor = defaultAnswerLife
	case in.CacheFor < 0:
		in.CacheFor = 0
	case in.CacheFor > maxAnswerLife:
		return nil, errors.New("verify: Introspection: CacheFor is more than 5 minutes")
	}
	if in.CacheSize <= 0 {
		in.CacheSize = defaultAnswers
	}
	return &introspector{
		client: direct(o.HTTPClient), url: in.URL, basic: basicAuth(in.ClientID, in.ClientSecret),
		life: in.CacheFor, onFailure: in.OnFailure, now: now,
		answers: newCache[introspected](in.CacheSize), flights: make(map[tokenSum]*question),
	}, nil
}

// check returns nil, ErrInactive, or that nobody knows.
func (in *introspector) check(ctx context.Context, raw string) error {
	active, err := in.ask(ctx, raw)
	switch {
	case err != nil && in.onFailure == FailOpen && ctx.Err() == nil:
		return nil
	case err != nil:
		return unavailable(fmt.Errorf("introspection: %w", err))
	case !active:
		return ErrInactive
	}
	return nil
}

func (in *introspector) ask(ctx context.Context, raw string) (bool, error) {
	sum := sumOf(raw)
	if a, ok := in.remembered(sum); ok {
		in.hits.Add(1)
		return a.active, nil
	}
	q, err := in.begin(sum, raw)
	if err != nil {
		return false, err
	}
	select {
	case <-q.done:
		return q.active, q.err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

func (in *introspector) remembered(sum tokenSum) (introspected, bool) {
	a, ok := in.answers.get(sum)
	return a, ok && in.now().Before(a.until)
}

// begin returns the question to wait for. After a failure nobody is asked for
// 1, 2, 4 … s: an issuer that is overloaded gets room, and callers an answer.
func (in *introspector) begin(sum tokenSum, raw string) (*question, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if q := in.flights[sum]; q != nil {
		return q, nil
	}
	if a, ok := in.remembered(sum); ok { // answered since we looked
		q := &question{done: make(chan struct{}), active: a.active}
		close(q.done)
		return q, nil
	}
	if in.now().Before(in.notUntil) {
		return nil, in.failure
	}
	q := &question{done: make(chan struct{})}
	in.flights[sum] = q
	go in.run(q, sum, raw)
	return q, nil
}

// run makes the request. No caller's context ends it: the others still wait.
func (in *introspector) run(q *question, sum tokenSum, raw string) {
	ctx, cancel := context.WithTimeout(context.Background(), introspectTimeout)
	defer cancel()
	asked := in.now()
	q.active, q.err = in.request(ctx, raw)
	in.requests.Add(1)
	if q.err == nil && in.life > 0 {
		in.answers.put(sum, introspected{q.active, asked.Add(in.life)})
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	defer close(q.done)
	delete(in.flights, sum)
	if q.err == nil {
		in.failures = 0
		return
	}
	in.failed.Add(1)
	in.failure = q.err
	in.notUntil = in.now().Add(min(time.Second<<min(in.failures, 10), maxIntrospectPause))
	in.failures++
}

// request asks once (RFC 7662 §2.1). Only a plain yes or no counts; an answer
// to wrong credentials, or of something in between, is a failure.
func (in *introspector) request(ctx context.Context, raw string) (bool, error) {
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, in.url, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	in.basic(req)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := in.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("answered %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return false, err
	}
	if len(body) > maxAnswer {
		return false, errors.New("answer larger than 64 KiB")
	}
	members, err := jose.AppendMembers(nil, body)
	if err != nil {
		return false, errors.New("answer is not a JSON object")
	}
	switch string(jose.Find(members, "active")) { // RFC 7662 §2.2: a boolean, no string
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("answer does not say whether the token is active")
}

// retryIn is when the issuer will be asked again; 0 if at once.
func (in *introspector) retryIn() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return max(in.notUntil.Sub(in.now()), 0)
}
