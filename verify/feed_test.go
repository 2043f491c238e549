package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// jtiOf is the jti of a token of authorization n.
func jtiOf(n byte) string {
	var all [32]byte
	all[0], all[31] = n, 9
	return base64.RawURLEncoding.EncodeToString(all[:])
}

func denyOf(n byte, exp time.Time) string {
	hash := [16]byte{n}
	return fmt.Sprintf(`{"hash":%q,"exp":%d}`, base64.RawURLEncoding.EncodeToString(hash[:]), exp.Unix())
}

func markOf(kind, id string, before, exp time.Time) string {
	ms := before.UnixMilli()
	if before.IsZero() {
		ms = 0
	}
	return fmt.Sprintf(`{"kind":%q,"id":%q,"before":%d,"exp":%d}`, kind, id, ms, exp.Unix())
}

func feedOptions() FeedOptions {
	return FeedOptions{Issuer: testIssuer, ClientID: "api client", ClientSecret: Secret("s3cret:of api")}
}

// feedOf is a feed at noon that is told by say.
func feedOf(t *testing.T) *Feed {
	t.Helper()
	o := feedOptions()
	o.Now = newClock().Now
	f, err := NewFeed(o)
	if err != nil {
		t.Fatal(err)
	}
	f.start()
	return f
}

func say(t *testing.T, f *Feed, name, data string) {
	t.Helper()
	if err := f.handle(event{name: name, data: []byte(data), id: "1"}); err != nil {
		t.Fatalf("%s %s: %v", name, data, err)
	}
}

