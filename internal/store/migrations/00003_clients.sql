-- The first schema: no older binary exists.
-- Configuration is kept as one document; the other columns are what lists
-- filter by (ADR 0003).
-- +goose Up
CREATE TABLE clients (
  tenant_id   TEXT NOT NULL,
  client_id   TEXT NOT NULL,
  name        TEXT NOT NULL,
  global      BIGINT NOT NULL,
  first_party BIGINT NOT NULL,
  app_type    TEXT NOT NULL,
  document    TEXT NOT NULL,
  secrets     TEXT NOT NULL,
  keys        TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, client_id)
);
CREATE INDEX clients_created ON clients (tenant_id, created_at, client_id);
