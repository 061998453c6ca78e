-- The list of open waits of an environment. Cancel rules have no step and are not in it, so runs that have some pay nothing for it.
CREATE INDEX waits_open ON waits (env_id, since, id) WHERE step_id IS NOT NULL;
