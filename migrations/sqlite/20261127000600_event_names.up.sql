-- Events by name over time. A transaction tells of the names of its events in its row of the change log, beside its other figures.
-- Servers of before leave that empty, and do not read it: their events are in the figures of the environment alone.
ALTER TABLE change_log ADD COLUMN event_names blob;

-- A row for each bucket and name of which an event came, without those that the server makes. `width` is in seconds, `start` in ms. Which
-- names are counted on a day is told by the rows of the day.
CREATE TABLE event_rollups (
    env_id blob    NOT NULL,
    name   text    NOT NULL,
    width  integer NOT NULL,
    start  integer NOT NULL,
    events integer NOT NULL,
    PRIMARY KEY (env_id, name, width, start)
);
CREATE INDEX event_rollups_by_time ON event_rollups (env_id, width, start, name);
