package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Management calls the Management API with a machine's token.
type Management struct {
	server *Server
	client *http.Client
	token  string
}

// Management signs a new machine client in.
func (s *Server) Management(ctx context.Context) (*Management, error) {
	id, secret, err := s.ManagementClient(ctx)
	if err != nil {
		return nil, err
	}
	client, err := s.Client(4)
	if err != nil {
		return nil, err
	}
	answer, err := Token(ctx, client, s.URL("/oauth/token"), url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
		"audience": {s.URL("/api/v2/")},
	})
	if err != nil {
		return nil, err
	}
	return &Management{server: s, client: client, token: answer.AccessToken}, nil
}

// Call sends body as JSON and decodes the answer into a map; a status of 400 or
// more is an error.
func (m *Management) Call(ctx context.Context, method, path string, body any) (map[string]any, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, m.server.URL("/api/v2/"+path), payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+m.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	out := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 && text[0] == '{' {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

// Answer is what the token endpoint said.
type Answer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
	Status       int    `json:"-"`
}

// Token posts a form to a token endpoint; an answer that is no success is an
// error and is returned too.
func Token(ctx context.Context, client *http.Client, endpoint string, form url.Values) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: resp.StatusCode}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s: %s: %s", resp.Status, answer.Error, answer.Description)
	}
	return answer, nil
}

// Family is a client, a user and an API with which refresh tokens are taken by
// the password grant, for experiments that need many families quickly.
type Family struct {
	ClientID     string
	ClientSecret string
	Audience     string
	Email        string
	Password     string
}

// NewFamily makes them. signingAlg is that of the API's tokens, leeway is in seconds.
func (m *Management) NewFamily(ctx context.Context, name, signingAlg string, leeway int) (Family, error) {
	f := Family{
		Audience: "https://" + name + ".example/",
		Email:    name + "@example.com",
		Password: "Correct-horse-battery-7",
	}
	if _, err := m.Call(ctx, http.MethodPost, "resource-servers", map[string]any{
		"name": name, "identifier": f.Audience, "signing_alg": signingAlg, "allow_offline_access": true,
		"skip_consent_for_verifiable_first_party_clients": true,
		"scopes": []map[string]string{{"value": "read:things", "description": "Read things"}},
	}); err != nil {
		return f, err
	}
	client, err := m.Call(ctx, http.MethodPost, "clients", map[string]any{
		"name": name, "app_type": "regular_web", "oidc_conformant": true, "is_first_party": true,
		"token_endpoint_auth_method": "client_secret_post",
		"grant_types":                []string{"refresh_token", "http://auth0.com/oauth/grant-type/password-realm"},
		"refresh_token": map[string]any{
			"rotation_type": "rotating", "expiration_type": "expiring", "leeway": leeway,
			"token_lifetime": 2592000, "idle_token_lifetime": 1296000,
			"infinite_token_lifetime": false, "infinite_idle_token_lifetime": false,
		},
	})
	if err != nil {
		return f, err
	}
	f.ClientID, _ = client["client_id"].(string)
	f.ClientSecret, _ = client["client_secret"].(string)
	if err := m.enable(ctx, f.ClientID); err != nil {
		return f, err
	}
	_, err = m.Call(ctx, http.MethodPost, "users", map[string]any{
		"connection": "Username-Password-Authentication", "email": f.Email, "password": f.Password, "verify_email": false,
	})
	return f, err
}

// enable lets the client's users sign in at the default connection.
func (m *Management) enable(ctx context.Context, clientID string) error {
	list, err := m.Call(ctx, http.MethodGet, "connections?name=Username-Password-Authentication&include_totals=true", nil)
	if err != nil {
		return err
	}
	items, _ := list["connections"].([]any)
	if len(items) == 0 {
		return fmt.Errorf("there is no default connection: %v", list)
	}
	id, _ := items[0].(map[string]any)["id"].(string)
	_, err = m.Call(ctx, http.MethodPatch, "connections/"+id+"/clients", []map[string]any{{"client_id": clientID, "status": true}})
	return err
}

// Login takes the first value of a new family.
func (f Family) Login(ctx context.Context, client *http.Client, endpoint string) (Answer, error) {
	return Token(ctx, client, endpoint, url.Values{
		"grant_type": {"http://auth0.com/oauth/grant-type/password-realm"}, "realm": {"Username-Password-Authentication"},
		"client_id": {f.ClientID}, "client_secret": {f.ClientSecret},
		"username": {f.Email}, "password": {f.Password},
		"audience": {f.Audience}, "scope": {"read:things offline_access"},
	})
}

// Refresh presents a value.
func (f Family) Refresh(ctx context.Context, client *http.Client, endpoint, value string) (Answer, error) {
	return Token(ctx, client, endpoint, url.Values{
		"grant_type": {"refresh_token"}, "client_id": {f.ClientID}, "client_secret": {f.ClientSecret}, "refresh_token": {value},
	})
}

// Revoke ends the family of a value.
func (f Family) Revoke(ctx context.Context, client *http.Client, endpoint, value string) error {
	form := url.Values{"client_id": {f.ClientID}, "client_secret": {f.ClientSecret}, "token": {value}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("revoke: %s", resp.Status)
	}
	return nil
}
