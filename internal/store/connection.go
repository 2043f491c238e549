package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/bulla-auth/bulla/internal/tenant"
)

const connectionColumns = `tenant_id, document, created_at`

func scanConnection(row scanner) (tenant.Connection, error) {
	var (
		tenantID string
		doc      json.RawMessage
		created  time.Time
	)
	if err := row.Scan(&tenantID, rawOf{&doc}, instant{&created}); err != nil {
		return tenant.Connection{}, err
	}
	c, err := tenant.ParseConnection(tenantID, doc)
	c.CreatedAt = created
	return c, err
}

// Connection finds a connection by name, from the cache under t's configuration
// version.
func (s *Store) Connection(ctx context.Context, t tenant.Tenant, name string) (tenant.Connection, error) {
	return cached(s, t, "connection", name, func() (tenant.Connection, error) {
		rows, err := s.read.query(ctx, `SELECT `+connectionColumns+` FROM connections WHERE tenant_id = $1 AND name = $2`, t.ID, name)
		return one(rows, err, scanConnection)
	})
}

// ConnectionByID finds a connection by its id.
func (s *Store) ConnectionByID(ctx context.Context, tenantID, id string) (tenant.Connection, error) {
	return connectionByID(ctx, s.read, tenantID, id)
}

func connectionByID(ctx context.Context, run runner, tenantID, id string) (tenant.Connection, error) {
	rows, err := run.query(ctx, `SELECT `+connectionColumns+` FROM connections WHERE tenant_id = $1 AND id = $2`, tenantID, id)
	return one(rows, err, scanConnection)
}

// ConnectionsFor lists the connections enabled for a client, oldest first, from
// the cache under t's configuration version.
func (s *Store) ConnectionsFor(ctx context.Context, t tenant.Tenant, clientID string) ([]tenant.Connection, error) {
	every, err := cached(s, t, "connections", "", func() ([]tenant.Connection, error) {
		rows, err := s.read.query(ctx, `
			SELECT `+connectionColumns+` FROM connections WHERE tenant_id = $1 ORDER BY created_at, id`, t.ID)
		return all(rows, err, scanConnection)
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(every), func(c tenant.Connection) bool { return !c.EnabledFor(clientID) }), nil
}

// Connections lists connections, oldest first.
func (s *Store) Connections(ctx context.Context, tenantID string, f tenant.ConnectionFilter, p tenant.Page) (tenant.List[tenant.Connection], error) {
	w := newWhere(tenantID)
	w.equal("name", f.Name)
	w.in("strategy", f.Strategies)
	return list(ctx, s.read, listing[tenant.Connection]{
		columns: connectionColumns, table: "connections", key: createdThenID("id"), scan: scanConnection,
		position: func(c tenant.Connection) []string { return age(c.CreatedAt.UnixMilli(), c.ID) },
	}, w, p)
}

// CreateConnection inserts a connection; ErrExists when its id or name is taken.
func (s *Store) CreateConnection(ctx context.Context, c tenant.Connection, e tenant.Event) error {
	return s.write(ctx, c.TenantID, "config", func(tx *Tx) error {
		if err := tx.insertConnection(c); err != nil {
			return err
		}
		return tx.configured(c.TenantID, e)
	})
}

func (tx *Tx) insertConnection(c tenant.Connection) error {
	doc, err := document(c, c.Document)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO connections (tenant_id, id, name, strategy, document, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		c.TenantID, c.ID, c.Name, c.Strategy, doc, millis(c.CreatedAt))
	return err
}

// UpdateConnection writes what change returns. A name never changes.
func (s *Store) UpdateConnection(ctx context.Context, tenantID, id string, change func(tenant.Connection) (tenant.Connection, error), e tenant.Event) (tenant.Connection, error) {
	return written(ctx, s, tenantID, "config", func(tx *Tx, out *tenant.Connection) error {
		old, err := connectionByID(tx.ctx, tx.run, tenantID, id)
		if err != nil {
			return err
		}
		c, err := change(old)
		if err != nil {
			return err
		}
		if *out, err = tx.saveConnection(tenantID, id, c); err != nil {
			return err
		}
		out.CreatedAt = old.CreatedAt
		return tx.configured(tenantID, e)
	})
}

func (tx *Tx) saveConnection(tenantID, id string, c tenant.Connection) (tenant.Connection, error) {
	doc, err := document(c, c.Document)
	if err != nil {
		return tenant.Connection{}, err
	}
	out, err := tenant.ParseConnection(tenantID, json.RawMessage(doc))
	if err != nil {
		return tenant.Connection{}, err
	}
	return out, tx.must(`
		UPDATE connections SET strategy = $3, document = $4 WHERE tenant_id = $1 AND id = $2`, tenantID, id, out.Strategy, doc)
}

// disableClient takes a client that is gone out of every connection.
func (tx *Tx) disableClient(tenantID, clientID string) error {
	rows, err := tx.query(`SELECT `+connectionColumns+` FROM connections WHERE tenant_id = $1`, tenantID)
	connections, err := all(rows, err, scanConnection)
	if err != nil {
		return err
	}
	for _, c := range connections {
		if !c.EnabledFor(clientID) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(c.EnabledClients), func(id string) bool { return id == clientID })
		members := make(map[string]json.RawMessage)
		if err := json.Unmarshal(c.Document, &members); err != nil {
			return err
		}
		members["enabled_clients"] = json.RawMessage(jsonText(rest))
		c.Document = json.RawMessage(jsonText(members))
		if _, err := tx.saveConnection(tenantID, c.ID, c); err != nil {
			return err
		}
	}
	return nil
}

// DeleteConnection deletes a connection and its users, each with all that hangs
// on it.
func (s *Store) DeleteConnection(ctx context.Context, d tenant.Deletion) error {
	return s.write(ctx, d.TenantID, "config", func(tx *Tx) error {
		c, err := connectionByID(tx.ctx, tx.run, d.TenantID, d.ID)
		if err != nil {
			return err
		}
		rows, err := tx.query(`SELECT user_id FROM users WHERE tenant_id = $1 AND connection = $2`, d.TenantID, c.Name)
		users, err := all(rows, err, scanOne[string])
		if err != nil {
			return err
		}
		for _, id := range users {
			if err := tx.endUser(d, id); err != nil {
				return err
			}
		}
		if err := tx.must(`DELETE FROM connections WHERE tenant_id = $1 AND id = $2`, d.TenantID, d.ID); err != nil {
			return err
		}
		return tx.configured(d.TenantID, d.Event)
	})
}
