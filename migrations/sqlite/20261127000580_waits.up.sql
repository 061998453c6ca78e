-- What runs have waited for, and what they wait for now, in the order of the runs. Steps that run code are not in the first index and calls of apps
-- not in the second, so they pay nothing for them.
CREATE INDEX steps_waiting ON steps (env_id, run_id, step_id) WHERE kind IN (2, 3, 4, 5) AND details IS NOT NULL;
CREATE INDEX work_waiting ON work (env_id, run_id, step_id) WHERE kind IN (3, 4);
-- It served a list that knew no sleeps.
DROP INDEX waits_open;
