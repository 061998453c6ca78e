DROP TABLE request_keys;
ALTER TABLE runs DROP COLUMN rerun_input;
ALTER TABLE runs DROP COLUMN rerun_step;
