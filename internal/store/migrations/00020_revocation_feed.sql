-- An older binary runs beside this: what it ends has no number, so that followers
-- hear of it only when they begin anew. Upgrade all before anybody follows.
-- Numbers what ends access tokens (D6).
-- +goose Up
CREATE TABLE revocation_counters (
  tenant_id TEXT PRIMARY KEY,
  epoch     BIGINT NOT NULL,
  n         BIGINT NOT NULL
);
-- Whom an entry is for: a JSON array of APIs; NULL means that nobody knows.
ALTER TABLE denials ADD COLUMN audiences TEXT;
ALTER TABLE denials ADD COLUMN n BIGINT NOT NULL DEFAULT 0;
ALTER TABLE marks ADD COLUMN n BIGINT NOT NULL DEFAULT 0;
CREATE INDEX denials_n ON denials (tenant_id, n);
CREATE INDEX marks_n ON marks (tenant_id, n);
