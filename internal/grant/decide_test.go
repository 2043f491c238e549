package grant

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

func api(change func(*tenant.ResourceServer)) *tenant.ResourceServer {
	r := &tenant.ResourceServer{
		Identifier: "https://api/", AllowOfflineAccess: true, TokenLifetimeSeconds: 600,
		Scopes: []tenant.Scope{{Value: "read:x"}, {Value: "write:x"}},
	}
	if change != nil {
		change(r)
	}
	return r
}

func client(change func(*tenant.Client)) tenant.Client {
	c := tenant.Client{
		ID: "c", FirstParty: true, OIDCConformant: true, AppType: "regular_web", AuthMethod: oauth.AuthSecretPost,
		GrantTypes: []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken},
		Refresh:    policy(false, 0),
	}
	if change != nil {
		change(&c)
	}
	return c
}

// SEC-109 and refresh-tokens.md §2: a refresh token is due only if all of it holds.
func TestOfflineAllowed(t *testing.T) {
	public := func(c *tenant.Client) { c.AuthMethod = oauth.AuthNone }
	tests := map[string]struct {
		client tenant.Client
		proof  proof
		want   bool
	}{
		"all holds":         {client(nil), proof{api: api(nil)}, true},
		"no API":            {client(nil), proof{}, true},
		"API says no":       {client(nil), proof{api: api(func(r *tenant.ResourceServer) { r.AllowOfflineAccess = false })}, false},
		"grant not enabled": {client(func(c *tenant.Client) { c.GrantTypes = []string{"authorization_code"} }), proof{}, false},
		"legacy client":     {client(func(c *tenant.Client) { c.OIDCConformant = false }), proof{}, false},
		"legacy client with an audience": {
			client(func(c *tenant.Client) { c.OIDCConformant = false }), proof{api: api(nil), audienceUsed: true}, true},
		"public client, not in a browser": {client(public), proof{}, true},
		"public client in a browser":      {client(public), proof{fromBrowser: true}, false},
		"single-page application": {
			client(func(c *tenant.Client) { public(c); c.AppType = "spa" }), proof{}, false},
		"single-page application that rotates": {
			client(func(c *tenant.Client) { public(c); c.AppType = "spa"; c.Refresh = policy(true, 0) }), proof{fromBrowser: true}, true},
		"confidential client with an Origin": {client(nil), proof{fromBrowser: true}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := tt.proof
			p.requested = oauth.Scopes{"openid", "offline_access"}
			got, err := decide(tt.client, p)
			if err != nil {
				t.Fatal(err)
			}
			if got.issueFamily != tt.want || got.scopes.Has("offline_access") != tt.want {
				t.Errorf("issueFamily = %v, scopes = %v; want both %v", got.issueFamily, got.scopes, tt.want)
			}
			p.requested = oauth.Scopes{"openid"}
			if got, _ := decide(tt.client, p); got.issueFamily {
				t.Error("a refresh token is due that was not asked for")
			}
		})
	}
}

func TestDecideUser(t *testing.T) {
	userPolicy := func(policy string) *tenant.ResourceServer {
		return api(func(r *tenant.ResourceServer) {
			r.Authorizations = &tenant.SubjectAuthorization{User: &tenant.SubjectPolicy{Policy: policy}}
		})
	}
	tests := map[string]struct {
		proof    proof
		scopes   string
		lifetime time.Duration
		code     string
	}{
		"no API":            {proof{}, "openid email", 24 * time.Hour, ""},
		"API":               {proof{api: api(nil)}, "openid read:x email", 10 * time.Minute, ""},
		"nobody may":        {proof{api: userPolicy("deny_all")}, "", 0, oauth.AccessDenied},
		"no grant of users": {proof{api: userPolicy("require_client_grant")}, "openid email", 10 * time.Minute, ""},
		"a grant of users": {proof{api: userPolicy("require_client_grant"), clientGrant: &tenant.ClientGrant{Scope: []string{"read:x"}}},
			"openid read:x email", 10 * time.Minute, ""},
		"policies enforced": {proof{api: api(func(r *tenant.ResourceServer) { r.EnforcePolicies = true })}, "openid email", 10 * time.Minute, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.proof.requested = oauth.Scopes{"openid", "read:x", "unknown", "email"}
			got, err := decide(client(nil), tt.proof)
			if tt.code != "" {
				if e := oauth.AsError(err); e.Code != tt.code || e.Status != 403 {
					t.Errorf("decide = %v, want %s", err, tt.code)
				}
				return
			}
			if err != nil || got.scopes.String() != tt.scopes || got.lifetime != tt.lifetime {
				t.Errorf("decide = %+v, %v; want %q for %v", got, err, tt.scopes, tt.lifetime)
			}
		})
	}
}

