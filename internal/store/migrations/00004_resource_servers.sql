-- The first schema: no older binary exists.
-- +goose Up
CREATE TABLE resource_servers (
  tenant_id      TEXT NOT NULL,
  id             TEXT NOT NULL,
  identifier     TEXT NOT NULL,
  document       TEXT NOT NULL,
  signing_secret TEXT NOT NULL,
  created_at     BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, identifier)
);
CREATE TABLE client_grants (
  tenant_id    TEXT NOT NULL,
  id           TEXT NOT NULL,
  client_id    TEXT NOT NULL,
  audience     TEXT NOT NULL,
  subject_type TEXT NOT NULL,
  document     TEXT NOT NULL,
  epoch        BIGINT NOT NULL,
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, client_id, audience, subject_type)
);
CREATE INDEX client_grants_audience ON client_grants (tenant_id, audience);
