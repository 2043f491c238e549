package oauth

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// SEC-2: what nobody classified is a fault of ours, and says nothing about the
// credential.
func TestAsError(t *testing.T) {
	cause := errors.New("disk full")
	if e := AsError(fmt.Errorf("write: %w", cause)); e.Status != 503 || e.Code != TemporarilyUnavailable || !errors.Is(e, cause) {
		t.Errorf("AsError of a fault = %+v", e)
	}
	wrapped := fmt.Errorf("exchange: %w", NewError(InvalidGrant, "Invalid authorization code", cause))
	if e := AsError(wrapped); e.Status != 403 || e.Code != InvalidGrant || !errors.Is(e, cause) {
		t.Errorf("AsError of an Error = %+v", e)
	}
}

func TestErrorCopies(t *testing.T) {
	base := NewError(AccessDenied, "Unauthorized", nil)
	if got := base.WithStatus(401).WithReason("wrong_secret"); got.Status != 401 || got.Reason != "wrong_secret" {
		t.Errorf("copy = %+v", got)
	}
	if base.Status != 403 || base.Reason != "" {
		t.Errorf("the original changed: %+v", base)
	}
}

// RFC 6749 §5.2: no quote, no backslash, printable ASCII alone.
func TestQuote(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":      {"https://api.example/", "https://api.example/"},
		"quotes":     {`a"b\c`, "a?b?c"},
		"line break": {"a\r\nb", "a??b"},
		"not ASCII":  {"é", "??"},
		"long":       {strings.Repeat("a", 300), strings.Repeat("a", 256)},
	}
	for name, tt := range tests {
		if got := Quote(tt.in); got != tt.want {
			t.Errorf("%s: Quote(%q) = %q, want %q", name, tt.in, got, tt.want)
		}
	}
}

// SEC-104: scopes are compared whole; tokens.md §6.4: in the order of the request.
func TestScopes(t *testing.T) {
	s := ParseScopes("  read:all openid read openid ")
	if want := (Scopes{"read:all", "openid", "read"}); !reflect.DeepEqual(s, want) {
		t.Errorf("ParseScopes = %v, want %v", s, want)
	}
	if s.Has("rea") || s.Has("read:") || !s.Has("read") {
		t.Error("a scope was compared by a part of it")
	}
	for name, tt := range map[string]struct{ got, want Scopes }{
		"Intersect": {s.Intersect(Scopes{"read", "read:all", "x"}), Scopes{"read:all", "read"}},
		"Without":   {s.Without("openid", "x"), Scopes{"read:all", "read"}},
		"Union":     {s.Union(Scopes{"x", "read"}), Scopes{"read:all", "openid", "read", "x"}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s = %v, want %v", name, tt.got, tt.want)
		}
	}
	if got := s.String(); got != "read:all openid read" {
		t.Errorf("String = %q", got)
	}
}
