-- The first schema: no older binary exists.
-- +goose Up
CREATE TABLE consents (
  tenant_id  TEXT NOT NULL,
  id         TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  audience   TEXT NOT NULL,
  scopes     TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, user_id, client_id, audience)
);
CREATE INDEX consents_client ON consents (tenant_id, client_id);
CREATE INDEX consents_audience ON consents (tenant_id, audience);
