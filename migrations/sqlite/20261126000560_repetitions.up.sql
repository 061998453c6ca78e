-- The runs that repeat a run. No other run is in this index, or pays for it.
CREATE INDEX runs_repeated ON runs (original_id, id) WHERE original_id IS NOT NULL;
