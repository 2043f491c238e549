package grant

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

const (
	// feedPoll is how often a feed looks for what other nodes have committed; what
	// this one commits wakes it at once.
	feedPoll = 300 * time.Millisecond
	// feedPage is how many notices are read at once.
	feedPage = 500
)

// FeedEvent is one event of a feed, as it stands on the wire.
type FeedEvent struct {
	// ID is the cursor after the event; a feed that begins with it goes on there.
	ID string
	// Name is deny, mark, reset or live, and Data its JSON object.
	Name string
	Data any
}

// feedDeny and feedMark are the data of the events of these names.
type feedDeny struct {
	Hash string `json:"hash"`
	Exp  int64  `json:"exp"`
}

type feedMark struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Before int64  `json:"before"`
	Exp    int64  `json:"exp"`
}

// Feed tells one resource server what ends access tokens of its audience, in the
// order of the commits and without a gap (D5, SEC-130). It belongs to one
// goroutine.
type Feed struct {
	s        *Service
	tenant   tenant.Tenant
	client   tenant.Client
	audience string

	// position is how far it has come; its Number is negative before the first
	// notice of all.
	position tenant.FeedPosition
	reset    bool // to be told before anything else
	live     bool // all that was committed before has been told
}

// Follow opens the feed of a client that is linked to an API (LinkedAudience),
// from a cursor on; an empty one begins with all that counts now. Errors are
// *oauth.Error, or faults.
func (s *Service) Follow(ctx context.Context, t tenant.Tenant, req oauth.FeedRequest, origin tenant.Origin) (*Feed, error) {
	x := &exchange{tenant: t, origin: origin, now: s.clock.Now(), request: oauth.TokenRequest{Client: req.Client}}
	x.event = s.tokenEvent(t, x.request, origin, x.now)
	// The request has no body: a client whose secret goes into one sends it here
	// in the header.
	c, err := s.store.Client(ctx, t, req.Client.ClientID)
	if err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return nil, fmt.Errorf("read client: %w", err)
	}
	if c.AuthMethod == oauth.AuthSecretPost && req.Client.Method == oauth.AuthSecretBasic {
		x.request.Client.Method = oauth.AuthSecretPost
	}
	if err := s.confidential(ctx, x); err != nil {
		return nil, err
	}
	f := &Feed{s: s, tenant: t, client: x.client, audience: LinkedAudience(x.client), position: tenant.FeedPosition{Number: -1}}
	if f.audience == "" {
		refused := oauth.NewError(oauth.AccessDenied, "The client is not linked to an API.", nil).WithReason("not_linked")
		e := x.event
		e.Type = audit.LoginFailed
		s.record(e, refused)
		return nil, refused
	}
	if req.Cursor == "" {
		return f, nil
	}
	if f.position, err = parseCursor(req.Cursor); err != nil {
		return nil, err
	}
	now, err := s.store.FeedPosition(ctx, t.ID)
	if err != nil {
		return nil, fmt.Errorf("read feed position: %w", err)
	}
	// A cursor of before anything was numbered is good for ever. One of other
	// numbers, or beyond ours, is from before a restored backup, or made up.
	if f.position != (tenant.FeedPosition{}) && (f.position.Epoch != now.Epoch || f.position.Number > now.Number) {
		f.restart()
	}
	return f, nil
}

func (f *Feed) restart() {
	f.reset, f.live, f.position = true, false, tenant.FeedPosition{Number: -1}
}

