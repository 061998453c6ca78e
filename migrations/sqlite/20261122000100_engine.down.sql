DROP TABLE idempotency;
DROP TABLE work;
DROP TABLE wait_paths;
DROP TABLE waits;
DROP TABLE failed_attempts;
DROP TABLE steps;
DROP TABLE runs;
DROP TABLE events;
