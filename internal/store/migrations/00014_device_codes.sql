-- Adds tables: an older binary beside this one does not touch them, but leaves
-- the rows of a user or client that it deletes, which then lead nowhere.
-- Both codes are kept as hashes (SEC-66). A poll writes polled_at, which no index holds.
-- +goose Up
CREATE TABLE device_codes (
  tenant_id   TEXT NOT NULL,
  hash        TEXT NOT NULL,
  user_code   TEXT NOT NULL,
  client_id   TEXT NOT NULL,
  user_id     TEXT NOT NULL,
  decision    TEXT NOT NULL,
  document    TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  decided_at  BIGINT,
  polled_at   BIGINT,
  redeemed_at BIGINT,
  told        BIGINT NOT NULL,
  family_id   TEXT NOT NULL,
  PRIMARY KEY (tenant_id, hash),
  UNIQUE (tenant_id, user_code)
);
CREATE INDEX device_codes_user ON device_codes (tenant_id, user_id) WHERE user_id <> '';
CREATE INDEX device_codes_client ON device_codes (tenant_id, client_id);
CREATE INDEX device_codes_expires ON device_codes (tenant_id, expires_at);
-- Wrong user codes: how many one browser or source has typed until expires_at.
CREATE TABLE code_tries (
  tenant_id  TEXT NOT NULL,
  who        TEXT NOT NULL,
  count      BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, who)
);
CREATE INDEX code_tries_expires ON code_tries (tenant_id, expires_at);
