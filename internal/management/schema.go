package management

import (
	"math"
	"regexp"
)

// kind is the JSON type a description asks for.
type kind int

const (
	anyKind kind = iota
	stringKind
	integerKind
	numberKind
	booleanKind
	arrayKind
	objectKind
	eitherKind
)

// shape says which JSON values are meant. Its words are those of the
// specification page: str().chars(1, 140) is str(1..140), .match(p) is /p/,
// .as("email") is ~email, .orNull() is ?.
type shape struct {
	kind kind
	// low and high bound a number, or the size of a string, list or object.
	low, high float64
	pattern   *regexp.Regexp
	format    string
	values    []string
	item      *shape
	fields    []field
	// open: members that fields does not name are kept as they are.
	open   bool
	unique bool
	null   bool
	oneOf  []shape
	// advice follows the names of refused members.
	advice string
}

func str() shape      { return shape{kind: stringKind, low: math.Inf(-1), high: math.Inf(1)} }
func integer() shape  { return shape{kind: integerKind, low: math.Inf(-1), high: math.Inf(1)} }
func number() shape   { return shape{kind: numberKind, low: math.Inf(-1), high: math.Inf(1)} }
func boolean() shape  { return shape{kind: booleanKind} }
func anything() shape { return shape{kind: anyKind} }

// list is an array of items of one shape.
func list(item shape) shape {
	return shape{kind: arrayKind, item: &item, low: math.Inf(-1), high: math.Inf(1)}
}

// closed is an object of the given fields and no others.
func closed(fields ...field) shape {
	return shape{kind: objectKind, fields: fields, low: math.Inf(-1), high: math.Inf(1)}
}

// free is an object of any members; those that are named must fit.
func free(fields ...field) shape {
	s := closed(fields...)
	s.open = true
	return s
}

// mapOf is an object of any names whose values have one shape.
func mapOf(value shape) shape {
	s := free()
	s.item = &value
	return s
}

// either is a value that fits one of the shapes.
func either(shapes ...shape) shape { return shape{kind: eitherKind, oneOf: shapes} }

// oneOf is a string of a fixed set.
func oneOf(values ...string) shape {
	s := str()
	s.values = values
	return s
}

// notEmpty, atMost and between bound a number, or the size of what has one.
func (s shape) notEmpty() shape                 { s.low = 1; return s }
func (s shape) atMost(n float64) shape          { s.high = n; return s }
func (s shape) between(low, high float64) shape { s.low, s.high = low, high; return s }

// chars is between for strings.
func (s shape) chars(low, high float64) shape { return s.between(low, high) }

func (s shape) match(pattern string) shape { s.pattern = regexp.MustCompile(pattern); return s }
func (s shape) as(format string) shape     { s.format = format; return s }
func (s shape) distinct() shape            { s.unique = true; return s }
func (s shape) orNull() shape              { s.null = true; return s }

// where is a part of a resource's life a field takes part in.
type where uint8

const (
	inCreate where = 1 << iota
	inUpdate
	inAnswer
)

// field is one member of an object, described once.
type field struct {
	name  string
	shape shape
	doc   string

	in       where
	required bool
	// onUpdate replaces shape in a PATCH.
	onUpdate *shape
	// otherwise is the value an answer of create has where none was sent.
	otherwise any
	// secret values never reach an event (SEC-230).
	secret bool
	// readWith, createWith and updateWith are scopes, any of which is needed to
	// see or write the field; empty means those of the resource.
	readWith, createWith, updateWith []string
}

// f describes a field that can be created, updated and read.
func f(name string, s shape, doc string) field {
	return field{name: name, shape: s, doc: doc, in: inCreate | inUpdate | inAnswer}
}

func (d field) must() field       { d.required = true; return d }
func (d field) immutable() field  { d.in &^= inUpdate; return d }
func (d field) onlyUpdate() field { d.in &^= inCreate; return d }
func (d field) readOnly() field   { d.in = inAnswer; return d }
func (d field) writeOnly() field  { d.in &^= inAnswer; return d }
func (d field) concealed() field  { d.secret = true; return d }

// clearable fields take null in a PATCH, which removes them.
func (d field) clearable() field { s := d.shape.orNull(); d.onUpdate = &s; return d }

// updated has another shape in a PATCH.
func (d field) updated(s shape) field { d.onUpdate = &s; return d }

func (d field) byDefault(v any) field           { d.otherwise = v; return d }
func (d field) seenWith(scopes ...string) field { d.readWith = scopes; return d }
func (d field) madeWith(scopes ...string) field { d.createWith = scopes; return d }
func (d field) changedWith(scopes ...string) field {
	d.updateWith = scopes
	return d
}

// resource is a noun of the API.
type resource struct {
	// name is its component in the OpenAPI document.
	name   string
	doc    string
	fields []field
	// readWith are the scopes, any of which shows fields that name none; empty
	// means whoever may call the operation. createWith and updateWith alike.
	readWith, createWith, updateWith []string
	// notEmpty refuses a PATCH without members.
	notEmpty bool
	// advice follows the names of refused members.
	advice string
}

func (r *resource) pick(part where) []field {
	var out []field
	for _, d := range r.fields {
		if d.in&part == 0 {
			continue
		}
		if part == inUpdate {
			d.required = false
			if d.onUpdate != nil {
				d.shape = *d.onUpdate
			}
		}
		out = append(out, d)
	}
	return out
}

// creates and updates are the bodies of POST and PATCH.
func (r *resource) creates() *body {
	s := closed(r.pick(inCreate)...)
	s.advice = r.advice
	return &body{shape: s, resource: r, part: inCreate, name: r.name + "Create"}
}

func (r *resource) updates() *body {
	s := closed(r.pick(inUpdate)...)
	s.advice = r.advice
	if r.notEmpty {
		s.low = 1
	}
	return &body{shape: s, resource: r, part: inUpdate, name: r.name + "Update"}
}

// ordered is the document in the order of the description, with the defaults
// where create is true; members it does not name come last.
func (r *resource) ordered(doc *object, create bool) *object {
	out := &object{}
	for _, d := range r.fields {
		if v, ok := doc.get(d.name); ok {
			out.set(d.name, v)
		} else if create && d.otherwise != nil {
			out.set(d.name, d.otherwise)
		}
	}
	for _, m := range doc.members {
		if !out.has(m.name) {
			out.members = append(out.members, m)
		}
	}
	return out
}

// body is what an operation accepts.
type body struct {
	shape    shape
	resource *resource
	part     where
	name     string
}

// accepts is a body that belongs to no resource.
func accepts(name string, s shape) *body { return &body{shape: s, name: name} }
