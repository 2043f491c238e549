-- Old and new binaries can run beside each other: old ones do not look at it.
-- +goose Up
-- The keys of the first key set that was ever served: no verifier can hold a
-- set without them (SEC-141). Of the tenants there are nobody knows; theirs is
-- empty, which spares no key its publication time.
CREATE TABLE key_sets (
  tenant_id TEXT NOT NULL,
  kids      TEXT NOT NULL,
  PRIMARY KEY (tenant_id)
);
INSERT INTO key_sets (tenant_id, kids) SELECT tenant_id, '[]' FROM tenants;
