DROP INDEX functions_by_app;
CREATE INDEX functions_by_app ON functions (app_id);
DROP INDEX events_sent;
DROP INDEX work_by_env;
DROP INDEX runs_of_function_ended_badly;
DROP INDEX runs_ended_badly;
