package authtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// managementToken is the token of the machine client behind the conveniences.
type managementToken struct {
	value     string
	expiresAt time.Time
}

// ManagementClient makes, or finds and rotates, a machine client with every scope
// of the Management API, as bulla management-client does.
func (s *Server) ManagementClient(t testing.TB, name string) Client {
	t.Helper()
	c, err := s.admin.ManagementClient(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return Client{ID: c.ClientID, Secret: c.ClientSecret}
}

// ManagementToken is an access token with every scope of the Management API. It
// is kept until shortly before it expires on the server's clock.
func (s *Server) ManagementToken(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.clock.Now(); s.management.value == "" || !now.Before(s.management.expiresAt) {
		c := s.ManagementClient(t, "authtest")
		tokens := s.ClientCredentials(t, c, s.Issuer+"api/v2/")
		s.management = managementToken{tokens.AccessToken, now.Add(time.Duration(tokens.ExpiresIn)*time.Second - time.Minute)}
	}
	return s.management.value
}

// Manage calls the Management API: path is what follows /api/v2/, in is sent as
// JSON unless it is nil, and the answer is decoded into out unless that is nil.
// A status other than 2xx fails the test.
func (s *Server) Manage(t testing.TB, method, path string, in, out any) {
	t.Helper()
	resp := s.TryManage(t, method, path, in)
	if resp.Status/100 != 2 {
		t.Fatalf("authtest: %s %s", method, resp)
	}
	if out != nil {
		resp.JSON(t, out)
	}
}

// TryManage is Manage for tests that look at the answer themselves.
func (s *Server) TryManage(t testing.TB, method, path string, in any) Response {
	t.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			t.Fatal(err)
		}
	}
	req := s.Request(t, method, "/api/v2/"+path, &body)
	req.Header.Set("Authorization", "Bearer "+s.ManagementToken(t))
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.Do(t, req)
}

// Client is a registered application.
type Client struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
	// AuthMethod is none for a public client; like the vendor's, it is given a
	// secret that it does not use.
	AuthMethod string `json:"token_endpoint_auth_method"`
}

// authenticate adds what the client proves itself with.
func (c Client) authenticate(form url.Values) url.Values {
	form.Set("client_id", c.ID)
	if c.AuthMethod != "none" && c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	return form
}

// CreateClient registers an application; body is that of POST /clients.
func (s *Server) CreateClient(t testing.TB, body map[string]any) Client {
	t.Helper()
	var c Client
	s.Manage(t, http.MethodPost, "clients", body, &c)
	return c
}

// API is a resource server.
type API struct {
	ID            string `json:"id"`
	Identifier    string `json:"identifier"`
	SigningSecret string `json:"signing_secret"`
}

// CreateAPI registers a resource server with these scopes that allows offline access.
func (s *Server) CreateAPI(t testing.TB, identifier string, scopes ...string) API {
	t.Helper()
	list := make([]map[string]string, len(scopes))
	for i, v := range scopes {
		list[i] = map[string]string{"value": v, "description": v}
	}
	return s.CreateAPIWith(t, map[string]any{"identifier": identifier, "name": identifier, "scopes": list, "allow_offline_access": true})
}

// CreateAPIWith registers a resource server; body is that of POST /resource-servers.
func (s *Server) CreateAPIWith(t testing.TB, body map[string]any) API {
	t.Helper()
	var a API
	s.Manage(t, http.MethodPost, "resource-servers", body, &a)
	return a
}

// Grant allows a client to ask for scopes of an API for itself.
func (s *Server) Grant(t testing.TB, clientID, audience string, scopes ...string) {
	t.Helper()
	if scopes == nil {
		scopes = []string{}
	}
	s.Manage(t, http.MethodPost, "client-grants", map[string]any{"client_id": clientID, "audience": audience, "scope": scopes}, nil)
}

// Password is the password of the users that CreateUser makes.
const Password = "Correct-Horse-7-Battery"

// User is a user of the default database connection.
type User struct {
	ID    string `json:"user_id"`
	Email string `json:"email"`
}

// DefaultConnection is the database connection that a tenant begins with.
const DefaultConnection = "Username-Password-Authentication"

// CreateUser makes a user with this address and Password in DefaultConnection.
func (s *Server) CreateUser(t testing.TB, email string) User {
	t.Helper()
	var u User
	s.Manage(t, http.MethodPost, "users", map[string]any{
		"connection": DefaultConnection, "email": email, "password": Password, "email_verified": true,
	}, &u)
	return u
}

// EnableConnection lets the users of DefaultConnection sign in to a client.
func (s *Server) EnableConnection(t testing.TB, clientID string) {
	t.Helper()
	var list []struct {
		ID             string   `json:"id"`
		EnabledClients []string `json:"enabled_clients"`
	}
	s.Manage(t, http.MethodGet, "connections?name="+url.QueryEscape(DefaultConnection), nil, &list)
	if len(list) != 1 {
		t.Fatalf("authtest: %d connections named %s", len(list), DefaultConnection)
	}
	for _, id := range list[0].EnabledClients {
		if id == clientID {
			return
		}
	}
	s.Manage(t, http.MethodPatch, "connections/"+list[0].ID, map[string]any{"enabled_clients": append(list[0].EnabledClients, clientID)}, nil)
}
