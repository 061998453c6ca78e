DROP TABLE rollups;
DROP TABLE rollup_position;
DROP INDEX change_log_by_position;
ALTER TABLE change_log DROP COLUMN measures;
