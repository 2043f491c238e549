package management

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// maxBody is the largest body (SEC-225).
const maxBody = 1 << 20

// call is one request on its way.
type call struct {
	*API
	ctx    context.Context
	t      tenant.Tenant
	origin tenant.Origin
	r      *http.Request
	op     *operation
	claims tenant.Claims
	// own: the token may act only on the user who bears it.
	own   bool
	now   time.Time
	path  map[string]string
	query *object
	body  *object
	// items is the body of operations that take an array.
	items []any
	page  tenant.Page
	form  form
	// header are headers of the answer.
	header http.Header
}

// ServeTenant answers a request under /api/v2/ for a tenant.
func (a *API) ServeTenant(w http.ResponseWriter, r *http.Request, t tenant.Tenant, origin tenant.Origin) {
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	c := &call{API: a, ctx: r.Context(), t: t, origin: origin, r: r, header: w.Header()}
	c.header.Set("Content-Type", "application/json; charset=utf-8")
	c.header.Set("Cache-Control", "no-store")
	c.header.Set("X-Content-Type-Options", "nosniff")
	c.header.Add("Vary", "Origin")
	status, out, err := c.run(w)
	if err != nil {
		a.refuse(c, w, err)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(out) // nobody is left to tell
}

// run is the order in which a request is judged: a caller learns nothing about
// the tenant before its token is known, and nothing about a body before its
// scope is.
func (c *call) run(w http.ResponseWriter) (int, []byte, error) {
	found, values := c.table.find(c.r.Method, c.r.URL.EscapedPath())
	if found == nil {
		return 0, nil, &oauth.Error{Status: http.StatusNotFound, Description: "Not Found"}
	}
	c.op, c.path = found.op, values
	if c.op.open == "" {
		if err := c.authenticate(); err != nil {
			return 0, nil, err
		}
		if err := c.authorize(); err != nil {
			return 0, nil, err
		}
	}
	c.now = c.clock.Now()
	if err := c.decode(w); err != nil {
		return 0, nil, err
	}
	result, err := c.op.serve(c)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.encode(result)
	return c.op.status, out, err
}

// decode reads path, query and body and holds them against the description.
func (c *call) decode(w http.ResponseWriter) error {
	for _, d := range c.op.params {
		if f := d.shape.judge(c.path[d.name], d.name, d.doc); f != nil {
			return f.invalidPath()
		}
	}
	var fault *fault
	if c.query, fault = c.op.parseQuery(c.r.URL.RawQuery); fault != nil {
		return fault.invalidQuery()
	}
	if err := c.paging(); err != nil {
		return err
	}
	if c.op.body == nil {
		return nil
	}
	v, err := c.readBody(w)
	if err != nil {
		return err
	}
	if fault := c.op.body.shape.judge(v, "", ""); fault != nil {
		return fault.invalidBody()
	}
	switch v := v.(type) {
	case *object:
		c.body = v
	case []any:
		c.items = v
	}
	return c.mayWrite()
}

func (c *call) readBody(w http.ResponseWriter) (any, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if c.r.Header.Get("Content-Type") == "" {
		kind, err = "application/json", nil
	}
	if err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded" && !strings.HasSuffix(kind, "+json") {
		return nil, &oauth.Error{Status: http.StatusUnsupportedMediaType, Description: "Unsupported Media Type"}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, c.r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &oauth.Error{Status: http.StatusRequestEntityTooLarge, Description: "Payload content length greater than maximum allowed: " + strconv.Itoa(maxBody)}
		}
		return nil, badJSON(err)
	}
	if kind == "application/x-www-form-urlencoded" {
		return parseForm(string(text), c.op.body.shape)
	}
	if len(text) == 0 {
		return &object{}, nil
	}
	v, err := parseJSON(text)
	if err != nil {
		return nil, badJSON(err)
	}
	return v, nil
}

func badJSON(err error) error {
	return &oauth.Error{Code: "invalid_body", Status: http.StatusBadRequest, Description: "Invalid request payload JSON format", Err: err}
}

