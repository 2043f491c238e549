package management

import (
	"strings"
	"testing"
)

// thing is one field of every kind.
func thing() shape {
	return closed(
		f("name", str().chars(1, 10).match(`^[^<>]+$`), "The name").must(),
		f("email", str().as("email"), ""),
		f("kind", oneOf("a", "b"), "The kind"),
		f("count", integer().between(1, 100), "How many."),
		f("ratio", number().atMost(1), ""),
		f("on", boolean(), ""),
		f("tags", list(str().notEmpty()).atMost(3).distinct(), "Tags"),
		f("inner", closed(f("leaf", str(), "A leaf").must()), "Inner"),
		f("pair", closed(f("x", str(), ""), f("y", str(), "")).between(1, 1), ""),
		f("nothing", str().orNull(), ""),
		f("either", either(str(), list(str())), "Either"),
		f("metadata", mapOf(str().atMost(5)).atMost(1), ""),
		f("free", free(f("known", boolean(), "")), ""),
	)
}

func TestMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	tests := map[string]struct{ body, want string }{
		"good":                 {`{"name":"n","count":1,"ratio":0.5,"on":true,"tags":["a"],"nothing":null,"either":["a"],"metadata":{"a":"b"},"free":{"other":1}}`, ""},
		"unknown, many":        {`{"name":"n","a":1,"b":2}`, "Payload validation error: 'Additional properties not allowed: a,b'."},
		"unknown, inside":      {`{"name":"n","inner":{"leaf":"l","a":1}}`, "Payload validation error: 'Additional properties not allowed: a' on property inner (Inner)."},
		"missing":              {`{}`, "Payload validation error: 'Missing required property: name'."},
		"missing, inside":      {`{"name":"n","inner":{}}`, "Payload validation error: 'Missing required property: leaf' on property inner (Inner)."},
		"not an object":        {`[]`, "Payload validation error: 'Expected type object but found type array'."},
		"null for all":         {`null`, "Payload validation error: 'Expected type object but found type null'."},
		"wrong type":           {`{"name":1}`, "Payload validation error: 'Expected type string but found type integer' on property name (The name)."},
		"wrong type, nullable": {`{"name":"n","nothing":1}`, "Payload validation error: 'Expected type string,null but found type integer' on property nothing."},
		"null":                 {`{"name":null}`, "Payload validation error: 'Expected type string but found type null' on property name (The name)."},
		"too short":            {`{"name":""}`, "Payload validation error: 'String is too short (0 chars), minimum 1' on property name (The name)."},
		"too long, in runes":   {`{"name":"ääääääääääää"}`, "Payload validation error: 'String is too long (12 chars), maximum 10' on property name (The name)."},
		"ten runes":            {`{"name":"ääääääääää"}`, ""},
		"pattern":              {`{"name":"<b>"}`, "Payload validation error: 'String does not match pattern ^[^<>]+$: <b>' on property name (The name)."},
		"format":               {`{"name":"n","email":"foo"}`, "Payload validation error: 'Object didn't pass validation for format email: foo' on property email."},
		"enum":                 {`{"name":"n","kind":"c"}`, "Payload validation error: 'No enum match for: c' on property kind (The kind)."},
		"less":                 {`{"name":"n","count":0}`, "Payload validation error: 'Value 0 is less than minimum 1' on property count (How many)."},
		"greater":              {`{"name":"n","count":101}`, "Payload validation error: 'Value 101 is greater than maximum 100' on property count (How many)."},
		"fraction":             {`{"name":"n","count":1.5}`, "Payload validation error: 'Expected type integer but found type number' on property count (How many)."},
		"integer in decimals":  {`{"name":"n","count":2.0}`, ""},
		"huge":                 {`{"name":"n","count":1e400}`, "Payload validation error: 'Expected type integer but found type number' on property count (How many)."},
		"array too long":       {`{"name":"n","tags":["a","b","c","d"]}`, "Payload validation error: 'Array is too long (4), maximum 3' on property tags (Tags)."},
		"array not unique":     {`{"name":"n","tags":["a","a"]}`, "Payload validation error: 'Array items are not unique (indexes 0 and 1)' on property tags (Tags)."},
		"array item":           {`{"name":"n","tags":["a",""]}`, "Payload validation error: 'String is too short (0 chars), minimum 1' on property tags[1] (Tags)."},
		"too few":              {`{"name":"n","pair":{}}`, "Payload validation error: 'Too few properties defined (0), minimum 1' on property pair."},
		"too many":             {`{"name":"n","pair":{"x":"","y":""}}`, "Payload validation error: 'Too many properties defined (2), maximum 1' on property pair."},
		"map value":            {`{"name":"n","metadata":{"a":"bbbbbb"}}`, "Payload validation error: 'String is too long (6 chars), maximum 5' on property metadata.a."},
		"known of free":        {`{"name":"n","free":{"known":1}}`, "Payload validation error: 'Expected type boolean but found type integer' on property free.known."},
		"none of": {`{"name":"n","either":1}`, "Payload validation error: 'None of the valid schemas were met. Inner errors: [ " +
			"Payload validation error: 'Expected type string but found type integer'. (also) " +
			"Payload validation error: 'Expected type array but found type integer'. ]' on property either (Either)."},
		"echo is cut":   {`{"name":"n","kind":"` + long + `"}`, "Payload validation error: 'No enum match for: " + long[:256] + "' on property kind (The kind)."},
		"echo is clean": {`{"name":"n","kind":"a\u0000\nb"}`, "Payload validation error: 'No enum match for: a??b' on property kind (The kind)."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := parseJSON([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if f := thing().judge(v, "", ""); f != nil {
				got = f.message("Payload")
			}
			if got != tt.want {
				t.Errorf("judge(%s)\n got %s\nwant %s", tt.body, got, tt.want)
			}
		})
	}
}