// Next waits for events at most so long, and returns none when there are none.
func (f *Feed) Next(ctx context.Context, wait time.Duration) ([]FeedEvent, error) {
	end := time.NewTimer(wait)
	defer end.Stop()
	poll := time.NewTicker(feedPoll)
	defer poll.Stop()
	for {
		changed := f.s.store.NoticesChanged(f.tenant.ID) // before the look, so that no commit is between
		events, err := f.look(ctx)
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-end.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look reads what is new. The position is read first: everything up to it is
// committed, so what the second reading does not show does not concern anybody
// any more.
func (f *Feed) look(ctx context.Context) ([]FeedEvent, error) {
	now, err := f.s.store.FeedPosition(ctx, f.tenant.ID)
	if err != nil {
		return nil, fmt.Errorf("read feed position: %w", err)
	}
	switch {
	case f.position.Epoch == 0: // nothing of these numbers has been told
		f.position.Epoch = now.Epoch
	case f.position.Epoch != now.Epoch || f.position.Number > now.Number:
		f.restart() // the store was restored beneath us
		f.position.Epoch = now.Epoch
	}
	if f.live && f.position.Number >= now.Number {
		return nil, nil
	}
	notices, err := f.s.store.Notices(ctx, f.tenant.ID, f.position.Number, f.s.clock.Now(), feedPage)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	var events []FeedEvent
	if f.reset {
		f.reset = false
		events = append(events, FeedEvent{Name: "reset", Data: struct{}{}}) // no cursor: who is cut off begins anew
	}
	for _, n := range notices {
		f.position.Number = n.Number
		if n.Concerns(f.audience) {
			events = append(events, f.event(n))
		}
	}
	if len(notices) == feedPage { // more at the next look
		if len(events) == 0 {
			return f.look(ctx)
		}
		return events, nil
	}
	f.position.Number = max(f.position.Number, now.Number)
	if !f.live {
		f.live = true
		events = append(events, FeedEvent{ID: f.cursor(), Name: "live", Data: struct{}{}})
	}
	return events, nil
}

// event is a notice on the wire: instants of tokens in seconds, as in them, and
// those of marks in milliseconds.
func (f *Feed) event(n tenant.Notice) FeedEvent {
	if n.Hash != "" {
		return FeedEvent{ID: f.cursor(), Name: "deny", Data: feedDeny{Hash: n.Hash, Exp: ceilSecond(n.ExpiresAt)}}
	}
	m := feedMark{Kind: n.Mark.Kind, ID: n.Mark.ID, Before: n.NotBefore.UnixMilli(), Exp: ceilSecond(n.ExpiresAt)}
	if m.Kind == "tenant" { // outside, a tenant's name is its issuer
		m.ID = f.tenant.Issuer()
	}
	return FeedEvent{ID: f.cursor(), Name: "mark", Data: m}
}

func ceilSecond(t time.Time) int64 {
	return t.Add(time.Second - 1).Unix()
}

// Stands tells whether the client may go on: it is registered, linked and
// authenticated as when it came. A new secret is a reason to come again.
func (f *Feed) Stands(ctx context.Context) (bool, error) {
	t, err := f.s.store.Tenant(ctx, f.tenant.ID)
	if errors.Is(err, tenant.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read tenant: %w", err)
	}
	if t.ConfigVersion == f.tenant.ConfigVersion {
		return true, nil
	}
	c, err := f.s.store.Client(ctx, t, f.client.ID)
	if errors.Is(err, tenant.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read client: %w", err)
	}
	if LinkedAudience(c) != f.audience || c.AuthMethod != f.client.AuthMethod || !reflect.DeepEqual(c.Secrets, f.client.Secrets) {
		return false, nil
	}
	f.tenant, f.client = t, c
	return true, nil
}

const cursorSize = 16

// cursor is the position in one spelling; to others it is opaque.
func (f *Feed) cursor() string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), uint64(f.position.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(f.position.Number))
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (tenant.FeedPosition, error) {
	malformed := oauth.NewError(oauth.InvalidRequest, "The cursor is not one of this feed.", nil).WithReason("malformed_cursor")
	if len(s) != base64.RawURLEncoding.EncodedLen(cursorSize) {
		return tenant.FeedPosition{}, malformed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		return tenant.FeedPosition{}, malformed
	}
	p := tenant.FeedPosition{Epoch: int64(binary.BigEndian.Uint64(b)), Number: int64(binary.BigEndian.Uint64(b[8:]))}
	if p.Epoch < 0 || p.Number < 0 {
		return tenant.FeedPosition{}, malformed
	}
	return p, nil
}