// parseForm reads a form body with the same names as the JSON one: lists repeat
// the name (with or without [] or [0]), objects write name[member].
func parseForm(text string, s shape) (any, error) {
	values, err := url.ParseQuery(text)
	if err != nil || len(values) > maxItems {
		return nil, badJSON(err)
	}
	o := &object{}
	for _, name := range sortedKeys(values) {
		base, inner, _ := strings.Cut(name, "[")
		inner = strings.TrimSuffix(inner, "]")
		i := slices.IndexFunc(s.fields, func(d field) bool { return d.name == base })
		switch {
		case i < 0:
			o.set(base, values[name][0])
		case s.fields[i].shape.kind == objectKind && inner != "":
			child := o.child(base)
			if child == nil {
				child = &object{}
			}
			child.set(inner, values[name][0])
			o.set(base, child)
		default:
			v := fromText(values[name], s.fields[i].shape)
			if earlier, ok := o.get(base); ok && s.fields[i].shape.kind == arrayKind {
				v = append(earlier.([]any), v.([]any)...)
			}
			o.set(base, v)
		}
	}
	return o, nil
}

// parseQuery reads the query string into the types of the description.
func (op *operation) parseQuery(raw string) (*object, *fault) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &fault{reason: "Malformed query string"}
	}
	const most = 100 // SEC-225
	if len(values) > most {
		return nil, &fault{reason: fmt.Sprintf("Too many properties defined (%d), maximum %d", len(values), most)}
	}
	known := op.parameters()
	s := closed(known...)
	o := &object{}
	for _, name := range sortedKeys(values) {
		base, _, _ := strings.Cut(name, "[") // strategy[0]=a&strategy[1]=b
		i := slices.IndexFunc(known, func(d field) bool { return d.name == base })
		if i < 0 {
			o.set(name, values[name][0])
			continue
		}
		v := fromText(values[name], known[i].shape)
		if earlier, ok := o.get(base); ok && known[i].shape.kind == arrayKind {
			v = append(earlier.([]any), v.([]any)...)
		}
		o.set(base, v)
	}
	return o, s.judge(o, "", "")
}

// parameters are all query parameters the operation takes. Clients send the
// parameters of every paging form at once, so lists take them all.
func (op *operation) parameters() []field {
	out := slices.Clone(op.query)
	if op.answer.list != nil {
		out = append(out, op.answer.list.parameters()...)
	}
	if op.method == http.MethodGet && op.answer.resource != nil {
		out = append(out,
			f("fields", str().atMost(2000), "Members to keep, by name and separated by commas"),
			f("include_fields", boolean(), "false drops what fields names instead of keeping it"))
	}
	return out
}

// fromText types a parameter; what does not read as its type stays a string,
// for judge to name.
func fromText(values []string, s shape) any {
	if s.kind == arrayKind {
		out := make([]any, len(values))
		for i, v := range values {
			out[i] = fromText([]string{v}, *s.item)
		}
		return out
	}
	if len(values) > 1 {
		return fromText(values, list(s)) // judge says that an array was found
	}
	v := values[0]
	switch s.kind {
	case integerKind, numberKind:
		if _, err := strconv.ParseInt(v, 10, 64); err == nil {
			return json.Number(v)
		}
	case booleanKind:
		if v == "true" || v == "false" {
			return v == "true"
		}
	}
	return v
}

func sortedKeys(m url.Values) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// refuse renders an error: {statusCode, error, message, errorCode} in that
// order (management-api.md §3). What is none of ours is a fault: 503 (SEC-2).
func (a *API) refuse(c *call, w http.ResponseWriter, err error) {
	var e *oauth.Error
	if !errors.As(err, &e) {
		e = &oauth.Error{Status: http.StatusServiceUnavailable, Description: "The service is temporarily unavailable. Try again.", Err: err}
	}
	if e.Status >= http.StatusInternalServerError {
		a.log.ErrorContext(c.ctx, "management request", "method", c.r.Method, "tenant", c.t.ID, "status", e.Status, "error", e.Error())
	}
	out := obj("statusCode", e.Status, "error", http.StatusText(e.Status), "message", e.Description)
	if e.Code != "" {
		out.set("errorCode", e.Code)
	}
	if e.Status == http.StatusUnauthorized {
		c.header.Set("WWW-Authenticate", "Bearer") // RFC 6750 §3
		if e != errMissing {
			out.set("attributes", obj("error", e.Description))
		}
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(out.bytes()) // nobody is left to tell
}
