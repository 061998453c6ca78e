-- Third step: what is there becomes the first partition of a table of the same name. No row is read or moved, because the constraint says
-- already that all of them belong there; the locks are held for a moment. Ids begin with a time, so a range of ids is a range of time,
-- and the primary key stays what it was. Partitions of the coming weeks are made by the server; a sender may determine the id of an
-- event, so there is one for all other times.
DO $$
DECLARE
    index_name text;
    table_name text;
    bound      text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['events', 'runs', 'steps', 'failed_attempts'] LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', table_name, table_name || '_first');
        FOR index_name IN
            SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = (table_name || '_first')::regclass
        LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', index_name, 'first_' || index_name);
        END LOOP;
        EXECUTE format('CREATE TABLE %I (LIKE %I) PARTITION BY RANGE (%s)', table_name, table_name || '_first',
            CASE WHEN table_name IN ('events', 'runs') THEN 'id' ELSE 'run_id' END);
    END LOOP;

    ALTER TABLE events ADD PRIMARY KEY (id);
    CREATE INDEX events_by_env ON events (env_id, id);
    CREATE INDEX events_by_name ON events (env_id, name, id);
    CREATE INDEX events_late ON events (env_id, name, received_at) WHERE late;
    ALTER TABLE runs ADD PRIMARY KEY (id);
    CREATE INDEX runs_by_env ON runs (env_id, id);
    CREATE INDEX runs_by_function ON runs (function_id, id);
    CREATE INDEX runs_by_event ON runs (event_id);
    CREATE INDEX runs_batched ON runs (env_id, id) WHERE more_events IS NOT NULL;
    ALTER TABLE steps ADD PRIMARY KEY (run_id, step_id);
    ALTER TABLE failed_attempts ADD PRIMARY KEY (run_id, step_id, attempt, failed_at);

    FOREACH table_name IN ARRAY ARRAY['events', 'runs', 'steps', 'failed_attempts'] LOOP
        SELECT substring(pg_get_constraintdef(oid) FROM '[0-9a-f-]{36}') INTO STRICT bound
        FROM pg_constraint WHERE conrelid = (table_name || '_first')::regclass AND conname = 'ids_bounded';
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', table_name, table_name || '_first', bound);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT ids_bounded', table_name || '_first');
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', table_name || '_default', table_name);
    END LOOP;
END $$;
