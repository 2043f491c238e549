package token

import (
	"crypto/rand"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// SEC-66: a user code has 40 bits whatever mask the tenant chose.
func TestNewUserCode(t *testing.T) {
	tests := map[string]struct {
		look *tenant.DeviceFlow
		want string // the form: L for a letter, D for a digit
	}{
		"default":              {nil, "LLLLL-LLLLL"},
		"the vendor's default": {&tenant.DeviceFlow{Charset: "base20", Mask: "****-****"}, "LLLLL-LLLLL"},
		"a long mask":          {&tenant.DeviceFlow{Charset: "base20", Mask: "***-***-****"}, "LLL-LLL-LLLL"},
		"a mask with spaces":   {&tenant.DeviceFlow{Charset: "base20", Mask: "***** *****"}, "LLLLL LLLLL"},
		"letters in the mask":  {&tenant.DeviceFlow{Charset: "base20", Mask: "A**********"}, "LLLLL-LLLLL"},
		"digits":               {&tenant.DeviceFlow{Charset: "digits", Mask: "***-***-***"}, "DDDD-DDD-DDD-DDD"},
		"more digits":          {&tenant.DeviceFlow{Charset: "digits", Mask: "*************"}, "DDDDDDDDDDDDD"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := NewUserCode(rand.Reader, tt.look)
			if err != nil {
				t.Fatal(err)
			}
			form := strings.Map(func(r rune) rune {
				switch {
				case strings.ContainsRune(userCodeLetters, r):
					return 'L'
				case strings.ContainsRune(userCodeDigits, r):
					return 'D'
				}
				return r
			}, got)
			if form != tt.want {
				t.Errorf("code is %q, want the form %q", got, tt.want)
			}
		})
	}
	if _, err := NewUserCode(iotest.ErrReader(iotest.ErrTimeout), nil); err == nil {
		t.Error("a code without randomness")
	}
}

// Each character is as likely as any other: no byte is folded into the alphabet
// unevenly.
func TestUniform(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, n := range []int{10, 20} {
		in, counts := strings.NewReader(string(all)), make([]int, n)
		for {
			v, err := uniform(in, n)
			if err != nil {
				break
			}
			counts[v]++
		}
		for v, count := range counts {
			if count != 256/n {
				t.Errorf("of %d, %d comes %d times, want %d", n, v, count, 256/n)
			}
		}
	}
}

// What people leave out or add while they type is not part of the code.
func TestUserCodeHash(t *testing.T) {
	want := UserCodeHash("BCDFG-HJKLM")
	for _, typed := range []string{"bcdfghjklm", " bcdfg hjklm ", "BCDFG–HJKLM", "b-c-d-f-g-h-j-k-l-m"} {
		if UserCodeHash(typed) != want {
			t.Errorf("%q is another code", typed)
		}
	}
	for _, typed := range []string{"", "BCDFG-HJKLN", "BCDFG-HJKL", "BCDFG-HJKLMM"} {
		if UserCodeHash(typed) == want {
			t.Errorf("%q is the same code", typed)
		}
	}
}
