package password

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// authentication-api.md §9.1.1: the exact shapes, which official clients parse.
func TestResultJSON(t *testing.T) {
	t.Parallel()
	const items3 = `[{"message":"lower case letters (a-z)","code":"lowerCase","verified":true},` +
		`{"message":"upper case letters (A-Z)","code":"upperCase","verified":false},` +
		`{"message":"numbers (i.e. 0-9)","code":"numbers","verified":false}`
	const items4 = items3 + `,{"message":"special characters (e.g. !@#$%^&*)","code":"specialCharacters","verified":false}]`
	const length = `{"message":"At least %d characters in length","format":[N],"code":"lengthAtLeast","verified":false}`
	tests := map[string]struct {
		policy         Policy
		password, want string
	}{
		"none": {Policy{Level: "none"}, "", `{"rules":[` + strings.Replace(length, "N", "1", 1) + `],"verified":false}`},
		"low":  {Policy{Level: "low"}, "abc", `{"rules":[` + strings.Replace(length, "N", "6", 1) + `],"verified":false}`},
		"fair": {Policy{Level: "fair"}, "abc", `{"rules":[` + strings.Replace(length, "N", "8", 1) +
			`,{"message":"Should contain:","code":"shouldContain","verified":false,"items":` + items3 + `]}],"verified":false}`},
		"good": {Policy{Level: "good"}, "abc", `{"rules":[` + strings.Replace(length, "N", "8", 1) +
			`,{"message":"Contain at least %d of the following %d types of characters:","format":[3,4],"code":"containsAtLeast","verified":false,"items":` +
			items4 + `}],"verified":false}`},
		"excellent": {Policy{Level: "excellent"}, "aaa", `{"rules":[` + strings.Replace(length, "N", "10", 1) +
			`,{"message":"Contain at least %d of the following %d types of characters:","format":[3,4],"code":"containsAtLeast","verified":false,"items":` +
			items4 + `},{"message":"No more than %d identical characters in a row (e.g., \"%s\" not allowed)","format":[2,"aaa"],"code":"identicalChars","verified":false}],"verified":false}`},
		"own length": {Policy{Level: "low", MinLength: 72}, "abc", `{"rules":[` + strings.Replace(length, "N", "72", 1) + `],"verified":false}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := tt.policy.Check(tt.password)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(r); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(b.String()); got != tt.want {
				t.Errorf("description = %s\nwant          %s", got, tt.want)
			}
			if r.Name != StrengthError || r.Verified {
				t.Errorf("Name = %s, Verified = %v", r.Name, r.Verified)
			}
		})
	}
}

func TestPolicyInWords(t *testing.T) {
	t.Parallel()
	r, err := Policy{Level: "excellent"}.Check("")
	const want = "* At least 10 characters in length\n* Contain at least 3 of the following 4 types of characters:\n" +
		" * lower case letters (a-z)\n * upper case letters (A-Z)\n * numbers (i.e. 0-9)\n * special characters (e.g. !@#$%^&*)\n" +
		`* No more than 2 identical characters in a row (e.g., "aaa" not allowed)`
	if err != nil || r.Policy != want {
		t.Errorf("Policy = %q, %v\nwant     %q", r.Policy, err, want)
	}
}

// SEC-181: the level holds, and common passwords and the user's own words are
// refused; near misses are not.
func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	words := []string{"Alice.Miller@Example-Corp.com", "amiller", "Al", "Alice"}
	tests := map[string]struct{ level, password, want string }{
		"none, one character":       {"none", "a", ""},
		"none takes a common one":   {"none", "password", ""},
		"none, empty":               {"none", "", StrengthError},
		"low, 5":                    {"low", "xqzkv", StrengthError},
		"low, 6":                    {"low", "xqzkvw", ""},
		"low, 6 characters of 2":    {"low", "äöüßéñ", ""},
		"low, common":               {"low", "qwertz", DictionaryError},
		"fair, no digit":            {"fair", "Xqzkvwpl", StrengthError},
		"fair":                      {"fair", "Xqzkvwp1", ""},
		"fair, special for digit":   {"fair", "Xqzkvwp!", StrengthError},
		"good, 2 of 4":              {"good", "xqzkvwp1", StrengthError},
		"good, 3 of 4":              {"good", "Xqzkvwp1", ""},
		"good, without upper":       {"good", "xqzkvwp1!", ""},
		"good is the default":       {"", "xqzkvwp1", StrengthError},
		"good, 7":                   {"good", "Xqzkvw1", StrengthError},
		"excellent":                 {"excellent", "Xqzkvwp1!!", ""},
		"excellent, three in a row": {"excellent", "Xqzkvwp111", StrengthError},
		"excellent, 9":              {"excellent", "Xqzkvwp1!", StrengthError},
		"common, decorated":         {"good", "Password1!", DictionaryError},
		"common, of the year":       {"good", "Summer2026!", DictionaryError},
		"common, substituted":       {"good", "P@ssw0rd", DictionaryError},
		"common in a sentence":      {"good", "My-password-is-l0ng", ""},
		"near miss":                 {"good", "Passwordq1!", ""},
		"own name":                  {"good", "Amiller1!", UserInfoError},
		"own address":               {"good", "alice.miller@Example-corp.com1", UserInfoError},
		"own local part":            {"good", "Alice.Miller99", UserInfoError},
		"the company":               {"good", "Example-Corp7", UserInfoError},
		"own name in a sentence":    {"good", "Amiller-likes-9-Cats", ""},
		"a short word":              {"good", "Al345678", ""},
		"64 characters":             {"good", strings.Repeat("Ab1 ", 16), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Policy{Level: tt.level}.Check(tt.password, words...)
			if err != nil || r.Name != tt.want || r.Verified != (tt.want == "") || (r.Message == "") != (tt.want == "") {
				t.Errorf("Check(%q) = %q %v %q, %v, want %q", tt.password, r.Name, r.Verified, r.Message, err, tt.want)
			}
			failed := false
			for _, rule := range r.Rules {
				failed = failed || !rule.Verified
			}
			if failed != (tt.want == StrengthError) {
				t.Errorf("a rule failed: %v; auth0-java needs one exactly in a %s", failed, StrengthError)
			}
		})
	}
	if _, err := (Policy{Level: "superb"}).Check("Xqzkvwp1!!"); err == nil {
		t.Error("a level that does not exist was taken")
	}
	if _, err := (Policy{}).Check(strings.Repeat("a", MaxLength+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("Check of 1,025 bytes = %v, want ErrTooLong (SEC-180)", err)
	}
}
