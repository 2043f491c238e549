package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/bulla-auth/bulla/internal/grant"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// maxFollowers and maxTenantFollowers are how many feeds are open at once:
	// each costs a connection and a look at the store a few times a second.
	maxFollowers       = 1000
	maxTenantFollowers = 200
	// feedWrite is how long a follower may take to accept an event.
	feedWrite = 10 * time.Second
)

// handleRevocations serves GET /oauth/revocations: what ends access tokens of the
// caller's API, as server-sent events (WHATWG HTML §9.2, D5, SEC-130).
//
//	id: <cursor>
//	event: deny
//	data: {"hash":"<first part of the jti, 22 characters>","exp":<Unix seconds>}
//
//	event: mark   {"kind":…,"id":…,"before":<Unix milliseconds>,"exp":<Unix seconds>}
//	event: reset  forget what you know; all that counts follows
//	event: live   all that was committed before the request has been told
//
// A comment comes when there is nothing else to say for a while.
func (s *Server) handleRevocations(w http.ResponseWriter, r *http.Request, t tenant.Tenant) error {
	req, err := oauth.ParseFeedRequest(r)
	if err == nil {
		err = s.follow(w, r, t, req)
	}
	if err != nil && oauth.AsError(err).Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+t.Domain+`"`)
	}
	return err
}

func (s *Server) follow(w http.ResponseWriter, r *http.Request, t tenant.Tenant, req oauth.FeedRequest) error {
	feed, err := s.grants.Follow(r.Context(), t, req, s.origin(r))
	if err != nil {
		return err
	}
	if !s.followers.enter(t.ID) {
		w.Header().Set("Retry-After", "30")
		return oauth.NewError(oauth.TooManyRequests, "Too many feeds are open.", nil).WithReason("too_many_feeds")
	}
	defer s.followers.leave(t.ID)

	out := stream{w: w, control: http.NewResponseController(w)}
	if err := out.begin(); err != nil {
		return fmt.Errorf("open feed: %w", err)
	}
	// From here on the status is out. A fault ends the stream, and the follower
	// comes again with its cursor.
	if err := s.feed(r, out, feed); err != nil && r.Context().Err() == nil {
		s.logFailure(r, t.ID, http.StatusServiceUnavailable, "feed_ended", "", err)
	}
	return nil
}

// feed tells events until the follower, the server or the right to follow goes.
func (s *Server) feed(r *http.Request, out stream, feed *grant.Feed) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() { // ends with the feed
		select {
		case <-s.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	check := time.NewTicker(s.heartbeat)
	defer check.Stop()
	for {
		events, err := feed.Next(ctx, s.heartbeat)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		for _, e := range events {
			if err := out.event(e); err != nil {
				return err
			}
		}
		if len(events) == 0 {
			if err := out.comment("heartbeat"); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
		select {
		case <-check.C:
			if stands, err := feed.Stands(ctx); err != nil || !stands {
				return err
			}
		default:
		}
	}
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// begin sends the head. The listener's limits on the time of a request are for
// requests that end.
func (o stream) begin() error {
	if err := errors.Join(o.control.SetReadDeadline(time.Time{}), o.control.SetWriteDeadline(time.Time{})); err != nil {
		return err
	}
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects would hold events back
	o.w.WriteHeader(http.StatusOK)
	return o.flush()
}

func (o stream) event(e grant.FeedEvent) error {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return err
	}
	return o.write("id: " + e.ID + "\nevent: " + e.Name + "\ndata: " + string(data) + "\n\n")
}

func (o stream) comment(text string) error { return o.write(": " + text + "\n\n") }

func (o stream) write(text string) error {
	return o.limited(func() error { _, err := io.WriteString(o.w, text); return err })
}

func (o stream) flush() error { return o.limited(o.control.Flush) }

// limited ends the connection of a follower that does not read: a deadline that
// is long past fails the write that hangs.
func (o stream) limited(write func() error) error {
	late := time.AfterFunc(feedWrite, func() { _ = o.control.SetWriteDeadline(time.Unix(1, 0)) })
	defer late.Stop()
	return write()
}

// followers counts the open feeds.
type followers struct {
	mu     sync.Mutex
	all    int
	tenant map[string]int
}

func (f *followers) enter(tenantID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all >= maxFollowers || f.tenant[tenantID] >= maxTenantFollowers {
		return false
	}
	if f.tenant == nil {
		f.tenant = map[string]int{}
	}
	f.all++
	f.tenant[tenantID]++
	return true
}

func (f *followers) leave(tenantID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.tenant[tenantID]--; f.tenant[tenantID] == 0 {
		delete(f.tenant, tenantID)
	}
}
