-- Attempts to register an app, those that failed too, also before an app was known. Servers of before write those that changed something.
ALTER TABLE syncs ALTER COLUMN app_id DROP NOT NULL;
ALTER TABLE syncs ALTER COLUMN url DROP NOT NULL;
ALTER TABLE syncs ADD COLUMN status smallint NOT NULL DEFAULT 1;
ALTER TABLE syncs ADD COLUMN kind smallint NOT NULL DEFAULT 2;
ALTER TABLE syncs ADD COLUMN error_code text;
ALTER TABLE syncs ADD COLUMN error text;
ALTER TABLE syncs ADD COLUMN framework text;
ALTER TABLE syncs ADD COLUMN platform text;
ALTER TABLE syncs ADD COLUMN app_version text;
ALTER TABLE syncs ADD COLUMN added bytea;
ALTER TABLE syncs ADD COLUMN changed bytea;
ALTER TABLE syncs ADD COLUMN removed bytea;
ALTER TABLE syncs ADD COLUMN last_at bigint;
DROP INDEX syncs_by_app;
CREATE INDEX syncs_by_app ON syncs (app_id, created_at, id);
CREATE INDEX syncs_by_env ON syncs (env_id, created_at, id);
CREATE INDEX syncs_by_status ON syncs (env_id, status, created_at, id);
CREATE INDEX syncs_without_app ON syncs (env_id, created_at, id) WHERE app_id IS NULL;

ALTER TABLE apps ADD COLUMN platform text;
ALTER TABLE apps ADD COLUMN error_code text;
ALTER TABLE apps ADD COLUMN seen_at bigint;
