-- Operations on many runs: what they match, and how far they are. Their work is a row of `work`.
CREATE TABLE bulk_operations (
    id           uuid NOT NULL PRIMARY KEY,
    org_id       uuid NOT NULL,
    env_id       uuid NOT NULL,
    kind         smallint NOT NULL,
    name         text,
    created_by   text NOT NULL,
    created_at   bigint NOT NULL,
    functions    bytea NOT NULL,
    queued_from  bigint NOT NULL,
    queued_until bigint NOT NULL,
    statuses     bytea NOT NULL,
    search       text,
    status       smallint NOT NULL,
    total        bigint,
    succeeded    bigint NOT NULL,
    skipped      bigint NOT NULL,
    failed       bigint NOT NULL,
    position     uuid,
    ended_at     bigint
);
CREATE INDEX bulk_operations_by_env ON bulk_operations (env_id, kind, id);

-- By which functions they are found.
CREATE TABLE bulk_functions (
    function_id  uuid NOT NULL,
    operation_id uuid NOT NULL,
    PRIMARY KEY (function_id, operation_id)
);
CREATE INDEX bulk_functions_by_operation ON bulk_functions (operation_id);
