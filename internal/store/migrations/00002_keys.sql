-- The first schema: no older binary exists.
-- +goose Up
CREATE TABLE signing_keys (
  tenant_id     TEXT NOT NULL,
  kid           TEXT NOT NULL,
  algorithm     TEXT NOT NULL,
  state         TEXT NOT NULL,
  private       TEXT NOT NULL,
  certificate   TEXT NOT NULL,
  public        TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  current_since BIGINT,
  current_until BIGINT,
  revoked_at    BIGINT,
  PRIMARY KEY (tenant_id, kid)
);
-- A version of a secret of the tenant, sealed by its data key (SEC-137).
CREATE TABLE secrets (
  tenant_id  TEXT NOT NULL,
  purpose    TEXT NOT NULL,
  version    BIGINT NOT NULL,
  sealed     TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, purpose, version)
);
