-- Figures over time. What a transaction counts and measures stands in its row of the change log; from there it is added to these tables,
-- each row once, together with the position up to which that has been done.
ALTER TABLE change_log ADD COLUMN measures bytea;
CREATE INDEX change_log_by_position ON change_log (txid, seq);

-- One row. Everything up to the position is in `rollups`.
CREATE TABLE rollup_position (
    id   smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    txid bigint   NOT NULL,
    seq  bigint   NOT NULL
);
INSERT INTO rollup_position SELECT 1, floor_txid, floor_seq FROM change_log_state;

-- A row for each bucket and function in which something happened, and one for all of the environment together, without a function (all
-- bits 0). `width` is in seconds, `start` in ms. Latencies are sketches, null where nothing was measured.
CREATE TABLE rollups (
    env_id          uuid    NOT NULL,
    function_id     uuid    NOT NULL,
    width           integer NOT NULL,
    start           bigint  NOT NULL,
    runs_queued     bigint  NOT NULL,
    runs_skipped    bigint  NOT NULL,
    runs_started    bigint  NOT NULL,
    runs_completed  bigint  NOT NULL,
    runs_failed     bigint  NOT NULL,
    runs_cancelled  bigint  NOT NULL,
    steps_completed bigint  NOT NULL,
    steps_failed    bigint  NOT NULL,
    steps_cancelled bigint  NOT NULL,
    attempts_retried bigint NOT NULL,
    requests_ok     bigint  NOT NULL,
    requests_failed bigint  NOT NULL,
    events          bigint  NOT NULL,
    queue_delay     bytea,
    run_duration    bytea,
    step_duration   bytea,
    sdk_request     bytea,
    end_to_end      bytea,
    PRIMARY KEY (env_id, function_id, width, start)
) WITH (fillfactor = 70);
CREATE INDEX rollups_by_time ON rollups (env_id, width, start, function_id);
