-- How a function is paused, if it is: since when, by whom, and what that holds back.
ALTER TABLE functions ADD COLUMN paused_at bigint;
ALTER TABLE functions ADD COLUMN paused_by text;
ALTER TABLE functions ADD COLUMN pause_reason text;
ALTER TABLE functions ADD COLUMN pause_in_flight smallint;
ALTER TABLE functions ADD COLUMN pause_new_events smallint;
ALTER TABLE functions ADD COLUMN resumes_at bigint;

-- Work that a pause holds back is due beyond all times. No other work is in this index, or pays for it.
CREATE INDEX work_held ON work (function_id, id) WHERE due_at >= 1000000000000000;
