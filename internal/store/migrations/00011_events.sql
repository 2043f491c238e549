-- The first schema: no older binary exists.
-- Most events are a machine's token and name neither user nor family: they pay
-- for one index only.
-- +goose Up
CREATE TABLE events (
  tenant_id     TEXT NOT NULL,
  id            TEXT NOT NULL,
  at            BIGINT NOT NULL,
  type          TEXT NOT NULL,
  description   TEXT NOT NULL,
  reason        TEXT NOT NULL,
  client_id     TEXT NOT NULL,
  client_name   TEXT NOT NULL,
  connection    TEXT NOT NULL,
  connection_id TEXT NOT NULL,
  user_id       TEXT NOT NULL,
  user_name     TEXT NOT NULL,
  audience      TEXT NOT NULL,
  scope         TEXT NOT NULL,
  strategy      TEXT NOT NULL,
  strategy_type TEXT NOT NULL,
  session_id    TEXT NOT NULL,
  family_id     TEXT NOT NULL,
  generation    BIGINT NOT NULL,
  ip            TEXT NOT NULL,
  user_agent    TEXT NOT NULL,
  host          TEXT NOT NULL,
  sdk           TEXT NOT NULL,
  details       TEXT NOT NULL,
  count         BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX events_user ON events (tenant_id, user_id, id) WHERE user_id <> '';
CREATE INDEX events_family ON events (tenant_id, family_id, id) WHERE family_id <> '';
