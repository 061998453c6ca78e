-- Random secrets of this installation, sealed with a key that is derived from its configuration.
CREATE TABLE installation_secrets (
    purpose    text   NOT NULL PRIMARY KEY,
    nonce      blob   NOT NULL,
    ciphertext blob   NOT NULL,
    created_at integer NOT NULL
);
