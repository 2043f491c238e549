-- The first schema: no older binary exists.
-- +goose Up
CREATE TABLE tenants (
  tenant_id      TEXT PRIMARY KEY,
  domain         TEXT NOT NULL UNIQUE,
  settings       TEXT NOT NULL,
  data_key       TEXT NOT NULL,
  config_version BIGINT NOT NULL,
  created_at     BIGINT NOT NULL
);
