package management

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// form is one of the three forms of a list (management-api.md §5).
type form int

const (
	// whole is a bare array of everything.
	whole form = iota
	// offset is a bare array of one page, with a Link header.
	offset
	// envelope is an object with start, limit and total.
	envelope
	// checkpoint is an object with next.
	checkpoint
)

// listForm says which forms a list has.
type listForm struct {
	// key is the member of the envelope that holds the items.
	key string
	// perPage is the default page size, 50 unless set; takeMax the largest take,
	// 100 unless set.
	perPage, takeMax int
	// checkpoint: take and from are understood.
	checkpoint bool
	// only: there is no other form than checkpoint.
	only bool
	// emptyPage: per_page may be 0.
	emptyPage bool
	// always: a list without paging parameters is a page, not everything.
	always bool
	// length: the envelope has the number of items on this page.
	length bool
	// most is the last record that can be reached by page; zero means all can.
	most int
	// raw positions are ids of the caller's own choice, not ones we made.
	raw bool
}

func (l *listForm) parameters() []field {
	low := 1.0
	if l.emptyPage {
		low = 0
	}
	return []field{
		f("page", integer().between(0, 1e9), "Which page, counted from 0"),
		f("per_page", integer().between(low, 100), "How many on a page, 100 at most"),
		f("include_totals", boolean(), "true wraps the list in an object that also says how many there are"),
		f("from", str().atMost(1000), "Where to go on: next of the answer before"),
		f("take", integer().between(1, float64(l.takeMax)), "How many to take; 50 unless set"),
	}
}

// paging reads which part of the list is asked for, and in which form. take and
// from win over page: some clients always send all of them.
func (c *call) paging() error {
	l := c.op.answer.list
	if l == nil {
		return nil
	}
	q := c.query
	if l.only || l.checkpoint && (q.has("take") || q.has("from")) {
		c.form = checkpoint
		c.page = tenant.Page{Limit: 50, Checkpoint: true}
		if q.has("take") {
			c.page.Limit = int(q.number("take"))
		}
		return c.position(q.text("from"))
	}
	c.page.Limit = l.perPage
	if q.has("per_page") {
		c.page.Limit = int(q.number("per_page"))
		c.page.Empty = c.page.Limit == 0
	}
	c.page.Offset = int(q.number("page")) * c.page.Limit
	c.page.Total = true
	switch {
	case q.flag("include_totals"):
		c.form = envelope
	case q.has("page") || q.has("per_page") || l.always:
		c.form = offset
	default:
		c.form, c.page = whole, tenant.Page{}
	}
	if l.most > 0 && c.page.Offset+c.page.Limit > l.most && c.form != whole {
		return &oauth.Error{Code: "invalid_paging", Status: http.StatusBadRequest,
			Description: "You can only page through the first " + strconv.Itoa(l.most) + " records."}
	}
	return nil
}

// encodeList writes a list in the form asked for.
func (c *call) encodeList(l listing) ([]byte, error) {
	how := c.op.answer.list
	switch c.form {
	case checkpoint:
		out := obj(how.key, l.items)
		if l.next != "" {
			next := l.next
			if !how.raw {
				var err error
				if next, err = c.seal(l.next); err != nil {
					return nil, err
				}
			}
			out.set("next", next)
		}
		if v, ok := c.query.get("include_totals"); ok && v == true && c.page.Total {
			out.set("total", l.total)
		}
		return out.bytes(), nil
	case envelope:
		out := obj("start", c.page.Offset, "limit", c.page.Limit)
		if how.length {
			out.set("length", len(l.items))
		}
		out.set("total", l.total)
		out.set(how.key, l.items)
		return out.bytes(), nil
	case whole:
		l.total = len(l.items)
		c.page = tenant.Page{Limit: how.perPage}
	}
	c.link(l.total)
	return appendJSON(nil, l.items), nil
}

// link sets the Link header of a bare array (management-api.md §5 rule 7): the
// vendor's scheme is literally http.
func (c *call) link(total int) {
	if c.page.Limit == 0 || c.header.Get("Link") != "" {
		return
	}
	page := c.page.Offset / c.page.Limit
	last := max(total-1, 0) / c.page.Limit
	links := []string{c.pageURL(0) + `; rel="first"`}
	if c.form != whole && page < last {
		links = append(links, c.pageURL(page+1)+`; rel="next"`)
	}
	links = append(links, c.pageURL(last)+`; rel="last"`)
	c.header.Set("Link", strings.Join(links, ", "))
}

func (c *call) pageURL(page int) string {
	q := c.filters()
	q.Set("page", strconv.Itoa(page))
	q.Set("per_page", strconv.Itoa(c.page.Limit))
	return "<http://" + c.t.Domain + c.r.URL.EscapedPath() + "?" + q.Encode() + ">"
}

// filters is the query less what chooses the part and the form of a list.
func (c *call) filters() url.Values {
	q := c.r.URL.Query()
	for _, name := range []string{"page", "per_page", "include_totals", "from", "take", "fields", "include_fields"} {
		q.Del(name)
	}
	return q
}

// A position is given out as MAC and store position, and taken back only for
// the same list of the same tenant (SEC-191): it never becomes part of a query
// unless we made it.
const (
	macSize = 16
	// pagingLabel is the vault's name of the key for positions (SEC-146).
	pagingLabel = "bulla/tenant/paging/v1"
)

func (c *call) positionMAC(store string) ([]byte, error) {
	key, err := c.vault.Derive(c.ctx, c.t, pagingLabel)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, key)
	for _, part := range []string{c.t.ID, c.r.URL.EscapedPath(), c.filters().Encode(), store} {
		n := strconv.AppendInt(nil, int64(len(part)), 10)
		h.Write(append(n, ':'))
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:macSize], nil
}

func (c *call) seal(store string) (string, error) {
	mac, err := c.positionMAC(store)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(mac, store...)), nil
}

// position opens what seal made.
func (c *call) position(from string) error {
	if from == "" {
		return nil
	}
	if c.op.answer.list.raw {
		c.page.After = from
		return nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(from)
	// The decoder skips line breaks: what decodes must encode to the same.
	if err != nil || len(plain) <= macSize || base64.RawURLEncoding.EncodeToString(plain) != from {
		return errPosition
	}
	store := string(plain[macSize:])
	mac, err := c.positionMAC(store)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, plain[:macSize]) {
		return errPosition
	}
	c.page.After = store
	return nil
}

var errPosition = &oauth.Error{Code: "invalid_query_string", Status: http.StatusBadRequest,
	Description: "The checkpoint ID provided in the 'from' parameter has expired or is invalid, please remove the checkpoint ID and try again"}