// SEC-133: whom each entry concerns, and whom not.
func TestFeedRefuses(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	end := noon.Add(24 * time.Hour)
	issued := goodClaims(testIssuer).with(claimSet{"jti": jtiOf(7)}) // iat is noon
	tests := map[string]struct {
		events [][2]string
		claims claimSet
		want   error
	}{
		"nothing revoked":            {nil, issued, nil},
		"denied":                     {[][2]string{{"deny", denyOf(7, end)}}, issued, ErrRevoked},
		"another denied":             {[][2]string{{"deny", denyOf(8, end)}}, issued, nil},
		"denied, jti of others":      {[][2]string{{"deny", denyOf(7, end)}}, issued.with(claimSet{"jti": "j1"}), nil},
		"denied, no jti":             {[][2]string{{"deny", denyOf(7, end)}}, issued.with(claimSet{"jti": nil}), nil},
		"denied, jti with a break":   {[][2]string{{"deny", denyOf(7, end)}}, issued.with(claimSet{"jti": "\n" + jtiOf(7)[1:]}), nil},
		"user":                       {[][2]string{{"mark", markOf("user", "auth0|7", noon.Add(1e6), end)}}, issued, ErrRevoked},
		"user, issued at the moment": {[][2]string{{"mark", markOf("user", "auth0|7", noon, end)}}, issued, nil},
		"user, issued after":         {[][2]string{{"mark", markOf("user", "auth0|7", noon.Add(-time.Second), end)}}, issued, nil},
		"user, no iat":               {[][2]string{{"mark", markOf("user", "auth0|7", noon.Add(-time.Hour), end)}}, issued.with(claimSet{"iat": nil}), ErrRevoked},
		"another user":               {[][2]string{{"mark", markOf("user", "auth0|77", noon.Add(time.Second), end)}}, issued, nil},
		"user in other case":         {[][2]string{{"mark", markOf("user", "AUTH0|7", noon.Add(time.Second), end)}}, issued, nil},
		"client_id":                  {[][2]string{{"mark", markOf("client", "c1", noon.Add(time.Second), end)}}, issued, ErrRevoked},
		"azp":                        {[][2]string{{"mark", markOf("client", "c2", noon.Add(time.Second), end)}}, issued.with(claimSet{"client_id": nil, "azp": "c2"}), ErrRevoked},
		"a user named like it":       {[][2]string{{"mark", markOf("client", "auth0|7", noon.Add(time.Second), end)}}, issued, nil},
		"audience":                   {[][2]string{{"mark", markOf("audience", testAudience, noon.Add(time.Second), end)}}, issued, ErrRevoked},
		"one audience of two":        {[][2]string{{"mark", markOf("audience", "x", noon.Add(time.Second), end)}}, issued.with(claimSet{"aud": []string{testAudience, "x"}}), ErrRevoked},
		"tenant":                     {[][2]string{{"mark", markOf("tenant", testIssuer, noon.Add(time.Second), end)}}, issued, ErrRevoked},
		"another tenant":             {[][2]string{{"mark", markOf("tenant", "https://other.example/", noon.Add(time.Second), end)}}, issued, nil},
		"consent":                    {[][2]string{{"mark", markOf("consent", "auth0|7 c1 "+testAudience, noon.Add(time.Second), end)}}, issued, ErrRevoked},
		"consent to another client":  {[][2]string{{"mark", markOf("consent", "auth0|7 c2 "+testAudience, noon.Add(time.Second), end)}}, issued, nil},
		"client grant, a user's":     {[][2]string{{"mark", markOf("client_grant", "c1 "+testAudience, noon.Add(time.Second), end)}}, issued, nil},
		"client grant, the client's": {[][2]string{{"mark", markOf("client_grant", "c1 "+testAudience, noon.Add(time.Second), end)}}, issued.with(claimSet{"sub": "c1@clients"}), ErrRevoked},
		"client grant of another":    {[][2]string{{"mark", markOf("client_grant", "c2 "+testAudience, noon.Add(time.Second), end)}}, issued.with(claimSet{"sub": "c1@clients"}), nil},
		"unknown kind":               {[][2]string{{"mark", markOf("planet", "auth0|7", noon.Add(time.Second), end)}}, issued, nil},
		"mark lifted":                {[][2]string{{"mark", markOf("user", "auth0|7", noon.Add(time.Second), end)}, {"mark", markOf("user", "auth0|7", time.Time{}, end)}}, issued, nil},
		"mark moved":                 {[][2]string{{"mark", markOf("user", "auth0|7", noon.Add(-time.Second), end)}, {"mark", markOf("user", "auth0|7", noon.Add(time.Second), end)}}, issued, ErrRevoked},
		"unknown event":              {[][2]string{{"something", "x"}, {"deny", denyOf(7, end)}}, issued, ErrRevoked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := feedOf(t)
			v := mustNew(t, Options{Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), Now: newClock().Now, Feed: f})
			for _, e := range tt.events {
				say(t, f, e[0], e[1])
			}
			say(t, f, "live", "")
			if _, err := v.Verify(t.Context(), k.token(t, tt.claims)); err != tt.want {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

// An entry is kept for as long as a verifier with the largest skew would
// accept the token, and then goes: memory is bounded by live tokens (SEC-135).
func TestFeedForgetsWhatExpired(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := feedOptions()
	o.Now = c.Now
	f, err := NewFeed(o)
	if err != nil {
		t.Fatal(err)
	}
	f.start()
	for i := range 200 {
		say(t, f, "deny", denyOf(byte(i), noon.Add(time.Hour)))
	}
	say(t, f, "deny", denyOf(0, noon.Add(3*time.Hour))) // lives longer than was said first
	say(t, f, "mark", markOf("user", "short", noon, noon.Add(time.Hour)))
	say(t, f, "mark", markOf("user", "long", noon, noon.Add(time.Hour)))
	say(t, f, "mark", markOf("user", "long", noon, noon.Add(3*time.Hour)))
	say(t, f, "live", "")
	for _, step := range []struct {
		advance time.Duration
		want    int
	}{{time.Hour + maxSkew, 202}, {3 * time.Minute, 2}, {2 * time.Hour, 0}} {
		c.Advance(step.advance)
		if err := f.handle(event{}); err != nil { // a heartbeat sweeps
			t.Fatal(err)
		}
		if n := f.Stats().Entries; n != step.want {
			t.Errorf("%v later: %d entries, want %d", step.advance, n, step.want)
		}
	}
	if len(f.current.ends) != 0 {
		t.Errorf("%d minutes left behind", len(f.current.ends))
	}
}

// Data that can be read in two ways, or not at all, is refused.
func TestFeedDataIsReadStrictly(t *testing.T) {
	t.Parallel()
	hash := `"` + strings.Repeat("A", 22) + `"`
	for _, tt := range []struct{ name, data string }{
		{"deny", ``}, {"deny", `[]`}, {"deny", `{}`}, {"deny", `{"hash":` + hash + `}`}, {"deny", `{"exp":1}`},
		{"deny", `{"hash":"AAAA","exp":1}`}, {"deny", `{"hash":"` + strings.Repeat("A", 43) + `","exp":1}`},
		{"deny", `{"hash":"` + strings.Repeat("A", 21) + `B","exp":1}`}, {"deny", `{"hash":"` + strings.Repeat("+", 22) + `","exp":1}`},
		{"deny", `{"hash":` + hash + `,"hash":` + hash + `,"exp":1}`}, {"deny", `{"hash":` + hash + `,"exp":"1"}`},
		{"deny", `{"hash":` + hash + `,"exp":-1}`}, {"deny", `{"hash":` + hash + `,"exp":1e9}`}, {"deny", `{"hash":` + hash + `,"exp":99999999999999999}`},
		{"deny", `{"Hash":` + hash + `,"exp":1}`}, {"deny", `{"hash":null,"exp":1}`},
		{"mark", `{"kind":"user","id":"a","before":1}`}, {"mark", `{"kind":"user","before":1,"exp":1}`}, {"mark", `{"id":"a","before":1,"exp":1}`},
		{"mark", `{"kind":"user","id":"","before":1,"exp":1}`}, {"mark", `{"kind":1,"id":"a","before":1,"exp":1}`},
		{"mark", `{"kind":"user","id":"a","before":1.5,"exp":1}`}, {"mark", `{"kind":"user","id":"a","before":1,"exp":1} x`},
	} {
		f := feedOf(t)
		if err := f.handle(event{name: tt.name, data: []byte(tt.data)}); !errors.Is(err, errFeedData) {
			t.Errorf("%s %s: %v, want errFeedData", tt.name, tt.data, err)
		}
		if f.Stats().Entries != 0 {
			t.Errorf("%s %s: taken all the same", tt.name, tt.data)
		}
	}
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxLine)
	for in, want := range map[string]string{
		"event: deny\ndata: x\nid: 7\n\n":                                `deny "x" 7|EOF`,
		"id:7\r\nevent:deny\r\ndata:x\r\n\r\n":                           `deny "x" 7|EOF`,
		": heartbeat\n\nevent: live\nid: 8\n\n":                          `comment|live "" 8|EOF`,
		"retry: 5\nid: 9\ndata: nobody's\n\nevent: live\n\n":             `live "" 9|EOF`,
		"event: a\n: in between\ndata: 1\ndata: 2\n\n":                   `a "1\n2" |EOF`,
		"event: cut\ndata: x\n":                                          `EOF`,
		"event: cut\ndata: x":                                            `EOF`,
		"data: " + long + "\n\n":                                         `line longer than 4 KiB`,
		"event: a\ndata:" + long[:3000] + "\ndata:" + long[:3000]:        `EOF`,
		"event: a\ndata:" + long[:3000] + "\ndata:" + long[:3000] + "\n": `line longer than 4 KiB`,
		"event: a\nid: " + long[:maxCursor+1] + "\n\n":                   `unusable cursor`,
		"event: a\nid: a\x00b\n\n":                                       `unusable cursor`,
		"event: a\nid: a b\n\n":                                          `unusable cursor`,
		"event: a\nid: \xc3\xa9\n\n":                                     `unusable cursor`,
		"event: a\nid: 1\n\nevent: b\nid\n\n":                            `a "" 1|b "" |EOF`,
	} {
		s := newEventStream(strings.NewReader(in))
		var got []string
		for {
			e, err := s.next()
			if err != nil {
				got = append(got, err.Error())
				break
			}
			if e.name == "" {
				got = append(got, "comment")
				continue
			}
			got = append(got, fmt.Sprintf("%s %q %s", e.name, e.data, e.id))
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%.60q:\n got %s\nwant %s", in, text, want)
		}
	}
}

func FuzzEventStream(f *testing.F) {
	f.Add([]byte("event: deny\nid: 1\ndata: {\"hash\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"exp\":1}\n\n: x\n\nevent: live\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newEventStream(bytes.NewReader(data))
		for {
			e, err := s.next()
			if err != nil {
				return
			}
			if len(e.data) > maxLine || len(e.id) > maxCursor || !printableASCII([]byte(e.id)) {
				t.Errorf("%d bytes of data, cursor %q", len(e.data), e.id)
			}
			_, _, _ = parseDeny(e.data)
			_, _, _ = parseMark(e.data)
		}
	})
}

// fakeFeed is the outside world: an issuer's feed over pipes, so that waiting
// takes no time in a synctest bubble. It answers each connection as told.
type fakeFeed struct {
	mu       sync.Mutex
	requests []*http.Request
	at       []time.Time
	answers  []speech // what each connection writes; the last one repeats
	status   int      // instead of all that
	header   http.Header
}

func (f *fakeFeed) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.at = append(f.requests, r), append(f.at, time.Now())
	header := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
	if f.header != nil {
		header = f.header
	}
	if f.status != 0 {
		return &http.Response{StatusCode: f.status, Header: header, Body: io.NopCloser(strings.NewReader(""))}, nil
	}
	reply := f.answers[0]
	if len(f.answers) > 1 {
		f.answers = f.answers[1:]
	}
	if reply == nil {
		return nil, errors.New("connection refused")
	}
	pr, pw := io.Pipe()
	context.AfterFunc(r.Context(), func() { pr.CloseWithError(r.Context().Err()) })
	go reply(r.Context(), pw)
	return &http.Response{StatusCode: 200, Header: header, Body: pr}, nil
}

// speech writes what one connection says.
type speech func(ctx context.Context, w *io.PipeWriter)

func (f *fakeFeed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

// cursors are those that the connections came with.
func (f *fakeFeed) cursors() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, r := range f.requests {
		all = append(all, r.Header.Get("Last-Event-ID"))
	}
	return strings.Join(all, ",")
}

// sends writes, then beats every 10 s as long as somebody reads.
func sends(text string) speech {
	return func(ctx context.Context, w *io.PipeWriter) {
		_, err := io.WriteString(w, text)
		for err == nil {
			select {
			case <-time.After(10 * time.Second):
				_, err = io.WriteString(w, ": heartbeat\n\n")
			case <-ctx.Done():
				return
			}
		}
	}
}

// ends writes and closes the connection.
func ends(text string) speech {
	return func(_ context.Context, w *io.PipeWriter) {
		_, _ = io.WriteString(w, text)
		_ = w.Close()
	}
}

// falls silent after it has written, like a cable that was cut.
func silent(text string) speech {
	return func(_ context.Context, w *io.PipeWriter) { _, _ = io.WriteString(w, text) }
}

func wire(name, id, data string) string {
	return "event: " + name + "\nid: " + id + "\ndata: " + data + "\n\n"
}

// run starts a feed over f in a bubble, and stops it at the end of the test.
func (f *fakeFeed) run(t *testing.T, change func(*FeedOptions)) *Feed {
	t.Helper()
	o := feedOptions()
	o.HTTPClient = &http.Client{Transport: f, Timeout: time.Second} // which must not end the feed
	if change != nil {
		change(&o)
	}
	feed, err := NewFeed(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want context.Canceled", err)
		}
	})
	synctest.Wait()
	return feed
}

