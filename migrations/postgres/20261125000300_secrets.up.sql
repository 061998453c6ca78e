-- Random secrets of this installation, sealed with a key that is derived from its configuration.
CREATE TABLE installation_secrets (
    purpose    text   NOT NULL PRIMARY KEY,
    nonce      bytea  NOT NULL,
    ciphertext bytea  NOT NULL,
    created_at bigint NOT NULL
);
