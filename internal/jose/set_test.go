package jose

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseSetSkipsWhatCannotVerify(t *testing.T) {
	t.Parallel()
	good := vectors["RFC 7515 A.2 RS256"].jwk
	with := func(more string) string { return strings.TrimSuffix(good, "}") + "," + more + "}" }
	ec := vectors["RFC 7515 A.3 ES256"].jwk
	n := good[strings.Index(good, `"n"`):strings.Index(good, `,"e"`)]
	tests := map[string]struct {
		entries string
		want    int
	}{
		"plain":                  {good, 1},
		"use sig, ops verify":    {with(`"use":"sig","key_ops":["verify"]`), 1},
		"private members":        {with(`"d":"AAAA"`), 1},
		"unknown members":        {with(`"colour":{"a":[1]}`), 1},
		"use enc":                {with(`"use":"enc"`), 0},
		"ops sign":               {with(`"key_ops":["sign"]`), 0},
		"alg of encryption":      {with(`"alg":"RSA-OAEP"`), 0},
		"alg of another type":    {with(`"alg":"ES256"`), 0},
		"alg HS256":              {with(`"alg":"HS256"`), 0},
		"kid not a string":       {with(`"kid":7`), 0},
		"kid too long":           {with(`"kid":"` + strings.Repeat("k", 257) + `"`), 0},
		"symmetric":              {`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`, 0},
		"unknown type":           {`{"kty":"AKP","alg":"ML-DSA-65","pub":"AA"}`, 0},
		"unknown curve":          {`{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, 0},
		"X25519":                 {`{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, 0},
		"off the curve":          {strings.Replace(ec, `"x":"f`, `"x":"e`, 1), 0},
		"short coordinate":       {`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, 0},
		"weak modulus":           {`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJj","e":"AQAB"}`, 0},
		"exponent 1":             {`{"kty":"RSA",` + n + `,"e":"AQ"}`, 0},
		"exponent of 40 bits":    {`{"kty":"RSA",` + n + `,"e":"AQAAAAE"}`, 0},
		"padded number":          {`{"kty":"RSA",` + n + `,"e":"AQAB=="}`, 0},
		"line break in number":   {`{"kty":"RSA",` + n + `,"e":"AQ\nAB"}`, 0},
		"no number":              {`{"kty":"RSA",` + n + `}`, 0},
		"junk beside good":       {`1,"a",null,[],{},` + good, 1},
		"two of one kid":         {with(`"kid":"a"`) + "," + with(`"kid":"a"`), 1},
		"one kid, two types":     {with(`"kid":"a"`) + "," + strings.TrimSuffix(ec, "}") + `,"kid":"a"}`, 2},
		"two without kid":        {good + "," + ec, 2},
		"repeated in one member": {strings.Replace(good, "{", `{"x":[{"a":1}],`, 1), 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := ParseSet([]byte(`{"keys":[` + tt.entries + `]}`))
			if err != nil || len(set.Keys) != tt.want {
				t.Errorf("ParseSet = %d keys, %v; want %d", len(set.Keys), err, tt.want)
			}
		})
	}
}

// SEC-101: size and count are limited; the form is strict.
func TestParseSetRefuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"empty":            "",
		"not JSON":         "<html>",
		"array":            "[]",
		"no keys":          "{}",
		"keys in caps":     `{"KEYS":[]}`,
		"keys not a list":  `{"keys":{}}`,
		"repeated keys":    `{"keys":[],"keys":[]}`,
		"repeated member":  `{"keys":[{"kty":"RSA","kty":"EC"}]}`,
		"101 entries":      `{"keys":[` + strings.Repeat("{},", 100) + `{}]}`,
		"10 MB":            `{"keys":["` + strings.Repeat("a", 10<<20) + `"]}`,
		"nested to no end": `{"keys":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if set, err := ParseSet([]byte(raw)); !errors.Is(err, ErrMalformed) {
				t.Errorf("ParseSet = %d keys, %v; want ErrMalformed", len(set.Keys), err)
			}
		})
	}
}

func FuzzParseSet(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(`{"keys":[` + v.jwk + `]}`))
	}
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"\u0061"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseSet(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		out, err := json.Marshal(set)
		if err != nil {
			t.Fatalf("a set that was read is not written: %v", err)
		}
		again, err := ParseSet(out)
		if err != nil || len(again.Keys) != len(set.Keys) {
			t.Errorf("read again: %d keys, %v; want %d", len(again.Keys), err, len(set.Keys))
		}
	})
}
