package tenant

// Founding is all that makes a new tenant, written in one commit: either the
// whole tenant is there or nothing is.
type Founding struct {
	Tenant          Tenant
	ResourceServers []ResourceServer
	Connections     []Connection
	Clients         []Client
	Keys            []SigningKey
	Secrets         []Secret
	Tickets         []Ticket
	Event           Event
}
