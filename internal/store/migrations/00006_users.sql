-- The first schema: no older binary exists.
-- login_email and login_username are set for database users alone: what one
-- signs in with is unique in its connection, what another provider says is not.
-- +goose Up
CREATE TABLE users (
  tenant_id              TEXT NOT NULL,
  user_id                TEXT NOT NULL,
  connection             TEXT NOT NULL,
  login_email            TEXT,
  login_username         TEXT,
  email                  TEXT NOT NULL,
  email_verified         BIGINT NOT NULL,
  username               TEXT NOT NULL,
  phone_number           TEXT NOT NULL,
  phone_verified         BIGINT NOT NULL,
  name                   TEXT NOT NULL,
  nickname               TEXT NOT NULL,
  given_name             TEXT NOT NULL,
  family_name            TEXT NOT NULL,
  picture                TEXT NOT NULL,
  blocked                BIGINT NOT NULL,
  user_metadata          TEXT NOT NULL,
  app_metadata           TEXT NOT NULL,
  identities             TEXT NOT NULL,
  attributes             TEXT NOT NULL,
  administrator          BIGINT NOT NULL,
  password_hash          TEXT NOT NULL,
  version                BIGINT NOT NULL,
  logins_count           BIGINT NOT NULL,
  last_ip                TEXT NOT NULL,
  last_login_at          BIGINT,
  last_password_reset_at BIGINT,
  created_at             BIGINT NOT NULL,
  updated_at             BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  UNIQUE (tenant_id, connection, login_email),
  UNIQUE (tenant_id, connection, login_username)
);
CREATE INDEX users_email ON users (tenant_id, email);
CREATE INDEX users_created ON users (tenant_id, created_at, user_id);