// SEC-225: each bound holds at the value and breaks one beyond.
func TestJSONBounds(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	members := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"x":[{`)
		for i := range n - 1 {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"m` + plain(float64(i)) + `":0`)
		}
		return b.String() + `}]}`
	}
	items := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	tests := map[string]struct {
		text string
		good bool
	}{
		"depth 20":             {nested(maxDepth), true},
		"depth 21":             {nested(maxDepth + 1), false},
		"10,000 members":       {members(maxMembers), true},
		"10,001 members":       {members(maxMembers + 1), false},
		"1,000 items":          {items(maxItems), true},
		"1,001 items":          {items(maxItems + 1), false},
		"repeated member":      {`{"a":1,"a":1}`, false},
		"repeated by escape":   {`{"a":1,"\u0061":1}`, false},
		"same name elsewhere":  {`{"a":{"a":1}}`, true},
		"malformed UTF-8":      {"{\"a\":\"\xff\"}", false},
		"two texts":            {`{} {}`, false},
		"nothing":              {``, false},
		"comment":              {`{/**/}`, false},
		"very deep, unclosed":  {strings.Repeat("[", 100000), false},
		"very deep, and wrong": {strings.Repeat(`{"a":`, 100000), false},
	}
	for name, tt := range tests {
		if _, err := parseJSON([]byte(tt.text)); (err == nil) != tt.good {
			t.Errorf("%s: error %v, want good %v", name, err, tt.good)
		}
	}
}

// A document comes back member for member and number for number (Terraform
// compares what it sent with what it reads).
func TestJSONKeepsWhatWasSent(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"b":1,"a":[1.0,1e3,-0,12345678901234567890],"c":{"z":null,"y":"<&>ü\n"}}`,
		`[]`, `{}`, `"x"`, `[[],{},null,true,false]`,
	} {
		v, err := parseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendJSON(nil, v)); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

func TestMergePatch(t *testing.T) {
	t.Parallel()
	tests := []struct{ doc, patch, want string }{
		{`{"a":1,"b":2}`, `{"b":3,"c":4}`, `{"a":1,"b":3,"c":4}`},
		{`{"a":1,"b":2}`, `{"a":null,"x":null}`, `{"b":2}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"x":3}}`, `{"a":{"x":3}}`},
		{`{}`, `{}`, `{}`},
	}
	for _, tt := range tests {
		doc, _ := parseObject([]byte(tt.doc))
		patch, _ := parseObject([]byte(tt.patch))
		if got := string(doc.mergePatch(patch).bytes()); got != tt.want {
			t.Errorf("%s + %s = %s, want %s", tt.doc, tt.patch, got, tt.want)
		}
		if got := string(doc.bytes()); got != tt.doc {
			t.Errorf("the document was changed to %s", got)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"a":2}`, `[1e400]`, "\xff", `{"\ud800":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parseJSON(text)
		if err != nil {
			return
		}
		again, err := parseJSON(appendJSON(nil, v))
		if err != nil {
			t.Fatalf("what was written does not read: %v", err)
		}
		if a, b := string(appendJSON(nil, v)), string(appendJSON(nil, again)); a != b {
			t.Errorf("written twice: %s and %s", a, b)
		}
		thing().judge(v, "", "")
	})
}
