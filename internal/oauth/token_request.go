package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// ParseTokenRequest reads a request to the token endpoint (RFC 6749 §3.2). The
// request is as far as it could be read, for the event, also beside an error,
// which is an *Error.
func ParseTokenRequest(r *http.Request) (TokenRequest, error) {
	p, err := ReadBody(r)
	if err != nil {
		return TokenRequest{}, err
	}
	req := TokenRequest{
		GrantType:    p.Text("grant_type"),
		Scope:        p.Text("scope"),
		Audience:     p.Text("audience"),
		Code:         p.Text("code"),
		RedirectURI:  p.Text("redirect_uri"),
		CodeVerifier: p.Text("code_verifier"),
		RefreshToken: p.Text("refresh_token"),
		Username:     p.Text("username"),
		Password:     p.Text("password"),
		Realm:        p.Text("realm"),
		DeviceCode:   p.Text("device_code"),
		Device:       p.Text("device"),
		FromBrowser:  r.Header.Get("Origin") != "",
	}
	req.Client, err = clientAuthentication(r, p)
	if err == nil {
		err = p.Err()
	}
	if err == nil {
		req.Attempt, err = attempt(r)
	}
	if err == nil && req.GrantType == "" {
		err = Missing("grant_type")
	}
	if err == nil {
		err = checkScope(req.Scope)
	}
	return req, err
}

// AttemptHeader names one rotation of a refresh token to the client that began
// it, so that it can repeat that rotation at any time (D4).
const AttemptHeader = "Bulla-Attempt"

// Lengths of an attempt: 128 to 512 bits in base64url without padding.
const (
	minAttempt = 22
	maxAttempt = 86
)

// attempt reads the header. Its value is compared by its hash alone, so it must
// have one spelling; one that others could guess is refused, as is a second one,
// of which two readers could take either.
func attempt(r *http.Request) (string, error) {
	values := r.Header.Values(AttemptHeader)
	if len(values) == 0 {
		return "", nil
	}
	malformed := NewError(InvalidRequest, "The "+AttemptHeader+" header must be one value of 22 to 86 base64url characters.", nil).
		WithReason("malformed_attempt")
	if len(values) > 1 || len(values[0]) < minAttempt || len(values[0]) > maxAttempt {
		return "", malformed
	}
	// Strict, and never a line break: what decodes encodes to the same characters.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != values[0] {
		return "", malformed
	}
	return values[0], nil
}

// ParseDeviceRequest reads a device authorization request (RFC 8628 §3.1). The
// request is as far as it could be read; the error is an *Error.
func ParseDeviceRequest(r *http.Request) (DeviceRequest, error) {
	p, err := ReadBody(r)
	if err != nil {
		return DeviceRequest{}, err
	}
	req := DeviceRequest{Scope: p.Text("scope"), Audience: p.Text("audience")}
	req.Client, err = clientAuthentication(r, p)
	if err == nil {
		err = p.Err()
	}
	if err == nil {
		err = checkScope(req.Scope)
	}
	return req, err
}

// ParseRevocationRequest reads a request to the revocation endpoint (RFC 7009
// §2.1). The error is an *Error.
func ParseRevocationRequest(r *http.Request) (RevocationRequest, error) {
	p, err := ReadBody(r)
	if err != nil {
		return RevocationRequest{}, err
	}
	req := RevocationRequest{Token: p.Text("token"), TokenTypeHint: p.Text("token_type_hint")}
	req.Client, err = clientAuthentication(r, p)
	if err == nil {
		err = p.Err()
	}
	return req, err
}

// ParseIntrospectionRequest reads a request to the introspection endpoint
// (RFC 7662 §2.1). The error is an *Error.
func ParseIntrospectionRequest(r *http.Request) (IntrospectionRequest, error) {
	p, err := ReadBody(r)
	if err != nil {
		return IntrospectionRequest{}, err
	}
	req := IntrospectionRequest{Token: p.Text("token"), TokenTypeHint: p.Text("token_type_hint")}
	req.Client, err = clientAuthentication(r, p)
	if err == nil {
		err = p.Err()
	}
	return req, err
}

