package management

import (
	"net/http"

	"github.com/bulla-auth/bulla/internal/tenant"
)

// maxDeviceCredentials is how many credentials a list holds, whatever the paging
// (SEC-191).
const maxDeviceCredentials = 1000

// Types of device credentials; the wire's words for the two kinds of families.
const (
	publicKeyCredential = "public_key"
	reusableCredential  = "refresh_token"
	rotatingCredential  = "rotating_refresh_token"
)

func deviceCredentialResource() *resource {
	return &resource{
		name: "DeviceCredential",
		doc:  "A refresh token, as the device that holds it.",
		fields: []field{
			f("id", str(), "The refresh token's id").readOnly(),
			f("device_name", str(), "What the device called itself, else its user agent").readOnly(),
			f("device_id", str(), "The device's own id").readOnly(),
			f("type", oneOf(publicKeyCredential, reusableCredential, rotatingCredential), "Whether each use replaces the value").readOnly(),
			f("user_id", str(), "Whose it is").readOnly(),
			f("client_id", str(), "Who holds it").readOnly(),
		},
	}
}

// deviceCredentials list and end refresh tokens (management-endpoints.md §5).
func (a *API) deviceCredentials() group {
	credential := deviceCredentialResource()
	return group{tag: "device-credentials", operations: []operation{
		{
			method: http.MethodGet, path: "/device-credentials", title: "List device credentials",
			doc:    "At most 1000 credentials in all, whatever the paging. Delete and list again to go on. Rotating refresh tokens are listed by their own type.",
			scopes: []string{"read:device_credentials"},
			query: []field{
				f("user_id", str().atMost(300), "Only those of this user"),
				f("client_id", str().atMost(200), "Only those with this client"),
				f("type", oneOf(publicKeyCredential, reusableCredential, rotatingCredential), "Only this kind; with paging and no type, refresh_token"),
			},
			status: http.StatusOK, answer: paged(credential, listForm{key: "device_credentials"}),
			serve: (*call).listDeviceCredentials,
		},
		{
			method: http.MethodDelete, path: "/device-credentials/{id}", title: "Delete a device credential",
			doc:    "Ends the refresh token with its whole family at once. Deleting what is not there succeeds.",
			scopes: []string{"delete:device_credentials", "delete:current_user_device_credentials"},
			params: []field{f("id", str().chars(1, 64), "The refresh token's id")},
			status: http.StatusNoContent,
			serve: func(c *call) (any, error) {
				id := tenant.FamilyID(c.path["id"])
				if c.own {
					found, err := c.store.RefreshToken(c.ctx, c.t.ID, id)
					if err != nil {
						return nil, deleted(err)
					}
					if found.UserID != c.claims.Subject { // the same as missing (SEC-186)
						return nil, nil
					}
				}
				return nil, c.revoke(id)
			},
		},
	}}
}

func (c *call) listDeviceCredentials() (any, error) {
	filter := tenant.RefreshTokenFilter{UserID: c.query.text("user_id"), ClientID: c.query.text("client_id"), Now: c.now}
	kind := c.query.text("type")
	if kind == "" && c.form != whole {
		kind = reusableCredential
	}
	if kind != "" {
		rotating := kind == rotatingCredential
		filter.Rotating = &rotating
	}
	page := c.page
	if c.form == whole {
		page.Limit = maxDeviceCredentials
	}
	if kind == publicKeyCredential || page.Offset >= maxDeviceCredentials {
		return listing{items: []*object{}}, nil
	}
	page.Limit = min(page.Limit, maxDeviceCredentials-page.Offset)
	found, err := c.store.RefreshTokens(c.ctx, c.t.ID, filter, page)
	if err != nil {
		return nil, meaning(err, nil, nil)
	}
	l := listing{items: make([]*object, len(found.Items)), total: min(found.Total, maxDeviceCredentials)}
	for i, f := range found.Items {
		name := f.Device.Name
		if name == "" {
			name = f.Device.InitialUserAgent
		}
		kind := reusableCredential
		if f.Rotating {
			kind = rotatingCredential
		}
		l.items[i] = obj("id", string(f.ID), "device_name", name, "type", kind, "user_id", f.UserID, "client_id", f.ClientID)
	}
	return l, nil
}
