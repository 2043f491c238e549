-- An older binary runs beside this: it does not name the columns, whose defaults stand.
-- twinned: the live value was given out to two devices. twin_run: how many values
-- in a row were, up to it.
-- +goose Up
ALTER TABLE refresh_tokens ADD COLUMN twinned BIGINT NOT NULL DEFAULT 0;
ALTER TABLE refresh_tokens ADD COLUMN twin_run BIGINT NOT NULL DEFAULT 0;
