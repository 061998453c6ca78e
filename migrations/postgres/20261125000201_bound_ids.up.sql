-- First of three steps to partitions by time: every row that is there or comes meanwhile gets an id below a bound, the start of a week.
-- Nothing is read here but the newest ids, and the locks are held for a moment. Where there are no rows yet, the bound is the start of
-- this week; otherwise it is far enough ahead for processes of the version before that go on writing until the third step.
DO $$
DECLARE
    week    CONSTANT bigint := 604800000;
    monday  CONSTANT bigint := 345600000;
    is_new  boolean := NOT EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM runs);
    now_ms  bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    newest  bigint;
    bound   bigint;
    bound_id text;
BEGIN
    bound := now_ms - (now_ms - monday) % week;
    IF NOT is_new THEN
        SELECT max(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint) INTO newest FROM (
            (SELECT id FROM events ORDER BY id DESC LIMIT 1)
            UNION ALL (SELECT id FROM runs ORDER BY id DESC LIMIT 1)
            UNION ALL (SELECT run_id FROM steps ORDER BY run_id DESC LIMIT 1)
            UNION ALL (SELECT run_id FROM failed_attempts ORDER BY run_id DESC LIMIT 1)
        ) AS last_ids (id);
        bound := greatest(bound, newest - (newest - monday) % week) + 2 * week;
    END IF;
    bound_id := CASE WHEN bound < 281474976710656 THEN lpad(to_hex(bound), 12, '0') || repeat('0', 20) ELSE repeat('f', 32) END;
    EXECUTE format('ALTER TABLE events ADD CONSTRAINT ids_bounded CHECK (id < %L::uuid) NOT VALID', bound_id);
    EXECUTE format('ALTER TABLE runs ADD CONSTRAINT ids_bounded CHECK (id < %L::uuid) NOT VALID', bound_id);
    EXECUTE format('ALTER TABLE steps ADD CONSTRAINT ids_bounded CHECK (run_id < %L::uuid) NOT VALID', bound_id);
    EXECUTE format('ALTER TABLE failed_attempts ADD CONSTRAINT ids_bounded CHECK (run_id < %L::uuid) NOT VALID', bound_id);
END $$;
