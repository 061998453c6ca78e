DROP TABLE event_rollups;
ALTER TABLE change_log DROP COLUMN event_names;