func denies(f *Feed, n byte) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.current.denied[authorization{n}]
	return ok
}

func wantDenied(t *testing.T, f *Feed, want string) {
	t.Helper()
	var got []string
	for n := range byte(10) {
		if denies(f, n) {
			got = append(got, fmt.Sprint(n))
		}
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("denied %q, want %q", text, want)
	}
}

func TestFeedRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{answers: []speech{sends(wire("live", "1", ""))}}
		f.run(t, nil)
		r := f.requests[0]
		id, secret, _ := r.BasicAuth()
		if r.Method != "GET" || r.URL.String() != testIssuer+"oauth/revocations" || r.Header.Get("Accept") != "text/event-stream" ||
			id != "api+client" || secret != "s3cret%3Aof+api" || r.Header.Values("Last-Event-ID") != nil {
			t.Errorf("%s %s, Basic %q %q, %v", r.Method, r.URL, id, secret, r.Header)
		}
	})
	for name, change := range map[string]func(*FeedOptions){
		"plain issuer (SEC-220)": func(o *FeedOptions) { o.Issuer = "http://issuer.example/" },
		"plain URL (SEC-220)":    func(o *FeedOptions) { o.URL = "http://issuer.example/feed" },
		"no client":              func(o *FeedOptions) { o.ClientID = "" },
		"no secret":              func(o *FeedOptions) { o.ClientSecret = nil },
	} {
		o := feedOptions()
		change(&o)
		if _, err := NewFeed(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Snapshot, live, what follows, and catching up by cursor after the
// connection was lost: the transcript of a day.
func TestFeedFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		second := make(chan string)
		f := &fakeFeed{answers: []speech{
			func(_ context.Context, w *io.PipeWriter) {
				_, _ = io.WriteString(w, wire("deny", "5", denyOf(1, end))+wire("deny", "5", denyOf(2, end)))
				time.Sleep(3 * time.Second)
				_, _ = io.WriteString(w, wire("live", "5", ""))
				time.Sleep(5 * time.Second)
				_, _ = io.WriteString(w, wire("deny", "6", denyOf(3, end)))
				_ = w.Close()
			},
			func(_ context.Context, w *io.PipeWriter) {
				for text := range second {
					_, _ = io.WriteString(w, text)
				}
				_ = w.Close()
			},
			sends(wire("live", "9", "")),
		}}
		var mu sync.Mutex
		var told []string
		feed := f.run(t, func(o *FeedOptions) {
			o.OnError = func(err error) { mu.Lock(); told = append(told, err.Error()); mu.Unlock() }
		})
		if feed.Age() != math.MaxInt64 {
			t.Errorf("age %v before the snapshot was whole, want the longest", feed.Age())
		}
		wantDenied(t, feed, "1 2") // what is known counts
		<-feed.Synced()
		if feed.Age() != 0 || !feed.Stats().Live {
			t.Errorf("age %v when it was whole, live %v", feed.Age(), feed.Stats().Live)
		}
		time.Sleep(5*time.Second + 1)
		wantDenied(t, feed, "1 2 3")
		if feed.Stats().Live {
			t.Error("live without a connection")
		}
		time.Sleep(minReconnect)
		second <- wire("deny", "7", denyOf(4, end))
		synctest.Wait()
		wantDenied(t, feed, "1 2 3 4")
		before := feed.Age()
		if before == 0 || feed.Stats().Live {
			t.Errorf("age %v while it catches up: nobody knows yet what else there is", before)
		}
		second <- wire("live", "8", "")
		synctest.Wait()
		if feed.Age() != 0 {
			t.Errorf("age %v when it has caught up", feed.Age())
		}
		close(second)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.cursors(); got != ",6,8" {
			t.Errorf("came with cursors %q, want none, 6 and 8", got)
		}
		if feed.Age() > 10*time.Second {
			t.Errorf("age %v with heartbeats, want at most 10 s (SEC-130)", feed.Age())
		}
		if strings.Join(told, ", ") != "verify: revocation feed: closed by the issuer, verify: revocation feed: closed by the issuer" {
			t.Errorf("OnError was told %v", told)
		}
	})
}

