package management

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// setup is a call that comes from the command line: whoever can run it is the
// administrator (D12).
func (a *API) setup(ctx context.Context, t tenant.Tenant) *call {
	return &call{API: a, ctx: ctx, t: t, now: a.clock.Now()}
}

// byOperator is the event of what the command line did.
func (c *call) byOperator(description string) tenant.Event {
	return tenant.Event{
		TenantID: c.t.ID, At: c.clock.Now(), Type: audit.ManagementWritten, Description: description,
		Details: map[string]any{"request": map[string]any{"channel": "command"}},
	}
}

// MachineClient is a machine-to-machine client with every scope that any
// operation of the Management API asks for. A client of that name is found, and gets a new secret; else one
// is made.
func (a *API) MachineClient(ctx context.Context, t tenant.Tenant, name string) (clientID, secret string, err error) {
	c := a.setup(ctx, t)
	if secret, err = newSecret(a.rand); err != nil {
		return "", "", err
	}
	found, err := a.store.Clients(ctx, t.ID, tenant.ClientFilter{Name: name}, tenant.Page{Limit: 1})
	if err != nil {
		return "", "", fmt.Errorf("look for the client %s: %w", name, err)
	}
	if len(found.Items) > 0 {
		clientID = found.Items[0].ID
		err = c.replaceSecret(clientID, secret)
	} else {
		clientID, err = c.createMachine(name, secret)
	}
	if err != nil {
		return "", "", err
	}
	return clientID, secret, c.grantEverything(clientID)
}

func (c *call) replaceSecret(id, secret string) error {
	sealed, err := c.vault.NewClientSecret(c.ctx, c.t, id, secret)
	if err != nil {
		return err
	}
	_, err = c.store.UpdateClient(c.ctx, c.t.ID, id, func(client tenant.Client) (tenant.Client, error) {
		if client.Public() || client.ByKey() {
			return client, fmt.Errorf("the client %s does not authenticate with a secret", client.Name)
		}
		client.Secrets = []tenant.ClientSecret{sealed}
		return client, nil
	}, c.byOperator("Rotate a client secret"))
	return err
}

func (c *call) createMachine(name, secret string) (string, error) {
	id, err := alnum(c.rand, 32)
	if err != nil {
		return "", err
	}
	body := obj("name", name, "app_type", "non_interactive", "client_secret", secret,
		"grant_types", []any{oauth.GrantClientCredentials}, "oidc_conformant", true)
	if f := clientResource().creates().shape.judge(body, "", ""); f != nil {
		return "", f.invalidBody()
	}
	client, err := c.newClient(id, body)
	if err != nil {
		return "", err
	}
	return id, c.store.CreateClient(c.ctx, client, c.byOperator("Create a client"))
}

// grantEverything gives the client every scope that opens something. The system
// API defines more, for grants that tools bring along; all of them would not fit
// into a token (SEC-82).
func (c *call) grantEverything(clientID string) error {
	scopes := []any{}
	for _, s := range c.table.scopes() {
		if !strings.Contains(s, ":current_user") { // those are of a user's token
			scopes = append(scopes, s)
		}
	}
	have, err := c.store.ClientGrants(c.ctx, c.t.ID, tenant.ClientGrantFilter{
		ClientID: clientID, Audience: c.t.ManagementAudience(), SubjectType: "client",
	}, tenant.Page{Limit: 1})
	if err != nil {
		return err
	}
	if len(have.Items) > 0 {
		_, err := c.store.UpdateClientGrant(c.ctx, c.t.ID, have.Items[0].ID, func(g tenant.ClientGrant) (tenant.ClientGrant, error) {
			doc, err := parseObject(g.Document)
			if err != nil {
				return g, err
			}
			doc.set("scope", scopes)
			changed, err := tenant.ParseClientGrant(c.t.ID, clientGrantResource().ordered(doc, false).bytes())
			changed.Epoch, changed.CreatedAt = g.Epoch, g.CreatedAt
			return changed, err
		}, c.byOperator("Update a client grant"))
		return err
	}
	id, err := alnum(c.rand, 16)
	if err != nil {
		return err
	}
	grant, _, err := c.newClientGrant("cgr_"+id, obj("client_id", clientID, "audience", c.t.ManagementAudience(), "scope", scopes))
	if err != nil {
		return err
	}
	err = c.store.CreateClientGrant(c.ctx, grant, c.byOperator("Create a client grant"))
	if errors.Is(err, tenant.ErrExists) { // another command was faster
		return nil
	}
	return err
}

// CreateUser makes a user of the default database connection. The error is an
// *oauth.Error whose description may be shown.
func (a *API) CreateUser(ctx context.Context, t tenant.Tenant, email, password string, admin bool) (tenant.User, error) {
	c := a.setup(ctx, t)
	body := obj("email", email, "password", password, "connection", tenant.DefaultConnection)
	if f := userResource().creates().shape.judge(body, "", ""); f != nil {
		return tenant.User{}, f.invalidBody()
	}
	u, hash, err := c.newUser(body)
	if err != nil {
		return tenant.User{}, err
	}
	u.Administrator = admin
	e := c.byOperator("Create a User")
	e.UserID, e.UserName, e.Connection = u.ID, u.Email, u.Connection()
	if err := a.store.CreateUser(ctx, u, hash, e); err != nil {
		return tenant.User{}, meaning(err, nil, &oauth.Error{Code: "auth0_idp_error", Status: http.StatusConflict, Description: "The user already exists."})
	}
	return u, nil
}
