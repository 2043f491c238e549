-- Old and new binaries can run beside each other: old ones do not count.
-- +goose Up
-- How many tokens a key has signed that end in the same hour: what its removal
-- would cost (SEC-142). Nodes add their counts once a minute.
CREATE TABLE signatures (
  tenant_id  TEXT NOT NULL,
  kid        TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  signed     BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, kid, expires_at)
);
