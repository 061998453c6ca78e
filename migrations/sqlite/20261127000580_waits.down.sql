CREATE INDEX waits_open ON waits (env_id, since, id) WHERE step_id IS NOT NULL;
DROP INDEX work_waiting;
DROP INDEX steps_waiting;