// A snapshot that broke off in the middle is asked for anew: its cursors say
// nothing about what was not sent.
func TestFeedBrokenSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		f := &fakeFeed{answers: []speech{
			ends(wire("deny", "5", denyOf(1, end))),
			sends(wire("deny", "6", denyOf(2, end)) + wire("live", "6", "")),
		}}
		feed := f.run(t, nil)
		<-feed.Synced()
		wantDenied(t, feed, "2") // 1 was lifted meanwhile, or it would have come again
		if got := f.cursors(); got != "," {
			t.Errorf("came with cursors %q, want none", got)
		}
	})
}

// reset: what we knew counts until all that is in force is known again, on
// this connection or the next, and then no more.
func TestFeedReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour)
		f := &fakeFeed{answers: []speech{
			func(_ context.Context, w *io.PipeWriter) {
				_, _ = io.WriteString(w, wire("deny", "1", denyOf(1, end))+wire("live", "1", ""))
				time.Sleep(time.Second)
				_, _ = io.WriteString(w, wire("reset", "r0", "")+wire("deny", "r1", denyOf(2, end)))
				time.Sleep(time.Second)
				_ = w.Close()
			},
			func(_ context.Context, w *io.PipeWriter) {
				_, _ = io.WriteString(w, wire("deny", "r1", denyOf(2, end))+wire("deny", "r2", denyOf(3, end)))
				time.Sleep(time.Second)
				_, _ = io.WriteString(w, wire("live", "r2", ""))
				time.Sleep(time.Second)
				_ = w.Close()
			},
			sends(wire("live", "r2", "")),
		}}
		feed := f.run(t, nil)
		time.Sleep(time.Second + time.Millisecond)
		wantDenied(t, feed, "1 2")
		if feed.Stats().Live {
			t.Error("live after a reset, before everything was sent again")
		}
		time.Sleep(1500 * time.Millisecond)
		wantDenied(t, feed, "1 2 3")
		time.Sleep(time.Second)
		synctest.Wait()
		wantDenied(t, feed, "2 3")
		time.Sleep(time.Minute)
		if got := f.cursors(); got != ",r0,r2" {
			t.Errorf("came with cursors %q, want none, r0, r2", got)
		}
	})
}

