-- Lists that no index knew, so that they were read from end to end until a page was full.

-- Runs that did not end as most do, of an environment and of a function. They are few.
CREATE INDEX runs_ended_badly ON runs (env_id, status, id) WHERE status IN (4, 5, 6);
CREATE INDEX runs_of_function_ended_badly ON runs (function_id, status, id) WHERE status IN (4, 5, 6);

-- Runs that have not ended: each of them has something to do still.
CREATE INDEX work_by_env ON work (env_id, run_id);

-- Events that senders sent, between which there may be any number of the server's own.
CREATE INDEX events_sent ON events (env_id, id) WHERE NOT internal;

-- Functions of an app in the order of their list.
DROP INDEX functions_by_app;
CREATE INDEX functions_by_app ON functions (app_id, slug);
