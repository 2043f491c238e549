package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FeedOptions configure a Feed. Issuer, ClientID and ClientSecret are required.
type FeedOptions struct {
	// Issuer is the issuer's identifier, as in Options.
	Issuer string
	// URL is the feed's address. Default: "oauth/revocations" under Issuer.
	URL string
	// ClientID and ClientSecret are the resource server's own; the feed has
	// what concerns its audiences and nothing else.
	ClientID     string
	ClientSecret Secret
	// HTTPClient makes the request; its transport is where a private authority
	// goes. Its timeout does not count: the request never ends. Redirects are
	// refused. Default http.DefaultTransport.
	HTTPClient *http.Client
	// OnError is told why a connection ended or failed, for a log. The error
	// holds no secret and no entry.
	OnError func(error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

const (
	// quiet is how long a connection may be silent: two heartbeats.
	quiet = 20 * time.Second
	// The wait before another connection, doubled after each that failed.
	minReconnect = 250 * time.Millisecond
	maxReconnect = 30 * time.Second
	// maxRetryAfter bounds what the issuer may ask for.
	maxRetryAfter = 5 * time.Minute
)

// Feed keeps what the issuer revoked, told by it as it happens. Give it to any
// number of Verifiers, and call Run.
//
// # The wire
//
// The request is, with HTTP Basic as in RFC 6749 §2.3.1,
//
//	GET /oauth/revocations
//	Authorization: Basic …
//	Accept: text/event-stream
//	Last-Event-ID: <cursor>     (when there is one; or the query, cursor=<cursor>)
//
// and the answer 200 with Content-Type text/event-stream, which does not end.
// Lines end in "\n", an event in an empty line. Each event has an "id", which is
// the cursor after it: up to 512 printable ASCII characters, opaque to us.
//
//	id: 7c
//	event: deny
//	data: {"hash":"q83vEjRWeJCrze8SNFZ4kA","exp":1772370000}
//
// refuses the tokens whose jti begins with the 16 bytes that hash, 22 characters
// of base64url, stands for. The last of them expires at exp, in Unix seconds.
//
//	event: mark
//	data: {"kind":"user","id":"auth0|7","before":1772366400000,"exp":1772452800}
//
// refuses the tokens of a user (sub), client (client_id or azp), audience (one of
// aud) or tenant (iss) that were issued before a moment, in Unix milliseconds. The
// id of a client_grant is client and audience, with a space between: it is on
// the client's own tokens (sub is client@clients). That of a consent is user,
// client and audience. A mark takes the place of the one of the same kind and id;
// before 0 lifts that.
// Kinds we do not know are left alone.
//
//	event: live
//
// says that all that was committed before the connection has been sent. It comes
// once on each connection: without a cursor after everything that is in force,
// with one after everything that came since. From then on events come as they
// are committed, and at least every 10 s something, if only a comment, such as
// ": heartbeat".
//
//	id: 1
//	event: reset
//
// says that our cursor, and all that we know, counts no more. Everything that is
// in force follows, and then live; if the connection ends before that we come
// back with the reset's id, from which the same follows, or without a cursor if
// the id is empty. What we knew stays in force until live, and then is replaced.
//
// Events with other names are ignored. Data that is not as above ends the
// connection. Any other answer is a failure, after which we come back; 429 and
// 503 may say when by Retry-After.
type Feed struct {
	request func(ctx context.Context, cursor string) (*http.Request, error)
	client  *http.Client
	onError func(error)
	now     func() time.Time

	running  atomic.Bool
	live     atomic.Bool
	heard    atomic.Int64 // when we last knew everything, Unix nanoseconds; 0: never
	events   atomic.Uint64
	connects atomic.Uint64
	once     sync.Once
	synced   chan struct{}

	mu      sync.RWMutex
	current *denylist

	// Of Run alone.
	cursor string    // where current is
	begin  string    // the cursor to load everything from, after a reset
	next   *denylist // what is being loaded, nil when current is followed
}

// NewFeed returns a Feed that knows nothing until Run is called.
func NewFeed(o FeedOptions) (*Feed, error) {
	if o.URL == "" {
		o.URL = strings.TrimSuffix(o.Issuer, "/") + "/oauth/revocations"
	}
	if err := checkURL(o.Issuer); err != nil {
		return nil, fmt.Errorf("verify: Issuer: %w", err)
	}
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("verify: URL: %w", err)
	}
	if o.ClientID == "" || len(o.ClientSecret) == 0 {
		return nil, errors.New("verify: the feed needs ClientID and ClientSecret")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	basic := basicAuth(o.ClientID, o.ClientSecret)
	client := direct(o.HTTPClient)
	client.Timeout = 0
	return &Feed{
		client: client, onError: o.OnError, now: o.Now, synced: make(chan struct{}), current: newDenylist(),
		request: func(ctx context.Context, cursor string) (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
			if err != nil {
				return nil, err
			}
			basic(req)
			req.Header.Set("Accept", "text/event-stream")
			req.Header.Set("Cache-Control", "no-store")
			if cursor != "" {
				req.Header.Set("Last-Event-ID", cursor)
			}
			return req, nil
		},
	}, nil
}

// basicAuth returns what puts a client's credentials into a request: each is
// form-encoded first (RFC 6749 §2.3.1).
func basicAuth(id string, secret Secret) func(*http.Request) {
	id, password := url.QueryEscape(id), url.QueryEscape(string(secret))
	return func(r *http.Request) { r.SetBasicAuth(id, password) }
}

// direct returns a client that follows no redirect: it would carry the
// credentials somewhere else.
func direct(base *http.Client) *http.Client {
	var client http.Client
	if base != nil {
		client = *base
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &client
}

// Run follows the feed until ctx ends, and returns why it did. It comes back
// after each failure, ever more slowly up to 30 s. One call at a time.
func (f *Feed) Run(ctx context.Context) error {
	if !f.running.CompareAndSwap(false, true) {
		return errors.New("verify: the feed runs already")
	}
	defer f.running.Store(false)
	for failures := 0; ; failures++ {
		f.connects.Add(1)
		reached, retryAfter, err := f.follow(ctx)
		f.live.Store(false)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if reached {
			failures = 0
		}
		f.onError(fmt.Errorf("verify: revocation feed: %w", err))
		wait := min(minReconnect<<min(failures, 10), maxReconnect)
		wait = max(wait/2+rand.N(wait/2+1), retryAfter)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Synced is closed when the feed knows everything for the first time. A server
// that must not let anything slip waits for it before it says that it is ready.
func (f *Feed) Synced() <-chan struct{} { return f.synced }

// Age is how long ago we last knew everything that was revoked: the time since
// the last sign of life of a connection that is live. It grows while there is
// none, and is the longest Duration before the first.
func (f *Feed) Age() time.Duration {
	at := f.heard.Load()
	if at == 0 {
		return math.MaxInt64
	}
	return max(f.now().Sub(time.Unix(0, at)), 0)
}

// refuses reports whether the token of c was revoked.
func (f *Feed) refuses(c *claims) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.current.refuses(c)
}

var errQuiet = errors.New("no sign of life for 20 s")

// follow makes one connection, and reports whether it became live and how
// long the issuer wants to be left alone.
func (f *Feed) follow(ctx context.Context) (reached bool, retryAfter time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(quiet, func() { cancel(errQuiet) })
	defer watchdog.Stop()

	cursor := f.start()
	req, err := f.request(ctx, cursor)
	if err != nil {
		return false, 0, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return false, 0, because(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
			retryAfter = min(time.Duration(n)*time.Second, maxRetryAfter)
		}
		return false, retryAfter, fmt.Errorf("answered %d", resp.StatusCode)
	}
	if typ, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || typ != "text/event-stream" {
		return false, 0, errors.New("the answer is no event stream")
	}
	stream := newEventStream(resp.Body)
	stream.id = cursor
	for {
		e, err := stream.next()
		if errors.Is(err, io.EOF) {
			err = errors.New("closed by the issuer")
		}
		if err == nil {
			watchdog.Reset(quiet)
			err = f.handle(e)
		}
		reached = reached || f.live.Load()
		if err != nil {
			return reached, 0, because(ctx, err)
		}
	}
}

// because is the reason why we ended the connection ourselves, if we did.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// start returns the cursor to connect with. What was loaded in part is
// forgotten: a snapshot's cursors say nothing about the rest of it.
func (f *Feed) start() string {
	if f.next == nil && f.heard.Load() != 0 {
		return f.cursor
	}
	f.load()
	return f.begin
}

// load makes the coming events the whole of what is in force. They count as
// they come, beside what was known before.
func (f *Feed) load() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = newDenylist()
	if f.current.len() == 0 {
		f.current = f.next
	}
}

// handle takes one event, or a comment.
func (f *Feed) handle(e event) error {
	now := f.now()
	if e.name != "" {
		f.events.Add(1)
	}
	switch e.name {
	case "deny":
		a, exp, err := parseDeny(e.data)
		if err != nil {
			return err
		}
		if err := f.change(func(d *denylist) { d.deny(a, exp) }); err != nil {
			return err
		}
	case "mark":
		key, m, err := parseMark(e.data)
		if err != nil {
			return err
		}
		if err := f.change(func(d *denylist) { d.mark(key, m) }); err != nil {
			return err
		}
	case "reset":
		f.live.Store(false)
		f.begin = e.id
		f.load()
		return nil
	case "live":
		f.mu.Lock()
		if f.next != nil {
			f.current, f.next = f.next, nil
		}
		f.mu.Unlock()
		f.live.Store(true)
		f.begin = ""
	}
	f.mu.Lock()
	f.current.sweep(now.Unix())
	f.mu.Unlock()
	if e.name != "" {
		f.cursor = e.id // while a whole is loaded it counts for nothing: see start
	}
	if f.live.Load() {
		f.heard.Store(now.UnixNano())
		f.once.Do(func() { close(f.synced) })
	}
	return nil
}

// change applies an event to what is in force and to what is being loaded.
func (f *Feed) change(apply func(*denylist)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	apply(f.current)
	if f.next != nil && f.next != f.current {
		apply(f.next)
	}
	if f.current.len() > maxDenied || f.next != nil && f.next.len() > maxDenied {
		return errors.New("more entries than fit")
	}
	return nil
}
