-- Old and new binaries can run beside each other: what an old one signs leaves
-- NULL, which stands for the longest lifetime there is.
-- +goose Up
-- The longest life of a token the key has signed, in milliseconds: it is needed
-- for so long after its last signature (SEC-141).
ALTER TABLE signing_keys ADD COLUMN longest_lifetime BIGINT;