// A connection without a sign of life is given up, and the next is made.
func TestFeedHeartbeatTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{answers: []speech{silent(wire("live", "1", "")), sends(wire("live", "2", ""))}}
		var told error
		feed := f.run(t, func(o *FeedOptions) { o.OnError = func(err error) { told = err } })
		time.Sleep(quiet - time.Millisecond)
		if f.count() != 1 || feed.Age() != quiet-time.Millisecond {
			t.Errorf("%d connections, age %v", f.count(), feed.Age())
		}
		time.Sleep(time.Millisecond + minReconnect)
		synctest.Wait()
		if f.count() != 2 || !feed.Stats().Live || !errors.Is(told, errQuiet) {
			t.Errorf("%d connections, live %v, %v; want 2 and errQuiet", f.count(), feed.Stats().Live, told)
		}
		time.Sleep(time.Hour)
		if f.count() != 2 {
			t.Errorf("%d connections in an hour of heartbeats, want 2", f.count())
		}
	})
}

// Failures are followed by ever longer waits, which a good connection ends.
func TestFeedBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{answers: []speech{nil}}
		feed := f.run(t, nil)
		time.Sleep(10 * time.Minute)
		n := f.count()
		if n < 20 || n > 50 {
			t.Errorf("%d connections in 10 minutes, want about 30", n)
		}
		for i := 1; i < n; i++ {
			wait, most := f.at[i].Sub(f.at[i-1]), min(minReconnect<<min(i-1, 10), maxReconnect)
			if wait < most/2 || wait > most+1 {
				t.Errorf("wait %d: %v, want %v to %v", i, wait, most/2, most)
			}
		}
		f.mu.Lock()
		f.answers = []speech{ends(wire("live", "1", "")), sends(wire("live", "1", ""))}
		f.mu.Unlock()
		time.Sleep(maxReconnect + minReconnect)
		synctest.Wait()
		if !feed.Stats().Live {
			t.Error("not live: after a connection that was good the next is made soon")
		}
	})
	for name, tt := range map[string]struct {
		status int
		header http.Header
		least  time.Duration
	}{
		"503 with Retry-After":    {503, http.Header{"Retry-After": {"60"}}, time.Minute},
		"429 with a long one":     {429, http.Header{"Retry-After": {"86400"}}, maxRetryAfter},
		"401":                     {401, nil, minReconnect / 2},
		"redirect, not followed":  {302, http.Header{"Location": {"https://evil.example/"}}, minReconnect / 2},
		"a page (captive portal)": {0, http.Header{"Content-Type": {"text/html"}}, minReconnect / 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeFeed{status: tt.status, header: tt.header, answers: []speech{sends(wire("live", "1", ""))}}
			feed := f.run(t, nil)
			time.Sleep(tt.least + time.Second)
			synctest.Wait()
			if f.count() < 2 || f.at[1].Sub(f.at[0]) < tt.least || feed.Stats().Live {
				t.Errorf("%s: %d connections, live %v; want another after %v", name, f.count(), feed.Stats().Live, tt.least)
			}
			for _, r := range f.requests {
				if r.URL.Host != "issuer.example" {
					t.Errorf("%s: went to %s", name, r.URL)
				}
			}
		})
	}
}

