package verify

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const (
	maxLine   = 4 << 10 // bytes of a line of the feed
	maxCursor = 512     // bytes of a cursor
)

var errFeedLine = errors.New("line longer than 4 KiB")

// event is one event of a stream. Its name is empty for a comment.
type event struct {
	name string
	data []byte
	id   string // the last one seen, of this event or one before
}

// eventStream reads text/event-stream as far as the feed speaks it: fields
// event, data and id; other fields are ignored and comments are given out, since
// they say that the other side lives.
type eventStream struct {
	r  *bufio.Reader
	id string
}

func newEventStream(r io.Reader) *eventStream {
	return &eventStream{r: bufio.NewReaderSize(r, maxLine)}
}

// next returns the next event, or a comment.
func (s *eventStream) next() (event, error) {
	var e event
	for {
		line, err := s.line()
		if err != nil {
			return event{}, err // what was not ended by an empty line does not count
		}
		if len(line) == 0 {
			if e.name == "" {
				e = event{} // an id or data alone
				continue
			}
			e.id = s.id
			return e, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "":
			if e.name == "" && e.data == nil {
				return event{}, nil
			}
		case "event":
			e.name = string(value)
		case "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
			if len(e.data) > maxLine {
				return event{}, errFeedLine
			}
		case "id":
			if len(value) > maxCursor || !printableASCII(value) {
				return event{}, errors.New("unusable cursor")
			}
			s.id = string(value)
		}
	}
}

// line returns a line without its end, valid until the next call.
func (s *eventStream) line() ([]byte, error) {
	line, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errFeedLine
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// printableASCII is what may go back into a header.
func printableASCII(value []byte) bool {
	for _, c := range value {
		if c <= 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}
