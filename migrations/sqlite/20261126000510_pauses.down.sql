DROP INDEX work_held;
ALTER TABLE functions DROP COLUMN resumes_at;
ALTER TABLE functions DROP COLUMN pause_new_events;
ALTER TABLE functions DROP COLUMN pause_in_flight;
ALTER TABLE functions DROP COLUMN pause_reason;
ALTER TABLE functions DROP COLUMN paused_by;
ALTER TABLE functions DROP COLUMN paused_at;
