-- The first schema: no older binary exists.
-- What makes access tokens that are out inactive (D5), and what was used up.
-- +goose Up
CREATE TABLE denials (
  tenant_id  TEXT NOT NULL,
  hash       TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, hash)
);
CREATE INDEX denials_expires ON denials (tenant_id, expires_at);
CREATE TABLE marks (
  tenant_id  TEXT NOT NULL,
  kind       TEXT NOT NULL,
  id         TEXT NOT NULL,
  not_before BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, kind, id)
);
CREATE INDEX marks_expires ON marks (tenant_id, expires_at);
CREATE TABLE assertions (
  tenant_id  TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  hash       TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, client_id, hash)
);
CREATE INDEX assertions_expires ON assertions (tenant_id, expires_at);
