-- The first schema: no older binary exists.
-- Only hashes of the values that browsers hold are here (SEC-47, SEC-151).
-- +goose Up
CREATE TABLE sessions (
  tenant_id        TEXT NOT NULL,
  id               TEXT NOT NULL,
  hash             TEXT NOT NULL,
  user_id          TEXT NOT NULL,
  connection       TEXT NOT NULL,
  authenticated_at BIGINT NOT NULL,
  amr              TEXT NOT NULL,
  created_at       BIGINT NOT NULL,
  last_used_at     BIGINT,
  idle_expires_at  BIGINT NOT NULL,
  expires_at       BIGINT NOT NULL,
  ended_at         BIGINT,
  clients          TEXT NOT NULL,
  device           TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, hash)
);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id);
CREATE TABLE login_transactions (
  tenant_id  TEXT NOT NULL,
  id         TEXT NOT NULL,
  binding    TEXT NOT NULL,
  request    TEXT NOT NULL,
  session_id TEXT NOT NULL,
  user_id    TEXT NOT NULL,
  revision   BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX login_transactions_expires ON login_transactions (tenant_id, expires_at);
CREATE TABLE codes (
  tenant_id   TEXT NOT NULL,
  hash        TEXT NOT NULL,
  user_id     TEXT NOT NULL,
  client_id   TEXT NOT NULL,
  document    TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  redeemed_at BIGINT,
  family_id   TEXT NOT NULL,
  PRIMARY KEY (tenant_id, hash)
);
CREATE INDEX codes_user ON codes (tenant_id, user_id);
CREATE INDEX codes_expires ON codes (tenant_id, expires_at);
CREATE TABLE tickets (
  tenant_id  TEXT NOT NULL,
  hash       TEXT NOT NULL,
  purpose    TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT,
  PRIMARY KEY (tenant_id, hash)
);
