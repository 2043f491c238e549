package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Policy is what a connection asks of new passwords.
type Policy struct {
	// Level is none, low, fair, good or excellent; empty means good.
	Level string
	// MinLength replaces the level's minimal length, in characters; zero means not.
	MinLength int
}

// Why a password is refused; the name member of the vendor's error.
const (
	StrengthError   = "PasswordStrengthError"
	DictionaryError = "PasswordDictionaryError"
	UserInfoError   = "PasswordNoUserInfoError"
)

// Result is the answer of a Policy. Its JSON is the description member of the
// vendor's error, which official clients parse (authentication-api.md §9.1.1).
type Result struct {
	Rules    []Rule `json:"rules"`
	Verified bool   `json:"verified"`

	// Name is empty for a good password, else one of the constants, and Message
	// is the fixed text of the refusal. The rules are the reason of a
	// StrengthError only: with the others every rule may hold.
	Name    string `json:"-"`
	Message string `json:"-"`
	// Policy is the whole policy in words, a line a rule.
	Policy string `json:"-"`
}

// Rule is one rule of a policy and whether the password keeps it.
type Rule struct {
	// Message is a printf template, Format its arguments.
	Message  string `json:"message"`
	Format   []any  `json:"format,omitempty"`
	Code     string `json:"code"`
	Verified bool   `json:"verified"`
	Items    []Rule `json:"items,omitempty"`
}

// level is the built-in policy of a name.
type level struct {
	length int
	// all asks for lower, upper and digit; three for three of the four kinds.
	all, three bool
	// repeats is how many identical characters may follow one another; 0: any.
	repeats int
	// listed: common passwords and the user's own words are refused (SEC-181).
	listed bool
}

var levels = map[string]level{
	"none":      {length: 1},
	"low":       {length: 6, listed: true},
	"fair":      {length: 8, all: true, listed: true},
	"good":      {length: 8, three: true, listed: true},
	"excellent": {length: 10, three: true, repeats: 2, listed: true},
}

// Check judges a new password. words are the user's own: address, user name,
// names; and the tenant's. The error is ErrTooLong, or tells of a level that
// does not exist.
func (p Policy) Check(password string, words ...string) (Result, error) {
	if len(password) > MaxLength {
		return Result{}, ErrTooLong
	}
	name := p.Level
	if name == "" {
		name = "good"
	}
	l, ok := levels[name]
	if !ok {
		return Result{}, fmt.Errorf("password policy %q does not exist", name)
	}
	if p.MinLength > 0 {
		l.length = p.MinLength
	}
	r := Result{Rules: l.rules(password), Verified: true}
	for _, rule := range r.Rules {
		r.Verified = r.Verified && rule.Verified
	}
	r.Policy = describe(r.Rules)
	switch {
	case !r.Verified:
		r.Name, r.Message = StrengthError, "Password is too weak"
	case l.listed && common(password):
		r.Verified, r.Name, r.Message = false, DictionaryError, "Password is not allowed, it might be too common."
	case l.listed && own(password, words):
		r.Verified, r.Name, r.Message = false, UserInfoError, "Password contains user information"
	}
	return r, nil
}

func (l level) rules(password string) []Rule {
	rules := []Rule{{
		Code: "lengthAtLeast", Message: "At least %d characters in length", Format: []any{l.length},
		Verified: utf8.RuneCountInString(password) >= l.length,
	}}
	kinds := kindsOf(password)
	if l.all {
		rules = append(rules, Rule{
			Code: "shouldContain", Message: "Should contain:", Items: kinds[:3],
			Verified: kinds[0].Verified && kinds[1].Verified && kinds[2].Verified,
		})
	}
	if l.three {
		n := 0
		for _, k := range kinds {
			if k.Verified {
				n++
			}
		}
		rules = append(rules, Rule{
			Code: "containsAtLeast", Message: "Contain at least %d of the following %d types of characters:",
			Format: []any{3, 4}, Items: kinds, Verified: n >= 3,
		})
	}
	if l.repeats > 0 {
		rules = append(rules, Rule{
			Code: "identicalChars", Message: `No more than %d identical characters in a row (e.g., "%s" not allowed)`,
			Format: []any{l.repeats, strings.Repeat("a", l.repeats+1)}, Verified: longestRun(password) <= l.repeats,
		})
	}
	return rules
}

// kindsOf tells which of the four kinds of ASCII characters are there.
func kindsOf(password string) []Rule {
	var lower, upper, digit, special bool
	for _, c := range password {
		switch {
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= '0' && c <= '9':
			digit = true
		case c >= ' ' && c <= '~':
			special = true
		}
	}
	return []Rule{
		{Code: "lowerCase", Message: "lower case letters (a-z)", Verified: lower},
		{Code: "upperCase", Message: "upper case letters (A-Z)", Verified: upper},
		{Code: "numbers", Message: "numbers (i.e. 0-9)", Verified: digit},
		{Code: "specialCharacters", Message: "special characters (e.g. !@#$%^&*)", Verified: special},
	}
}

func longestRun(password string) int {
	longest, run := 0, 0
	var last rune = -1
	for _, c := range password {
		if c != last {
			run = 0
		}
		last = c
		run++
		longest = max(longest, run)
	}
	return longest
}

func describe(rules []Rule) string {
	var b strings.Builder
	for i, r := range rules {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("* " + fmt.Sprintf(r.Message, r.Format...))
		for _, item := range r.Items {
			b.WriteString("\n * " + item.Message)
		}
	}
	return b.String()
}

// own tells whether the password is one of the user's words, or one with digits
// and marks around it (SEC-181). Words of fewer than four characters would
// refuse by chance.
func own(password string, words []string) bool {
	core := coreOf(password)
	for _, w := range words {
		candidates := []string{w}
		if name, domain, ok := strings.Cut(w, "@"); ok {
			label, _, _ := strings.Cut(domain, ".")
			candidates = append(candidates, name, domain, label)
		}
		for _, c := range candidates {
			c = strings.ToLower(strings.TrimSpace(c))
			if utf8.RuneCountInString(c) >= 4 && (c == strings.ToLower(password) || coreOf(c) == core && core != "") {
				return true
			}
		}
	}
	return false
}

// coreOf is s in lower case without what is put around a word to please rules.
func coreOf(s string) string {
	return strings.TrimFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) })
}