// Data that cannot be read ends the connection: what it should have said is
// not known, and the age tells.
func TestFeedBadDataIsNoKnowledge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{answers: []speech{sends(wire("live", "1", "") + wire("deny", "2", "{}"))}}
		feed := f.run(t, nil)
		time.Sleep(time.Minute)
		if f.count() < 3 {
			t.Errorf("%d connections, want several", f.count())
		}
		if got := f.cursors(); !strings.HasPrefix(got, ",1,1") {
			t.Errorf("came with %q: the event that was not understood must come again", got)
		}
		if feed.Stats().Live {
			t.Error("live")
		}
	})
}

// SEC-130: what a verifier does while the feed is out of date is its choice.
func TestFeedOutage(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{answers: []speech{silent(wire("deny", "1", denyOf(7, time.Now().Add(time.Hour))) + wire("live", "1", "")), nil}}
		feed := f.run(t, nil)
		verifier := func(failure Failure) *Verifier {
			return mustNew(t, Options{
				Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), Feed: feed, OldFeed: failure, MaxFeedAge: time.Minute,
			})
		}
		closed, open := verifier(FailClosed), verifier(FailOpen)
		good := k.token(t, goodClaims(testIssuer).with(claimSet{"iat": nil, "exp": time.Now().Add(time.Hour).Unix(), "jti": jtiOf(1)}))
		denied := k.token(t, goodClaims(testIssuer).with(claimSet{"iat": nil, "exp": time.Now().Add(time.Hour).Unix(), "jti": jtiOf(7)}))
		check := func(when string, v *Verifier, raw string, want error) {
			t.Helper()
			if _, err := v.Verify(t.Context(), raw); !errors.Is(err, want) || want == nil && err != nil || want == ErrUnavailable && errors.Is(err, ErrInvalidToken) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		time.Sleep(time.Minute)
		check("at the limit, closed", closed, good, nil)
		time.Sleep(time.Nanosecond)
		check("beyond, closed", closed, good, ErrUnavailable)
		check("beyond, open", open, good, nil)
		check("beyond, closed, known to be denied", closed, denied, ErrRevoked)
		check("beyond, open, known to be denied", open, denied, ErrRevoked)
		if n := open.Stats().FeedOld; n != 1 {
			t.Errorf("FeedOld = %d, want 1", n)
		}

		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "https://api.example/", nil)
		r.Header.Set("Authorization", "Bearer "+good)
		closed.Middleware(nil)(http.NotFoundHandler()).ServeHTTP(w, r)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("middleware: %d, Retry-After %q; want 503", w.Code, w.Header().Get("Retry-After"))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		never, err := NewFeed(feedOptions())
		if err != nil {
			t.Fatal(err)
		}
		v := mustNew(t, Options{Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), Feed: never})
		raw := k.token(t, goodClaims(testIssuer).with(claimSet{"iat": nil, "exp": time.Now().Add(time.Hour).Unix()}))
		if _, err := v.Verify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a feed that nobody runs: %v, want ErrUnavailable", err)
		}
	})
}

