-- The first schema: no older binary exists.
-- What the readiness probe writes: a store that only reads is not ready (REL-14).
-- +goose Up
CREATE TABLE probes (
  tenant_id TEXT PRIMARY KEY,
  at        BIGINT NOT NULL
);
