-- Which replay has started a run; and how many runs a replay starts in a second.
ALTER TABLE runs ADD COLUMN replay_id BLOB;
CREATE INDEX runs_replayed ON runs (replay_id, id) WHERE replay_id IS NOT NULL;
ALTER TABLE bulk_operations ADD COLUMN rate_per_second integer;
