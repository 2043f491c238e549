-- The first schema: no older binary exists.
-- A family is one row, updated in place (D4). A rotation writes no column that
-- an index holds, so it moves no index entry; the indexes are paid for when a
-- family is issued and when it ends. A live row is in …_live, an ended one in
-- …_ended: what ended does not slow down the count of what lives.
-- +goose Up
CREATE TABLE refresh_tokens (
  tenant_id         TEXT NOT NULL,
  id                TEXT NOT NULL,
  client_id         TEXT NOT NULL,
  user_id           TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  consent_id        TEXT NOT NULL,
  audience          TEXT NOT NULL,
  scopes            TEXT NOT NULL,
  resource_servers  TEXT NOT NULL,
  rotating          BIGINT NOT NULL,
  generation        BIGINT NOT NULL,
  key_version       BIGINT NOT NULL,
  used              BIGINT NOT NULL,
  attempt           TEXT NOT NULL,
  previous_attempt  TEXT NOT NULL,
  repeats           BIGINT NOT NULL,
  created_at        BIGINT NOT NULL,
  rotated_at        BIGINT,
  last_exchanged_at BIGINT,
  idle_expires_at   BIGINT,
  expires_at        BIGINT,
  revoked_at        BIGINT,
  revoked_reason    TEXT NOT NULL,
  auth_time         BIGINT,
  with_auth_time    BIGINT NOT NULL,
  amr               TEXT NOT NULL,
  connection        TEXT NOT NULL,
  grant_type        TEXT NOT NULL,
  device            TEXT NOT NULL,
  metadata          TEXT NOT NULL,
  confirmation      TEXT NOT NULL,
  organization      TEXT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX refresh_tokens_live ON refresh_tokens (tenant_id, user_id, client_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX refresh_tokens_ended ON refresh_tokens (tenant_id, user_id, client_id, created_at, id) WHERE revoked_at IS NOT NULL;
CREATE INDEX refresh_tokens_client ON refresh_tokens (tenant_id, client_id, created_at, id);
CREATE INDEX refresh_tokens_audience ON refresh_tokens (tenant_id, audience);
CREATE INDEX refresh_tokens_consent ON refresh_tokens (tenant_id, consent_id) WHERE consent_id <> '';
CREATE INDEX refresh_tokens_session ON refresh_tokens (tenant_id, session_id) WHERE session_id <> '';
