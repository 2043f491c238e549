-- Old and new binaries can run beside each other: an old one only adds a next
-- key where it has seen none, and hears that its place is taken.
-- +goose Up
-- A tenant has at most one current and one next key of an algorithm, whatever
-- several nodes do at once (SEC-141).
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (tenant_id, algorithm) WHERE state = 'current';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (tenant_id, algorithm) WHERE state = 'next';
