-- Operations on many runs: what they match, and how far they are. Their work is a row of `work`.
CREATE TABLE bulk_operations (
    id           BLOB NOT NULL PRIMARY KEY,
    org_id       BLOB NOT NULL,
    env_id       BLOB NOT NULL,
    kind         smallint NOT NULL,
    name         text,
    created_by   text NOT NULL,
    created_at   bigint NOT NULL,
    functions    BLOB NOT NULL,
    queued_from  bigint NOT NULL,
    queued_until bigint NOT NULL,
    statuses     BLOB NOT NULL,
    search       text,
    status       smallint NOT NULL,
    total        bigint,
    succeeded    bigint NOT NULL,
    skipped      bigint NOT NULL,
    failed       bigint NOT NULL,
    position     BLOB,
    ended_at     bigint
);
CREATE INDEX bulk_operations_by_env ON bulk_operations (env_id, kind, id);

-- By which functions they are found.
CREATE TABLE bulk_functions (
    function_id  BLOB NOT NULL,
    operation_id BLOB NOT NULL,
    PRIMARY KEY (function_id, operation_id)
);
CREATE INDEX bulk_functions_by_operation ON bulk_functions (operation_id);
