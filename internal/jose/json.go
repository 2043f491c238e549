package jose

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// encoding/json is not used on what others send: it matches member names
// without regard to case, keeps the last of repeated ones and mends bad UTF-8,
// so that two readers can see two tokens in one string (SEC-92).

// Member is one member of a JSON object: its name, unescaped, and its value as
// it was written, without the space around it.
type Member struct {
	Name  []byte
	Value []byte
}

// maxDepth bounds nesting (SEC-225).
const maxDepth = 20

// fewMembers is how many names are compared one by one before a map is worth it.
const fewMembers = 32

// AppendMembers appends the members of the one JSON object that data is.
// Anything else is ErrMalformed: other values, bytes that are not UTF-8,
// escaped half surrogates, a name given twice at any depth, nesting deeper
// than 20, text after the object. The members point into data.
func AppendMembers(dst []Member, data []byte) ([]Member, error) {
	s := scanner{data: data}
	if !utf8.Valid(data) {
		return dst, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	s.space()
	out, ok := s.object(dst, 1)
	if !ok {
		return dst, fmt.Errorf("%w: not one JSON object with each name once", ErrMalformed)
	}
	s.space()
	if s.pos != len(data) {
		return dst, fmt.Errorf("%w: text after the JSON object", ErrMalformed)
	}
	return out, nil
}

// Find returns the value of the member called name, or nil.
func Find(members []Member, name string) []byte {
	for _, m := range members {
		if string(m.Name) == name {
			return m.Value
		}
	}
	return nil
}

// StringValue reads a JSON string, reporting whether value is one.
func StringValue(value []byte) (string, bool) {
	s := scanner{data: value}
	text, ok := s.str(true)
	if !ok || s.pos != len(value) {
		return "", false
	}
	return string(text), true
}

// Elements appends the elements of a JSON array, reporting whether value is
// one. Like members they are kept as they were written.
func Elements(dst [][]byte, value []byte) ([][]byte, bool) {
	s := scanner{data: value}
	out, ok := s.array(dst, 1, true)
	if !ok || s.pos != len(value) {
		return dst, false
	}
	return out, true
}

// scanner reads RFC 8259 JSON from left to right, in linear time.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// next consumes c.
func (s *scanner) next(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) value(depth int) bool {
	switch c := s.peek(); {
	case c == '"':
		_, ok := s.str(false)
		return ok
	case c == '{':
		var few [8]Member
		_, ok := s.object(few[:0], depth+1)
		return ok
	case c == '[':
		_, ok := s.array(nil, depth+1, false)
		return ok
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(w)) {
		return false
	}
	s.pos += len(w)
	return true
}

func (s *scanner) object(dst []Member, depth int) ([]Member, bool) {
	if depth > maxDepth || !s.next('{') {
		return dst, false
	}
	s.space()
	if s.next('}') {
		return dst, true
	}
	first := len(dst)
	var seen map[string]struct{} // only for many members
	for {
		name, ok := s.str(true)
		if !ok {
			return dst, false
		}
		if seen, ok = unseen(dst[first:], seen, name); !ok {
			return dst, false
		}
		s.space()
		if !s.next(':') {
			return dst, false
		}
		s.space()
		start := s.pos
		if !s.value(depth) {
			return dst, false
		}
		dst = append(dst, Member{Name: name, Value: s.data[start:s.pos:s.pos]})
		s.space()
		if s.next('}') {
			return dst, true
		}
		if !s.next(',') {
			return dst, false
		}
		s.space()
	}
}

// unseen reports whether name is new among the members, and returns the set
// of names once there are so many that comparing each with each would cost.
func unseen(members []Member, seen map[string]struct{}, name []byte) (map[string]struct{}, bool) {
	if len(members) < fewMembers {
		for _, m := range members {
			if bytes.Equal(m.Name, name) {
				return nil, false
			}
		}
		return nil, true
	}
	if seen == nil {
		seen = make(map[string]struct{}, 2*fewMembers)
		for _, m := range members {
			seen[string(m.Name)] = struct{}{}
		}
	}
	if _, dup := seen[string(name)]; dup {
		return seen, false
	}
	seen[string(name)] = struct{}{}
	return seen, true
}

// array reads an array and, if keep, appends its elements to dst.
func (s *scanner) array(dst [][]byte, depth int, keep bool) ([][]byte, bool) {
	if depth > maxDepth || !s.next('[') {
		return dst, false
	}
	s.space()
	if s.next(']') {
		return dst, true
	}
	for {
		start := s.pos
		if !s.value(depth) {
			return dst, false
		}
		if keep {
			dst = append(dst, s.data[start:s.pos:s.pos])
		}
		s.space()
		if s.next(']') {
			return dst, true
		}
		if !s.next(',') {
			return dst, false
		}
		s.space()
	}
}

// number reads a number, which is checked but not converted.
func (s *scanner) number() bool {
	s.next('-')
	switch {
	case s.next('0'):
	case !s.digits():
		return false
	}
	if s.next('.') && !s.digits() {
		return false
	}
	if s.next('e') || s.next('E') {
		if !s.next('+') {
			s.next('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

// str reads a string. If keep, it returns its unescaped text, which is a piece
// of data when nothing was escaped.
func (s *scanner) str(keep bool) ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			text := s.data[start:s.pos:s.pos]
			s.pos++
			return text, true
		case c == '\\':
			return s.escaped(start, keep)
		case c < 0x20:
			return nil, false
		}
		s.pos++
	}
	return nil, false
}

// escaped reads the rest of a string whose first escape is at s.pos.
func (s *scanner) escaped(start int, keep bool) ([]byte, bool) {
	var text []byte
	if keep {
		text = append(text, s.data[start:s.pos]...)
	}
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			return text, true
		case c < 0x20:
			return nil, false
		case c == '\\':
			r, ok := s.escape()
			if !ok {
				return nil, false
			}
			if keep {
				text = utf8.AppendRune(text, r)
			}
		case keep:
			text = append(text, c)
		}
	}
	return nil, false
}

// escape reads what follows a backslash.
func (s *scanner) escape() (rune, bool) {
	c := s.peek()
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := s.hex4()
		if !ok || r < 0xd800 || r > 0xdfff {
			return r, ok
		}
		// A high half must be followed by a low one; a half alone is no text.
		if r > 0xdbff || !s.next('\\') || !s.next('u') {
			return 0, false
		}
		low, ok := s.hex4()
		if !ok || low < 0xdc00 || low > 0xdfff {
			return 0, false
		}
		return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, true
	}
	return 0, false
}

func (s *scanner) hex4() (rune, bool) {
	if len(s.data)-s.pos < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.pos += 4
	return r, true
}
