ALTER TABLE apps DROP COLUMN seen_at;
ALTER TABLE apps DROP COLUMN error_code;
ALTER TABLE apps DROP COLUMN platform;

-- A server of before knows only those that changed something.
DELETE FROM syncs WHERE status <> 1 OR app_id IS NULL OR url IS NULL;
DROP INDEX syncs_without_app;
DROP INDEX syncs_by_status;
DROP INDEX syncs_by_env;
DROP INDEX syncs_by_app;
CREATE INDEX syncs_by_app ON syncs (app_id, created_at);
ALTER TABLE syncs DROP COLUMN last_at;
ALTER TABLE syncs DROP COLUMN removed;
ALTER TABLE syncs DROP COLUMN changed;
ALTER TABLE syncs DROP COLUMN added;
ALTER TABLE syncs DROP COLUMN app_version;
ALTER TABLE syncs DROP COLUMN platform;
ALTER TABLE syncs DROP COLUMN framework;
ALTER TABLE syncs DROP COLUMN error;
ALTER TABLE syncs DROP COLUMN error_code;
ALTER TABLE syncs DROP COLUMN kind;
ALTER TABLE syncs DROP COLUMN status;
ALTER TABLE syncs ALTER COLUMN url SET NOT NULL;
ALTER TABLE syncs ALTER COLUMN app_id SET NOT NULL;
