DROP INDEX runs_batched;
DROP TABLE housekeeping;
ALTER TABLE environments DROP COLUMN retention_days;
