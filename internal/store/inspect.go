package store

import (
	"context"
	"fmt"
)

// Inspection is what the operator's doctor wants to know of a store.
type Inspection struct {
	// Engine is the database and its version.
	Engine string
	// Schema is the version of the schema.
	Schema int64
	// Rows are the rows of each table that has any, of all tenants together.
	Rows map[string]int64
}

// Inspect reads versions and, on the embedded database, every page: damage is an
// error that names it. It is not for the path of a request.
func (s *Store) Inspect(ctx context.Context) (Inspection, error) {
	name, version, damage := "PostgreSQL", `SELECT current_setting('server_version')`, ""
	if s.opts.URL == "" {
		name, version, damage = "SQLite", `SELECT sqlite_version()`, `PRAGMA quick_check(1)`
	}
	rows, err := s.read.query(ctx, version)
	engine, err := one(rows, err, scanOne[string])
	if err != nil {
		return Inspection{}, fmt.Errorf("read the engine's version: %w", err)
	}
	rows, err = s.read.query(ctx, `SELECT MAX(version_id) FROM schema_versions`)
	schema, err := one(rows, err, scanOne[int64])
	if err != nil {
		return Inspection{}, fmt.Errorf("read the schema's version: %w", err)
	}
	if damage != "" {
		rows, err := s.read.query(ctx, damage)
		found, err := one(rows, err, scanOne[string])
		if err != nil {
			return Inspection{}, fmt.Errorf("check the database file: %w", err)
		}
		if found != "ok" {
			return Inspection{}, fmt.Errorf("the database file is damaged (%s): restore a backup", found)
		}
	}
	counted, err := s.countRows(ctx)
	if err != nil {
		return Inspection{}, err
	}
	return Inspection{Engine: name + " " + engine, Schema: schema, Rows: counted}, nil
}

// countRows counts the rows of every table that belongs to a tenant, tenant by
// tenant.
func (s *Store) countRows(ctx context.Context) (map[string]int64, error) {
	list := `SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema() AND column_name = 'tenant_id'`
	if s.opts.URL == "" {
		list = `SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_id'`
	}
	rows, err := s.read.query(ctx, list)
	tables, err := all(rows, err, scanOne[string])
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	tenants, err := s.Tenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tenants: %w", err)
	}
	counted := make(map[string]int64, len(tables))
	for _, table := range tables {
		for _, t := range tenants {
			rows, err := s.read.query(ctx, `SELECT COUNT(*) FROM `+table+` WHERE tenant_id = $1`, t.ID)
			n, err := one(rows, err, scanOne[int64])
			if err != nil {
				return nil, fmt.Errorf("count %s: %w", table, err)
			}
			if n > 0 {
				counted[table] += n
			}
		}
	}
	return counted, nil
}
