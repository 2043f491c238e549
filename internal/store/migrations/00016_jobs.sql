-- An older binary runs beside this and leaves the jobs alone.
-- A job is work that a request has asked for and that goes on after the answer;
-- what it still has to do is what it has not done, so a crash costs nothing.
-- +goose Up
CREATE TABLE jobs (
  tenant_id   TEXT NOT NULL,
  id          TEXT NOT NULL,
  type        TEXT NOT NULL,
  filter      TEXT NOT NULL,
  event       TEXT NOT NULL,
  reason      TEXT NOT NULL,
  total       BIGINT NOT NULL,
  done        BIGINT NOT NULL,
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL,
  finished_at BIGINT,
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX jobs_open ON jobs (tenant_id, updated_at) WHERE finished_at IS NULL;
