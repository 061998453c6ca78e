-- Back to one table each, by copying; without other writers.
CREATE TABLE events_plain (LIKE events);
INSERT INTO events_plain SELECT * FROM events;
DROP TABLE events;
ALTER TABLE events_plain RENAME TO events;
ALTER TABLE events ADD PRIMARY KEY (id);
CREATE INDEX events_by_env ON events (env_id, id);
CREATE INDEX events_by_name ON events (env_id, name, id);
CREATE INDEX events_late ON events (env_id, name, received_at) WHERE late;

CREATE TABLE runs_plain (LIKE runs);
INSERT INTO runs_plain SELECT * FROM runs;
DROP TABLE runs;
ALTER TABLE runs_plain RENAME TO runs;
ALTER TABLE runs ADD PRIMARY KEY (id);
CREATE INDEX runs_by_env ON runs (env_id, id);
CREATE INDEX runs_by_function ON runs (function_id, id);
CREATE INDEX runs_by_event ON runs (event_id);
CREATE INDEX runs_batched ON runs (env_id, id) WHERE more_events IS NOT NULL;

CREATE TABLE steps_plain (LIKE steps);
INSERT INTO steps_plain SELECT * FROM steps;
DROP TABLE steps;
ALTER TABLE steps_plain RENAME TO steps;
ALTER TABLE steps ADD PRIMARY KEY (run_id, step_id);

CREATE TABLE failed_attempts_plain (LIKE failed_attempts);
INSERT INTO failed_attempts_plain SELECT * FROM failed_attempts;
DROP TABLE failed_attempts;
ALTER TABLE failed_attempts_plain RENAME TO failed_attempts;
ALTER TABLE failed_attempts ADD PRIMARY KEY (run_id, step_id, attempt, failed_at);
