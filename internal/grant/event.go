package grant

import (
	"time"

	"github.com/bulla-auth/bulla/internal/audit"
	"github.com/bulla-auth/bulla/internal/oauth"
	"github.com/bulla-auth/bulla/internal/tenant"
)

// tokenEvent is the event of a token request as far as the request tells it. No
// credential is read into it (SEC-230).
func (s *Service) tokenEvent(t tenant.Tenant, req oauth.TokenRequest, origin tenant.Origin, now time.Time) tenant.Event {
	return tenant.Event{
		TenantID: t.ID,
		At:       now,
		ClientID: req.Client.ClientID,
		Audience: req.Audience,
		Scope:    req.Scope,
		Origin:   origin,
	}
}

// refusedType is the code of a refusal of the grant type.
func refusedType(grantType string) string {
	switch grantType {
	case oauth.GrantAuthorizationCode:
		return audit.CodeRefused
	case oauth.GrantClientCredentials:
		return audit.ClientCredentialsRefused
	case oauth.GrantRefreshToken:
		return audit.RefreshRefused
	case oauth.GrantDeviceCode:
		return audit.DeviceExchangeRefused
	case oauth.GrantPassword, oauth.GrantPasswordRealm:
		return audit.PasswordRefused
	}
	return audit.LoginFailed
}

// refused records the refusal of an exchange with its reason (D13, D14). A fault
// of ours is no statement about the request: the edge logs it.
func (s *Service) refused(x *exchange, err error) {
	e := oauth.AsError(err)
	if x.reported || e.Status >= 500 {
		return
	}
	event := x.event
	event.Type = refusedType(x.request.GrantType)
	switch e.Reason {
	case reasonWrongPassword:
		event.Type = audit.LoginWrongPassword
	case reasonUnknownUser:
		event.Type = audit.LoginUnknownUser
	}
	s.record(event, e)
}

// RecordRefusal records that a request was refused before it got here: it could
// not be read. req is as far as it could be.
func (s *Service) RecordRefusal(t tenant.Tenant, req oauth.TokenRequest, origin tenant.Origin, err error) {
	event := s.tokenEvent(t, req, origin, s.clock.Now())
	event.Type = refusedType(req.GrantType)
	if e := oauth.AsError(err); e.Status < 500 {
		s.record(event, e)
	}
}

func (s *Service) record(event tenant.Event, e *oauth.Error) {
	event.Reason = e.Reason
	if event.Reason == "" {
		event.Reason = e.Code
	}
	event.Description = e.Description
	s.store.Record(event)
}
