-- The first schema: no older binary exists.
-- +goose Up
CREATE TABLE connections (
  tenant_id  TEXT NOT NULL,
  id         TEXT NOT NULL,
  name       TEXT NOT NULL,
  strategy   TEXT NOT NULL,
  document   TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);
