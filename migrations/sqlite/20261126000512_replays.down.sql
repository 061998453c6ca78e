ALTER TABLE bulk_operations DROP COLUMN rate_per_second;
DROP INDEX runs_replayed;
ALTER TABLE runs DROP COLUMN replay_id;
