package management

import (
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// description serves the API's own description.
func (a *API) description() group {
	return group{tag: "openapi", operations: []operation{{
		method: http.MethodGet, path: "/openapi.json", title: "Read this description",
		doc:    "This document: OpenAPI 3.1, made from the same description that requests are held against.",
		open:   "the document is the same for every installation of a version and tells nothing about this one (SEC-195)",
		status: http.StatusOK,
		serve:  func(c *call) (any, error) { return c.openAPI, nil },
	}}}
}

// openAPI writes the routes as an OpenAPI 3.1 document. Everything in it is read
// from the description; nothing is written by hand a second time.
func openAPI(t *table) []byte {
	w := &documenter{schemas: &object{}}
	paths := &object{}
	for _, r := range t.routes() {
		item := paths.child(r.op.path)
		if item == nil {
			item = &object{}
			paths.set(r.op.path, item)
		}
		item.set(strings.ToLower(r.op.method), w.operation(r))
	}
	slices.SortFunc(w.schemas.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return obj(
		"openapi", "3.1.0",
		"info", obj("title", "Management API", "version", "2.0", "description", "Everything an installation is made of. The base is https://{domain}/api/v2."),
		"servers", []any{obj("url", prefix)},
		"security", []any{obj("bearer", []any{})},
		"paths", paths,
		"components", obj(
			"securitySchemes", obj("bearer", obj("type", "http", "scheme", "bearer", "bearerFormat", "JWT",
				"description", "An access token whose audience is https://{domain}/api/v2/.")),
			"responses", w.refusals(),
			"schemas", w.schemas,
		),
	).bytes()
}

type documenter struct{ schemas *object }

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

func (w *documenter) operation(r *route) *object {
	op := r.op
	out := obj(
		"operationId", strings.Trim(notWord.ReplaceAllString(strings.ToLower(op.method+op.path), "_"), "_"),
		"summary", op.title,
		"tags", []string{r.tag},
	)
	doc := op.doc
	if op.open == "" {
		out.set("x-scopes", op.scopes)
		doc = strings.TrimSpace(doc + "\n\nScopes (any of): " + strings.Join(op.scopes, ", "))
	} else {
		out.set("security", []any{})
	}
	out.set("description", doc)
	if params := w.parameters(r); len(params) > 0 {
		out.set("parameters", params)
	}
	if op.body != nil {
		w.schemas.setDefault(op.body.name, w.schema(op.body.shape))
		content := obj("schema", reference("schemas", op.body.name))
		out.set("requestBody", obj("required", true, "content",
			obj("application/json", content, "application/x-www-form-urlencoded", content)))
	}
	out.set("responses", w.responses(op))
	return out
}

func (w *documenter) parameters(r *route) []any {
	var out []any
	for _, s := range r.segments {
		if !strings.HasPrefix(s, "{") {
			continue
		}
		name := s[1 : len(s)-1]
		d := f(name, str(), "")
		if i := slices.IndexFunc(r.op.params, func(p field) bool { return p.name == name }); i >= 0 {
			d = r.op.params[i]
		}
		out = append(out, w.parameter(d, "path", true))
	}
	for _, d := range r.op.parameters() {
		out = append(out, w.parameter(d, "query", d.required))
	}
	return out
}

func (w *documenter) parameter(d field, in string, required bool) *object {
	p := obj("name", d.name, "in", in, "required", required, "schema", w.schema(d.shape))
	if d.doc != "" {
		p.set("description", d.doc)
	}
	return p
}

func (w *documenter) responses(op *operation) *object {
	ok := obj("description", http.StatusText(op.status))
	if s := w.answer(op); s != nil {
		ok.set("content", obj("application/json", obj("schema", s)))
	}
	out := obj(strconv.Itoa(op.status), ok)
	statuses := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}
	if op.body != nil {
		statuses = append(statuses, http.StatusConflict, http.StatusRequestEntityTooLarge)
	}
	for _, s := range append(statuses, http.StatusTooManyRequests, http.StatusServiceUnavailable) {
		out.set(strconv.Itoa(s), reference("responses", refusalName(s)))
	}
	return out
}

func (w *documenter) answer(op *operation) any {
	r := op.answer.resource
	if r == nil {
		if op.answer.empty || op.open != "" {
			return obj("type", "object")
		}
		return nil
	}
	w.schemas.setDefault(r.name, w.resource(r))
	item := reference("schemas", r.name)
	many := obj("type", "array", "items", item)
	l := op.answer.list
	switch {
	case op.answer.array:
		return many
	case l == nil:
		return item
	case l.only:
		return obj("type", "object", "properties", obj(l.key, many, "next", obj("type", "string")))
	}
	whole := obj("start", obj("type", "integer"), "limit", obj("type", "integer"), "length", obj("type", "integer"),
		"total", obj("type", "integer"), "next", obj("type", "string"), l.key, many)
	return obj("oneOf", []any{many, obj("type", "object", "properties", whole)})
}

func (w *documenter) resource(r *resource) *object {
	s := w.schema(closed(r.pick(inAnswer)...))
	s.remove("required") // scopes and the fields parameter may hide any member
	if r.doc != "" {
		s.set("description", r.doc)
	}
	return s
}

func reference(kind, name string) *object { return obj("$ref", "#/components/"+kind+"/"+name) }

func refusalName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

func (w *documenter) refusals() *object {
	w.schemas.set("Error", obj(
		"type", "object",
		"required", []string{"statusCode", "error", "message"},
		"properties", obj(
			"statusCode", obj("type", "integer"),
			"error", obj("type", "string"),
			"message", obj("type", "string"),
			"errorCode", obj("type", "string"),
			"attributes", obj("type", "object"),
		)))
	out := &object{}
	for _, s := range []int{400, 401, 403, 404, 409, 413, 429, 503} {
		out.set(refusalName(s), obj("description", http.StatusText(s),
			"content", obj("application/json", obj("schema", reference("schemas", "Error")))))
	}
	return out
}

// schema writes a shape in JSON Schema 2020-12.
func (w *documenter) schema(s shape) *object {
	out := &object{}
	switch s.kind {
	case anyKind:
		return out
	case eitherKind:
		var all []any
		for _, one := range s.oneOf {
			all = append(all, w.schema(one))
		}
		return obj("anyOf", all)
	}
	out.set("type", s.typeName())
	if s.null {
		out.set("type", []string{s.typeName(), "null"})
	}
	if s.values != nil {
		values := make([]any, len(s.values))
		for i, v := range s.values {
			values[i] = v
		}
		if s.null {
			values = append(values, nil)
		}
		out.set("enum", values)
	}
	if s.pattern != nil {
		out.set("pattern", s.pattern.String())
	}
	if s.format != "" {
		out.set("format", s.format)
	}
	low, high := boundNames(s.kind)
	if low != "" && !math.IsInf(s.low, 0) {
		out.set(low, int64(s.low))
	}
	if high != "" && !math.IsInf(s.high, 0) {
		out.set(high, int64(s.high))
	}
	switch s.kind {
	case arrayKind:
		out.set("items", w.schema(*s.item))
		if s.unique {
			out.set("uniqueItems", true)
		}
	case objectKind:
		w.members(out, s)
	}
	return out
}

func (w *documenter) members(out *object, s shape) {
	properties := &object{}
	var required []string
	for _, d := range s.fields {
		p := w.schema(d.shape)
		if d.doc != "" {
			p.set("description", d.doc)
		}
		if d.otherwise != nil {
			p.set("default", d.otherwise)
		}
		if d.required {
			required = append(required, d.name)
		}
		properties.set(d.name, p)
	}
	if len(properties.members) > 0 {
		out.set("properties", properties)
	}
	if required != nil {
		out.set("required", required)
	}
	switch {
	case !s.open:
		out.set("additionalProperties", false)
	case s.item != nil:
		out.set("additionalProperties", w.schema(*s.item))
	}
}

func boundNames(k kind) (low, high string) {
	switch k {
	case stringKind:
		return "minLength", "maxLength"
	case integerKind, numberKind:
		return "minimum", "maximum"
	case arrayKind:
		return "minItems", "maxItems"
	case objectKind:
		return "minProperties", "maxProperties"
	}
	return "", ""
}
