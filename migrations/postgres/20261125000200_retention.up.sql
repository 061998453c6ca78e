-- For how many days what has ended is kept: null as the settings of the server say, 0 for ever.
ALTER TABLE environments ADD COLUMN retention_days integer;

-- Work that one process at a time does now and then: who is doing it, until when that counts, and when it was last done.
CREATE TABLE housekeeping (
    name    text   NOT NULL PRIMARY KEY,
    owner   uuid   NOT NULL,
    until   bigint NOT NULL,
    done_at bigint NOT NULL
);

-- Runs of several events: each of these events is kept as long as the run is.
CREATE INDEX runs_batched ON runs (env_id, id) WHERE more_events IS NOT NULL;