// Over real sockets: a revocation reaches a verifier through HTTP/2 and TLS,
// and cancelling ends Run.
func TestFeedOverHTTP(t *testing.T) {
	t.Parallel()
	k := key(0, "k0")
	push := make(chan string)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		fmt.Fprint(w, wire("live", "1", ""))
		for rc.Flush() == nil {
			select {
			case text := <-push:
				fmt.Fprint(w, text)
			case <-r.Context().Done():
				return
			}
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	feed, err := NewFeed(FeedOptions{Issuer: server.URL + "/", ClientID: "c", ClientSecret: Secret("s"), HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	v := mustNew(t, Options{Issuer: testIssuer, Audience: []string{testAudience}, Keys: jwks(t, k), Feed: feed})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	<-feed.Synced()
	if err := feed.Run(ctx); err == nil {
		t.Error("a second Run at the same time")
	}
	raw := k.token(t, goodClaims(testIssuer).with(claimSet{"iat": nil, "exp": time.Now().Add(time.Hour).Unix(), "jti": jtiOf(7)}))
	if _, err := v.Verify(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	push <- wire("deny", "2", denyOf(7, time.Now().Add(time.Hour)))
	for {
		if _, err := v.Verify(t.Context(), raw); err != nil {
			if err != ErrRevoked {
				t.Errorf("Verify = %v, want ErrRevoked", err)
			}
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the revocation did not arrive")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