// SEC-65, authentication-api.md §4.3: a machine has what its client grant has.
func TestDecideMachine(t *testing.T) {
	granted := &tenant.ClientGrant{ID: "cgr_1", Scope: []string{"read:x", "gone:x"}}
	clientPolicy := func(policy string) *tenant.ResourceServer {
		return api(func(r *tenant.ResourceServer) {
			r.Authorizations = &tenant.SubjectAuthorization{Client: &tenant.SubjectPolicy{Policy: policy}}
		})
	}
	tests := map[string]struct {
		api     *tenant.ResourceServer
		grant   *tenant.ClientGrant
		scope   string
		want    string
		refused string
	}{
		"all of the grant":        {api(nil), granted, "", "read:x", ""},
		"a part":                  {api(nil), granted, "read:x", "read:x", ""},
		"beyond the grant":        {api(nil), granted, "read:x write:x", "", "Client has not been granted scopes: write:x"},
		"no longer the API's":     {api(nil), granted, "gone:x", "", "Client has not been granted scopes: gone:x"},
		"no grant":                {api(nil), nil, "", "", `Client is not authorized to access "https://api/". You need to create a "client-grant" associated to this API.`},
		"an empty grant":          {api(nil), &tenant.ClientGrant{}, "", "", ""},
		"a grant of everything":   {api(nil), &tenant.ClientGrant{AllowAllScopes: true}, "", "read:x write:x", ""},
		"every client may":        {clientPolicy("allow_all"), nil, "write:x", "write:x", ""},
		"no client may":           {clientPolicy("deny_all"), granted, "", "", `Client is not authorized to access "https://api/". You need to create a "client-grant" associated to this API.`},
		"offline_access is none":  {api(nil), granted, "offline_access", "", "Client has not been granted scopes: offline_access"},
		"openid is none either":   {api(nil), granted, "openid", "", "Client has not been granted scopes: openid"},
		"a quote in what is sent": {api(nil), granted, `a"b`, "", "Client has not been granted scopes: a?b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			requested := oauth.ParseScopes(tt.scope)
			p := proof{machine: true, api: tt.api, clientGrant: tt.grant, audience: "https://api/", requested: requested, asked: len(requested) > 0}
			got, err := decide(client(nil), p)
			if tt.refused != "" {
				if e := oauth.AsError(err); e.Code != oauth.AccessDenied || e.Status != 403 || e.Description != tt.refused {
					t.Errorf("decide = %v, want %q", err, tt.refused)
				}
				return
			}
			if err != nil || got.scopes.String() != tt.want || got.issueFamily || got.lifetime != 10*time.Minute {
				t.Errorf("decide = %+v, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// D5: revoking raises the epoch, so that later tokens have another authorization.
func TestMachineAuthorization(t *testing.T) {
	g := &tenant.ClientGrant{ID: "cgr_1", Epoch: 1}
	before := machineAuthorization("c", "a", g)
	g.Epoch = 2
	if after := machineAuthorization("c", "a", g); after == before {
		t.Errorf("the authorization is %q before and after", after)
	}
	if machineAuthorization("c", "a", nil) == machineAuthorization("d", "a", nil) {
		t.Error("two clients share an authorization")
	}
}

// SEC-63: a client uses the grants it is registered for.
func TestMayUse(t *testing.T) {
	everything := []string{
		oauth.GrantAuthorizationCode, oauth.GrantClientCredentials, oauth.GrantRefreshToken,
		oauth.GrantPassword, oauth.GrantPasswordRealm,
	}
	for _, grantType := range everything {
		with := client(func(c *tenant.Client) { c.GrantTypes = []string{grantType} })
		if err := mayUse(with, grantType); err != nil {
			t.Errorf("%s: %v", grantType, err)
		}
		without := client(func(c *tenant.Client) {
			c.GrantTypes = slices.DeleteFunc(slices.Clone(everything), func(g string) bool {
				return g == grantType
			})
		})
		err := mayUse(without, grantType)
		var e *oauth.Error
		if !errors.As(err, &e) || e.Code != oauth.UnauthorizedClient || e.Status != 403 ||
			e.Description != "Grant type '"+grantType+"' not allowed for the client." {
			t.Errorf("%s without it: %v", grantType, err)
		}
	}
	third := client(func(c *tenant.Client) { c.GrantTypes, c.FirstParty = everything, false })
	public := client(func(c *tenant.Client) { c.GrantTypes, c.AuthMethod = everything, oauth.AuthNone })
	for name, err := range map[string]error{
		"password, third party":          mayUse(third, oauth.GrantPassword),
		"password-realm, third party":    mayUse(third, oauth.GrantPasswordRealm),
		"client_credentials of a public": mayUse(public, oauth.GrantClientCredentials),
	} {
		if oauth.AsError(err).Code != oauth.UnauthorizedClient {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SEC-4: one registered method; security.md §30: by key is never interchangeable.
func TestMethodAllowed(t *testing.T) {
	methods := []string{oauth.AuthNone, oauth.AuthSecretPost, oauth.AuthSecretBasic, oauth.AuthPrivateKeyJWT}
	byKey := tenant.KeyAuthentication{PrivateKeyJWT: &struct {
		Credentials []struct {
			ID string `json:"id"`
		} `json:"credentials"`
	}{}}
	tests := map[string]struct {
		client tenant.Client
		want   []string
	}{
		"none":            {tenant.Client{AuthMethod: oauth.AuthNone}, []string{oauth.AuthNone}},
		"post":            {tenant.Client{AuthMethod: oauth.AuthSecretPost}, []string{oauth.AuthSecretPost}},
		"basic":           {tenant.Client{AuthMethod: oauth.AuthSecretBasic}, []string{oauth.AuthSecretBasic}},
		"unset":           {tenant.Client{}, []string{oauth.AuthSecretPost, oauth.AuthSecretBasic}},
		"key":             {tenant.Client{AuthByKey: &byKey}, []string{oauth.AuthPrivateKeyJWT}},
		"key beside post": {tenant.Client{AuthMethod: oauth.AuthSecretPost, AuthByKey: &byKey}, []string{oauth.AuthPrivateKeyJWT}},
		"key beside none": {tenant.Client{AuthMethod: oauth.AuthNone, AuthByKey: &byKey}, []string{oauth.AuthPrivateKeyJWT}},
	}
	for name, tt := range tests {
		for _, m := range methods {
			if got, want := methodAllowed(tt.client, m), slices.Contains(tt.want, m); got != want {
				t.Errorf("%s: methodAllowed(%s) = %v, want %v", name, m, got, want)
			}
		}
	}
}
