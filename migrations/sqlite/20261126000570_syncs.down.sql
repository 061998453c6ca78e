ALTER TABLE apps DROP COLUMN seen_at;
ALTER TABLE apps DROP COLUMN error_code;
ALTER TABLE apps DROP COLUMN platform;

-- A server of before knows only those that changed something.
DROP INDEX syncs_without_app;
DROP INDEX syncs_by_status;
DROP INDEX syncs_by_env;
DROP INDEX syncs_by_app;
ALTER TABLE syncs RENAME TO syncs_after;
CREATE TABLE syncs (
    id             BLOB PRIMARY KEY,
    org_id         BLOB NOT NULL,
    env_id         BLOB NOT NULL,
    app_id         BLOB NOT NULL,
    url            text NOT NULL,
    sdk            text NOT NULL,
    function_count integer NOT NULL,
    created_at     bigint NOT NULL
);
INSERT INTO syncs (id, org_id, env_id, app_id, url, sdk, function_count, created_at)
SELECT id, org_id, env_id, app_id, url, sdk, function_count, created_at FROM syncs_after
WHERE status = 1 AND app_id IS NOT NULL AND url IS NOT NULL;
DROP TABLE syncs_after;
CREATE INDEX syncs_by_app ON syncs (app_id, created_at);
