package jose

import (
	"encoding/json"
	"testing"
)

// vector is one published signed token and the key that goes with it.
type vector struct {
	jwk   string // the public key as published; empty for HMAC
	k     string // the HMAC key as published
	token string
	alg   Algorithm
}

// The payload of the first three is not an object with unknown members only:
// iss, exp and a URL as a claim name (RFC 7515 appendix A).
var vectors = map[string]vector{
	"RFC 7515 A.1 HS256": {
		k:     "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
		token: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		alg:   HS256,
	},
	"RFC 7515 A.2 RS256": {
		jwk:   `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
		token: "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		alg:   RS256,
	},
	"RFC 7515 A.3 ES256": {
		jwk:   `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		token: "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		alg:   ES256,
	},
}

func parseJWK(t testing.TB, jwk string) Key {
	t.Helper()
	set, err := ParseSet([]byte(`{"keys":[` + jwk + `]}`))
	if err != nil || len(set.Keys) != 1 {
		t.Fatalf("ParseSet(%s) = %d keys, %v; want one", jwk, len(set.Keys), err)
	}
	return set.Keys[0]
}

func (v vector) key(t testing.TB) Key {
	t.Helper()
	if v.jwk != "" {
		return parseJWK(t, v.jwk)
	}
	secret, err := b64.DecodeString(v.k)
	if err != nil {
		t.Fatal(err)
	}
	return Key{Secret: secret}
}

func TestPublishedTokensVerify(t *testing.T) {
	t.Parallel()
	for name, v := range vectors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok, err := ParseCompact(v.token)
			if err != nil {
				t.Fatal(err)
			}
			if tok.Alg != v.alg {
				t.Errorf("Alg = %q, want %q", tok.Alg, v.alg)
			}
			if got, _ := StringValue(Find(tok.Claims, "iss")); got != "joe" {
				t.Errorf("iss = %q, want joe", got)
			}
			if got := string(Find(tok.Claims, "http://example.com/is_root")); got != "true" {
				t.Errorf("is_root = %q, want true", got)
			}
			k := v.key(t)
			if err := k.Verify(v.alg, tok.SigningInput, tok.Signature); err != nil {
				t.Errorf("Verify = %v, want nil", err)
			}
			for i := range tok.Signature {
				tok.Signature[i] ^= 1
				if err := k.Verify(v.alg, tok.SigningInput, tok.Signature); err != ErrSignature {
					t.Fatalf("Verify with bit %d turned = %v, want ErrSignature", i*8, err)
				}
				tok.Signature[i] ^= 1
			}
		})
	}
}

// RFC 8037 A.4 signs a text, not an object, so it goes to the key directly.
func TestPublishedEdDSASignature(t *testing.T) {
	t.Parallel()
	k := parseJWK(t, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)
	input := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	sig, err := b64.DecodeString("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify(EdDSA, []byte(input), sig); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}
	if err := k.Verify(EdDSA, []byte(input+"x"), sig); err != ErrSignature {
		t.Errorf("Verify of another text = %v, want ErrSignature", err)
	}
	if _, err := ParseCompact(input + ".aGk"); err == nil {
		t.Error("ParseCompact read a payload that is no object")
	}
}

func TestThumbprint(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ jwk, want string }{
		"RFC 7638 §3.1": {
			`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		},
		"RFC 8037 A.3": {
			`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Thumbprint(parseJWK(t, tt.jwk).Public)
			if err != nil || got != tt.want {
				t.Errorf("Thumbprint = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// What a key writes it reads again, and the members are those of the published
// key that it was read from.
func TestKeyRoundTrip(t *testing.T) {
	t.Parallel()
	for name, v := range vectors {
		if v.jwk == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := parseJWK(t, v.jwk)
			k.Kid, k.Use, k.Alg, k.X5T = "a<b", "sig", v.alg, "dGVzdA"
			k.X5C = [][]byte{{0xfb, 0xff, 0xfe}, {1}}
			out, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(v.jwk), &want); err != nil {
				t.Fatal(err)
			}
			for member, value := range want {
				if got[member] != value {
					t.Errorf("%s = %v, want %v", member, got[member], value)
				}
			}
			if x5c := got["x5c"].([]any); x5c[0] != "+//+" {
				t.Errorf("x5c[0] = %v, want plain base64 +//+ (RFC 7517 §4.7)", x5c[0])
			}
			again := parseJWK(t, string(out))
			if again.Kid != k.Kid || again.Use != k.Use || again.Alg != k.Alg || again.X5T != k.X5T {
				t.Errorf("read again: %+v, want %+v", again, k)
			}
		})
	}
}