// ParseFeedRequest reads a request for the revocation feed: GET, credentials in
// the Basic header alone, the cursor in Last-Event-ID or, for the first time, in
// the query. A browser's EventSource sends both; the header is the newer one. The
// error is an *Error.
func ParseFeedRequest(r *http.Request) (FeedRequest, error) {
	p, err := ReadQuery(r)
	if err != nil {
		return FeedRequest{}, err
	}
	req := FeedRequest{Cursor: p.Text("cursor")}
	if values := r.Header.Values("Last-Event-ID"); len(values) > 1 {
		return req, badRequest("The header Last-Event-ID is repeated.")
	} else if len(values) == 1 && values[0] != "" {
		req.Cursor = values[0]
	}
	client, present, err := basicCredentials(r)
	if err != nil {
		return req, err
	}
	if !present || client.Secret == "" {
		return req, NewError(InvalidClient, "Client authentication failed.", nil).WithReason("no_credentials")
	}
	req.Client = client
	return req, nil
}

// clientAuthentication reads who asks. Two credentials in one request are
// refused (RFC 6749 §2.3, SEC-5); the client_id that stands in the body beside a
// Basic header that names the same client is no second one.
func clientAuthentication(r *http.Request, p *Parameters) (ClientAuthentication, error) {
	c := ClientAuthentication{
		Method:        AuthNone,
		ClientID:      p.Text("client_id"),
		Secret:        p.Text("client_secret"),
		Assertion:     p.Text("client_assertion"),
		AssertionType: p.Text("client_assertion_type"),
	}
	if c.Assertion != "" {
		c.Method = AuthPrivateKeyJWT
		if c.Secret == "None" { // what one official client sends for no secret (authentication-api.md §18)
			c.Secret = ""
		}
		if c.AssertionType == "" {
			return c, Missing("client_assertion_type")
		}
	} else if c.AssertionType != "" {
		return c, Missing("client_assertion")
	}
	if c.Secret != "" {
		if c.Method != AuthNone {
			return c, twoCredentials()
		}
		c.Method = AuthSecretPost
	}
	basic, present, err := basicCredentials(r)
	if err != nil || !present {
		return c, err
	}
	if c.ClientID != "" && c.ClientID != basic.ClientID || c.Method != AuthNone && basic.Secret != "" {
		return c, twoCredentials()
	}
	if basic.Secret == "" { // an empty secret is an absent one (SEC-8)
		c.ClientID = basic.ClientID
		return c, nil
	}
	return basic, nil
}

func twoCredentials() *Error {
	return NewError(InvalidRequest, "The client must authenticate in one way only.", nil).WithReason("two_credentials")
}

// basicCredentials reads the Basic header. RFC 6749 §2.3.1 has both parts
// form-encoded inside; clients that leave that out are understood too, by
// RawSecret. Another scheme is not ours to judge here and authenticates nobody.
func basicCredentials(r *http.Request) (ClientAuthentication, bool, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return ClientAuthentication{}, false, nil
	}
	if len(values) > 1 {
		return ClientAuthentication{}, false, twoCredentials()
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return ClientAuthentication{}, false, nil
	}
	malformed := badRequest("The Authorization header is malformed.")
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return ClientAuthentication{}, false, malformed
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok || checkText(string(raw)) != nil {
		return ClientAuthentication{}, false, malformed
	}
	c := ClientAuthentication{Method: AuthSecretBasic, ClientID: formDecoded(id), Secret: formDecoded(secret)}
	if c.ClientID == "" || checkText(c.ClientID) != nil || checkText(c.Secret) != nil {
		return ClientAuthentication{}, false, malformed
	}
	if c.Secret != secret {
		c.RawSecret = secret
	}
	return c, true, nil
}

func formDecoded(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}
