package grant_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/jose"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// keyOf is a client's key pair, made once.
var keyOf = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// byKey makes a client that authenticates with keyOf.
func (f *fixture) byKey(t *testing.T) tenant.Client {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(keyOf().Public())
	if err != nil {
		t.Fatal(err)
	}
	return f.client(t, func(c *tenant.Client) {
		c.AuthMethod = ""
		c.AuthByKey = &tenant.KeyAuthentication{}
		if err := json.Unmarshal([]byte(`{"private_key_jwt":{"credentials":[{"id":"cred_1"}]}}`), c.AuthByKey); err != nil {
			t.Fatal(err)
		}
		c.Keys = []tenant.ClientKey{{
			ID: "cred_1", Kid: "k1", Alg: "RS256", PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), CreatedAt: noon, UpdatedAt: noon,
		}}
	})
}

// assertion is a client assertion; change alters its claims.
func (f *fixture) assertion(t *testing.T, clientID, jti string, change func(map[string]any)) oauth.ClientAuthentication {
	t.Helper()
	claims := map[string]any{
		"iss": clientID, "sub": clientID, "aud": f.tenant(t).Issuer(), "jti": jti,
		"iat": f.clock.Now().Unix(), "exp": f.clock.Now().Add(2 * time.Minute).Unix(),
	}
	if change != nil {
		change(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer := jose.NewRSASigner(jose.RS256, keyOf())
	raw, err := jose.NewEncoder(jose.Header{Alg: jose.RS256, Typ: "JWT"}, signer).Encode(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	return oauth.ClientAuthentication{Method: oauth.AuthPrivateKeyJWT, Assertion: string(raw), AssertionType: oauth.AssertionTypeJWTBearer}
}

// SEC-4, SEC-10, SEC-11, SEC-14: private_key_jwt.
func TestClientAssertion(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c, other := f.byKey(t), f.client(t, nil)
	f.grantTo(t, c.ID, audience)
	f.grantTo(t, other.ID, audience)
	exchange := func(a oauth.ClientAuthentication) error {
		_, err := f.exchange(t, oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: a, Audience: audience})
		return err
	}
	good := f.assertion(t, c.ID, "1", nil)
	if err := exchange(good); err != nil {
		t.Fatal(err)
	}
	named := f.assertion(t, c.ID, "2", nil)
	named.ClientID = c.ID
	if err := exchange(named); err != nil {
		t.Errorf("beside its client_id: %v", err)
	}
	otherName, otherType := f.assertion(t, c.ID, "3", nil), f.assertion(t, c.ID, "4", nil)
	otherName.ClientID = other.ID
	otherType.AssertionType = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
	forged := f.assertion(t, c.ID, "5", nil)
	forged.Assertion = forged.Assertion[:strings.LastIndexByte(forged.Assertion, '.')+1] + strings.Repeat("A", 342)
	for name, tt := range map[string]struct {
		auth   oauth.ClientAuthentication
		reason string
	}{
		"replayed":              {good, "assertion_reused"},
		"another client_id":     {otherName, "assertion_refused"},
		"another type":          {otherType, "assertion_type"},
		"forged":                {forged, "assertion_refused"},
		"unknown client":        {f.assertion(t, "nobody", "6", nil), "unknown_client"},
		"client with a secret":  {f.assertion(t, other.ID, "7", nil), "wrong_auth_method"},
		"token endpoint as aud": {f.assertion(t, c.ID, "8", func(m map[string]any) { m["aud"] = f.tenant(t).Issuer() + "oauth/token" }), "assertion_refused"},
		"aud in an array":       {f.assertion(t, c.ID, "9", func(m map[string]any) { m["aud"] = []string{f.tenant(t).Issuer()} }), "assertion_refused"},
		"without jti":           {f.assertion(t, c.ID, "10", func(m map[string]any) { delete(m, "jti") }), "assertion_refused"},
		"expired":               {f.assertion(t, c.ID, "11", func(m map[string]any) { m["exp"] = noon.Add(-time.Minute).Unix() }), "assertion_refused"},
		"two days ahead":        {f.assertion(t, c.ID, "12", func(m map[string]any) { m["exp"] = noon.Add(48 * time.Hour).Unix() }), "assertion_refused"},
		"iss is another":        {f.assertion(t, c.ID, "13", func(m map[string]any) { m["iss"] = other.ID }), "assertion_refused"},
		"not a JWT":             {oauth.ClientAuthentication{Method: oauth.AuthPrivateKeyJWT, Assertion: "x", AssertionType: oauth.AssertionTypeJWTBearer}, "assertion_refused"},
	} {
		err := exchange(tt.auth)
		e := oauth.AsError(err)
		if e.Status != 401 || e.Code != oauth.InvalidClient || e.Description != "Failed to verify client assertion." || e.Reason != tt.reason {
			t.Errorf("%s: %v (reason %q), want the one answer and %q", name, err, e.Reason, tt.reason)
		}
	}
	for _, method := range []string{oauth.AuthNone, oauth.AuthSecretPost, oauth.AuthSecretBasic} {
		err := exchange(oauth.ClientAuthentication{Method: method, ClientID: c.ID, Secret: secret})
		wantError(t, err, 401, oauth.AccessDenied, "Unauthorized", "wrong_auth_method")
	}
}

// A request that is judged again has used its assertion up itself.
func TestClientAssertionJudgedAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	c, u := f.byKey(t), f.user(t)
	r := codeRequest(c, f.code(t, c, u, nil))
	r.Client = f.assertion(t, c.ID, "1", nil)
	once := true
	f.rules.set(func(tenant.RuleContext) (tenant.RuleResult, error) {
		if once {
			once = false
			f.changeClient(t, c.ID, func(c *tenant.Client) { c.Name = "Renamed" })
		}
		return tenant.RuleResult{}, nil
	})
	f.mustExchange(t, r)
	f.rules.set(nil)
	r.Code = f.code(t, c, u, nil)
	_, err := f.exchange(t, r)
	wantError(t, err, 401, oauth.InvalidClient, "Failed to verify client assertion.", "assertion_reused")
}

// SEC-11, SEC-3: of 32 uses at once one succeeds.
func TestClientAssertionRace(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.api(t, audience, nil)
	c := f.byKey(t)
	f.grantTo(t, c.ID, audience)
	r := oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: f.assertion(t, c.ID, "1", nil), Audience: audience}
	now := f.tenant(t)
	errs := make([]error, 32)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = f.Exchange(t.Context(), now, r, origin) })
	}
	wg.Wait()
	granted := 0
	for _, err := range errs {
		if err == nil {
			granted++
		}
	}
	if granted != 1 {
		t.Errorf("%d uses succeeded, want 1", granted)
	}
}
