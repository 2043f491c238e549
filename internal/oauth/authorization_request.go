package oauth

import "net/http"

// ParseAuthorizationRequest reads a request to the authorization endpoint from
// the query (GET) or the form body (POST), OIDC Core §3.1.2.1. A POST with
// parameters in its query too is refused (SEC-60). What the parameters mean, and
// whether one is missing, is not judged here. The error is an *Error.
func ParseAuthorizationRequest(r *http.Request) (AuthorizationRequest, error) {
	var p *Parameters
	var err error
	if r.Method == http.MethodPost {
		if err := refuseQuery(r); err != nil {
			return AuthorizationRequest{}, err
		}
		p, err = ReadForm(r)
	} else {
		p, err = ReadQuery(r)
	}
	if err != nil {
		return AuthorizationRequest{}, err
	}
	req := AuthorizationRequest{
		ClientID:            p.Text("client_id"),
		ResponseType:        p.Text("response_type"),
		ResponseMode:        p.Text("response_mode"),
		RedirectURI:         p.Text("redirect_uri"),
		Scope:               p.Text("scope"),
		Audience:            p.Text("audience"),
		State:               p.Text("state"),
		Nonce:               p.Text("nonce"),
		CodeChallenge:       p.Text("code_challenge"),
		CodeChallengeMethod: p.Text("code_challenge_method"),
		Prompt:              p.Text("prompt"),
		MaxAge:              p.Text("max_age"),
		LoginHint:           p.Text("login_hint"),
		ScreenHint:          p.Text("screen_hint"),
		Connection:          p.Text("connection"),
		UILocales:           p.Text("ui_locales"),
		ACRValues:           p.Text("acr_values"),
		IDTokenHint:         p.Text("id_token_hint"),
	}
	if err := p.Err(); err != nil {
		return req, err
	}
	return req, checkScope(req.Scope)
}
