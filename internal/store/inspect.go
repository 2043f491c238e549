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
	return Inspection{Engine: name + " " + engine, Schema: schema}, nil
}
