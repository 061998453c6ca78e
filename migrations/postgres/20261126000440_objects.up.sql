-- What a step asked for, as JSON, and the event that ended it: rows of waits and work are gone by the time somebody looks.
ALTER TABLE steps ADD COLUMN details bytea;
ALTER TABLE steps ADD COLUMN event_id uuid;
