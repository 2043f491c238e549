package grant_test

import (
	"testing"

	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// SEC-1, SEC-15, SEC-63: every grant type times everything that ends the right to
// it; every cell refuses.
func TestEveryGrantUnderEveryEnd(t *testing.T) {
	t.Parallel()
	f := start(t)
	type cast struct {
		client tenant.Client
		user   tenant.User
		api    tenant.ResourceServer
		grant  tenant.ClientGrant
	}
	deletion := func(id string) tenant.Deletion {
		return tenant.Deletion{TenantID: f.tenantID, ID: id, At: f.clock.Now(), Reason: "test", DeniedUntil: f.clock.Now(), Event: f.event()}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ends := map[string]struct {
		// machine: the end concerns a client's own tokens too; user: tokens of users.
		machine, user bool
		do            func(t *testing.T, c cast)
	}{
		"client deleted": {true, true, func(t *testing.T, c cast) { must(t, f.store.DeleteClient(t.Context(), deletion(c.client.ID))) }},
		"client lost its grants": {true, true, func(t *testing.T, c cast) {
			f.changeClient(t, c.client.ID, func(c *tenant.Client) { c.GrantTypes = []string{"implicit"} })
		}},
		"client authenticates otherwise": {true, true, func(t *testing.T, c cast) {
			f.changeClient(t, c.client.ID, func(c *tenant.Client) { c.AuthMethod = oauth.AuthSecretBasic })
		}},
		"API deleted": {true, true, func(t *testing.T, c cast) { must(t, f.store.DeleteResourceServer(t.Context(), deletion(c.api.ID))) }},
		"API closed to users": {false, true, func(t *testing.T, c cast) {
			_, err := f.store.UpdateResourceServer(t.Context(), f.tenantID, c.api.ID, func(r tenant.ResourceServer) (tenant.ResourceServer, error) {
				r.Authorizations = &tenant.SubjectAuthorization{User: &tenant.SubjectPolicy{Policy: "deny_all"}}
				r.Document = nil
				return r, nil
			}, f.event())
			must(t, err)
		}},
		"client grant deleted": {true, false, func(t *testing.T, c cast) { must(t, f.store.DeleteClientGrant(t.Context(), deletion(c.grant.ID))) }},
		"user blocked":         {false, true, func(t *testing.T, c cast) { f.changeUser(t, c.user.ID, func(u *tenant.User) { u.Blocked = true }) }},
		"user deleted":         {false, true, func(t *testing.T, c cast) { must(t, f.store.DeleteUser(t.Context(), deletion(c.user.ID))) }},
	}
	// What each grant type presents; made before the end.
	grants := map[string]func(t *testing.T, c cast) oauth.TokenRequest{
		oauth.GrantAuthorizationCode: func(t *testing.T, c cast) oauth.TokenRequest {
			return codeRequest(c.client, f.code(t, c.client, c.user, func(code *tenant.Code) { code.Audience = c.api.Identifier }))
		},
		oauth.GrantRefreshToken: func(t *testing.T, c cast) oauth.TokenRequest {
			code := f.code(t, c.client, c.user, func(code *tenant.Code) { code.Audience = c.api.Identifier })
			return refreshRequest(c.client, f.mustExchange(t, codeRequest(c.client, code)).RefreshToken)
		},
		oauth.GrantPassword: func(_ *testing.T, c cast) oauth.TokenRequest {
			return oauth.TokenRequest{GrantType: oauth.GrantPassword, Client: credentials(c.client), Username: c.user.Email, Password: userPassword, Audience: c.api.Identifier}
		},
		oauth.GrantPasswordRealm: func(_ *testing.T, c cast) oauth.TokenRequest {
			return oauth.TokenRequest{GrantType: oauth.GrantPasswordRealm, Realm: "users", Client: credentials(c.client), Username: c.user.Email, Password: userPassword, Audience: c.api.Identifier}
		},
		oauth.GrantDeviceCode: func(t *testing.T, c cast) oauth.TokenRequest {
			code := f.beginDevice(t, c.client, "openid read:x", c.api.Identifier).DeviceCode
			f.decide(t, code, c.user, tenant.DeviceAllowed, "openid", "read:x")
			return deviceRequest(c.client, code)
		},
		oauth.GrantClientCredentials: func(_ *testing.T, c cast) oauth.TokenRequest {
			return oauth.TokenRequest{GrantType: oauth.GrantClientCredentials, Client: credentials(c.client), Audience: c.api.Identifier}
		},
	}
	f.connection(t, "users")
	newCast := func(t *testing.T) cast {
		c := cast{client: f.client(t, func(c *tenant.Client) { c.GrantTypes = append(c.GrantTypes, oauth.GrantDeviceCode) }), user: f.user(t), api: f.api(t, f.name("https://api/"), nil)}
		c.grant = f.grantTo(t, c.client.ID, c.api.Identifier, "read:x")
		connection, err := f.store.Connection(t.Context(), f.tenant(t), "users")
		must(t, err)
		_, err = f.store.UpdateConnection(t.Context(), f.tenantID, connection.ID, func(x tenant.Connection) (tenant.Connection, error) {
			x.EnabledClients, x.Document = append(x.EnabledClients, c.client.ID), nil
			return x, nil
		}, f.event())
		must(t, err)
		return c
	}
	for grantType, request := range grants {
		f.mustExchange(t, request(t, newCast(t))) // each works before
		for name, end := range ends {
			if machine := grantType == oauth.GrantClientCredentials; machine && !end.machine || !machine && !end.user {
				continue
			}
			t.Run(grantType+", "+name, func(t *testing.T) {
				c := newCast(t)
				r := request(t, c)
				end.do(t, c)
				resp, err := f.exchange(t, r)
				if e := oauth.AsError(err); err == nil || e.Status >= 500 || resp != (oauth.TokenResponse{}) {
					t.Errorf("got %+v, %v; want a refusal", resp, err)
				}
			})
		}
	}
	// One that begins to be served belongs into the matrix.
	for _, grantType := range []string{oauth.GrantImplicit, "urn:ietf:params:oauth:grant-type:token-exchange"} {
		_, err := f.exchange(t, oauth.TokenRequest{GrantType: grantType})
		if e := oauth.AsError(err); e.Code != oauth.UnsupportedGrantType {
			t.Errorf("grant type %q is in no row of the matrix and is answered %v", grantType, err)
		}
	}
}
