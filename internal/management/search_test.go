package management

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// tree writes a condition so that it can be compared.
func tree(c tenant.Condition) string {
	if len(c.Nodes) == 0 {
		return fmt.Sprintf("%s(%s %s)", c.Op, c.Field, c.Value)
	}
	parts := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		parts[i] = tree(n)
	}
	return c.Op + "[" + strings.Join(parts, " ") + "]"
}

func TestSearch(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`email:a@example.com`:          `eq(email a@example.com)`,
		`email:"a b"`:                  `eq(email a b)`,
		`name:"a \"quoted\" b"`:        `eq(name a "quoted" b)`,
		`email:a*`:                     `prefix(email a)`,
		`name:*example*`:               `contains(name example)`,
		`name:*ple`:                    `suffix(name ple)`,
		`name:"a*"`:                    `eq(name a*)`,
		`name:*`:                       `exists(name )`,
		`_exists_:logins_count`:        `exists(logins_count )`,
		`NOT _exists_:logins_count`:    `not[exists(logins_count )]`,
		`-blocked:true`:                `not[eq(blocked true)]`,
		`email:a AND name:b`:           `and[eq(email a) eq(name b)]`,
		`email:a OR name:b AND name:c`: `or[eq(email a) and[eq(name b) eq(name c)]]`,
		`email:a name:b`:               `or[eq(email a) eq(name b)]`,
		`(email:a OR email:b) AND NOT blocked:true`:   `and[or[eq(email a) eq(email b)] not[eq(blocked true)]]`,
		`name:("a" OR "b")`:                           `or[eq(name a) eq(name b)]`,
		`logins_count:[1 TO 5]`:                       `and[gte(logins_count 1) lte(logins_count 5)]`,
		`logins_count:{1 TO 5}`:                       `and[gt(logins_count 1) lt(logins_count 5)]`,
		`logins_count:[1 TO *]`:                       `gte(logins_count 1)`,
		`logins_count:>=3`:                            `gte(logins_count 3)`,
		`last_login:{2026-01-01 TO 2026-02-01]`:       `and[gt(last_login 2026-01-01) lte(last_login 2026-02-01)]`,
		`identities.connection:"Username-Password"`:   `eq(identities.connection Username-Password)`,
		`email.domain:example.com`:                    `eq(email.domain example.com)`,
		`ORDER`:                                       `or[eq(email ORDER) eq(name ORDER) eq(given_name ORDER) eq(family_name ORDER) eq(nickname ORDER) eq(username ORDER)]`,
		`user_id:"auth0|abc"`:                         `eq(user_id auth0|abc)`,
		`created_at:[2026-01-01T00:00:00Z TO *]`:      `gte(created_at 2026-01-01T00:00:00Z)`,
		`name:"'; DROP TABLE users; --"`:              `eq(name '; DROP TABLE users; --)`,
		`email:a AND (name:b OR (name:c AND name:d))`: `and[eq(email a) or[eq(name b) and[eq(name c) eq(name d)]]]`,
	}
	for q, want := range tests {
		c, err := userSearch(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		if got := tree(*c); got != want {
			t.Errorf("%s\n got %s\nwant %s", q, got, want)
		}
	}
	for _, q := range []string{"", "  ", "*"} {
		if c, err := userSearch(q); c != nil || err != nil {
			t.Errorf("%q = %v, %v, want everything", q, c, err)
		}
	}
}

// SEC-192: only fields of the allow-list, within bounds, and a clear sentence.
func TestSearchRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`user_metadata.color:red`:           "the field user_metadata.color cannot be searched",
		`password_hash:x`:                   "the field password_hash cannot be searched",
		`_exists_:tenant_id`:                "the field tenant_id cannot be searched",
		`email:`:                            "a value is missing at position 6",
		`email:"a`:                          "a quotation mark is not closed",
		`(email:a`:                          "a parenthesis is not closed",
		`email:a)`:                          "unexpected character at position 7",
		`logins_count:many`:                 "the field logins_count cannot be compared with many",
		`blocked:maybe`:                     "the field blocked cannot be compared with maybe",
		`last_login:yesterday`:              "the field last_login cannot be compared with yesterday",
		`name:a*b`:                          "a wildcard may stand at the beginning and at the end",
		`name:*ab`:                          "a leading wildcard needs three characters after it",
		`logins_count:1*`:                   "the field logins_count has no wildcards",
		`logins_count:[1 5]`:                "a range is written [a TO b]",
		`logins_count:[1 TO 5`:              "a range is not closed",
		strings.Repeat("(", 20) + "email:a": "nested deeper than 10",
		strings.Repeat("email:a OR ", 64) + `email:b`: "more than 64 terms",
	}
	for q, want := range tests {
		_, err := userSearch(q)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "invalid_query_string") {
			t.Errorf("%s: got %v, want %s", q, err, want)
		}
	}
}

func FuzzSearch(f *testing.F) {
	for _, seed := range []string{`email:a AND (b OR NOT c:"d")`, `a:[1 TO *}`, `-(-(-`, `\`, `"`, `a:b*`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, q string) {
		if len(q) > 2000 {
			return
		}
		c, err := userSearch(q)
		if err != nil || c == nil {
			return
		}
		var walk func(tenant.Condition)
		walk = func(c tenant.Condition) {
			if len(c.Nodes) == 0 {
				if _, ok := tenant.UserField(c.Field); !ok {
					t.Errorf("%q searches %q", q, c.Field)
				}
			}
			for _, n := range c.Nodes {
				walk(n)
			}
		}
		walk(*c)
	})
}
