-- An older binary runs beside this: to it a test tenant is a tenant like others.
-- How far a test tenant's clock is ahead, in milliseconds; NULL of all others.
-- +goose Up
ALTER TABLE tenants ADD COLUMN advanced BIGINT;
