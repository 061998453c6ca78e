-- Events by name over time. A transaction tells of the names of its events in its row of the change log, beside its other figures.
-- Servers of before leave that empty, and do not read it: their events are in the figures of the environment alone.
ALTER TABLE change_log ADD COLUMN event_names bytea;

-- A row for each bucket and name of which an event came, without those that the server makes. `width` is in seconds, `start` in ms. Which
-- names are counted on a day is told by the rows of the day.
CREATE TABLE event_rollups (
    env_id uuid    NOT NULL,
    name   text    NOT NULL,
    width  integer NOT NULL,
    start  bigint  NOT NULL,
    events bigint  NOT NULL,
    PRIMARY KEY (env_id, name, width, start)
) WITH (fillfactor = 70);
CREATE INDEX event_rollups_by_time ON event_rollups (env_id, width, start, name);
