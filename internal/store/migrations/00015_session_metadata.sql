-- An older binary runs beside this: it does not name the column, whose default stands.
-- +goose Up
ALTER TABLE sessions ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
