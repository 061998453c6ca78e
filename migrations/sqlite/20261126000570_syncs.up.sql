-- Attempts to register an app, those that failed too, also before an app was known. Servers of before write those that changed something.
-- SQLite cannot take NOT NULL from a column, so the table, which is small, is made anew.
DROP INDEX syncs_by_app;
ALTER TABLE syncs RENAME TO syncs_before;
CREATE TABLE syncs (
    id             BLOB NOT NULL PRIMARY KEY,
    org_id         BLOB NOT NULL,
    env_id         BLOB NOT NULL,
    app_id         BLOB,
    url            text,
    sdk            text NOT NULL,
    function_count integer NOT NULL,
    created_at     bigint NOT NULL,
    status         smallint NOT NULL DEFAULT 1,
    kind           smallint NOT NULL DEFAULT 2,
    error_code     text,
    error          text,
    framework      text,
    platform       text,
    app_version    text,
    added          BLOB,
    changed        BLOB,
    removed        BLOB,
    last_at        bigint
);
INSERT INTO syncs (id, org_id, env_id, app_id, url, sdk, function_count, created_at)
SELECT id, org_id, env_id, app_id, url, sdk, function_count, created_at FROM syncs_before;
DROP TABLE syncs_before;
CREATE INDEX syncs_by_app ON syncs (app_id, created_at, id);
CREATE INDEX syncs_by_env ON syncs (env_id, created_at, id);
CREATE INDEX syncs_by_status ON syncs (env_id, status, created_at, id);
CREATE INDEX syncs_without_app ON syncs (env_id, created_at, id) WHERE app_id IS NULL;

ALTER TABLE apps ADD COLUMN platform text;
ALTER TABLE apps ADD COLUMN error_code text;
ALTER TABLE apps ADD COLUMN seen_at bigint;
