-- Figures over time. What a transaction counts and measures stands in its row of the change log; from there it is added to these tables,
-- each row once, together with the position up to which that has been done.
ALTER TABLE change_log ADD COLUMN measures blob;
CREATE INDEX change_log_by_position ON change_log (txid, seq);

-- One row. Everything up to the position is in `rollups`.
CREATE TABLE rollup_position (
    id   integer NOT NULL PRIMARY KEY CHECK (id = 1),
    txid integer NOT NULL,
    seq  integer NOT NULL
);
INSERT INTO rollup_position SELECT 1, floor_txid, floor_seq FROM change_log_state;

-- A row for each bucket and function in which something happened, and one for all of the environment together, without a function (all
-- bits 0). `width` is in seconds, `start` in ms. Latencies are sketches, null where nothing was measured.
CREATE TABLE rollups (
    env_id          blob    NOT NULL,
    function_id     blob    NOT NULL,
    width           integer NOT NULL,
    start           integer NOT NULL,
    runs_queued     integer NOT NULL,
    runs_skipped    integer NOT NULL,
    runs_started    integer NOT NULL,
    runs_completed  integer NOT NULL,
    runs_failed     integer NOT NULL,
    runs_cancelled  integer NOT NULL,
    steps_completed integer NOT NULL,
    steps_failed    integer NOT NULL,
    steps_cancelled integer NOT NULL,
    attempts_retried integer NOT NULL,
    requests_ok     integer NOT NULL,
    requests_failed integer NOT NULL,
    events          integer NOT NULL,
    queue_delay     blob,
    run_duration    blob,
    step_duration   blob,
    sdk_request     blob,
    end_to_end      blob,
    PRIMARY KEY (env_id, function_id, width, start)
);
CREATE INDEX rollups_by_time ON rollups (env_id, width, start, function_id);
