-- What has changed, for live views: a row for each transaction and environment, with the ids of what the transaction changed there.
--
-- Numbers of a sequence are taken before the commit, so whoever remembers the highest one loses the rows of a slower transaction. Readers
-- therefore go by (txid, seq) and read only up to the oldest transaction that is still under way.
--
-- The partitions are a ring of four hours by the clock of the database. Each hour the one whose turn comes in two hours is emptied.
CREATE SEQUENCE change_log_seq;
CREATE TABLE change_log (
    txid    bigint   NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    seq     bigint   NOT NULL DEFAULT nextval('change_log_seq'),
    slot    smallint NOT NULL DEFAULT (floor(extract(epoch FROM now()))::bigint / 3600 % 4),
    env_id  uuid     NOT NULL,
    at      bigint   NOT NULL DEFAULT (floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint),
    changes bytea    NOT NULL
) PARTITION BY LIST (slot);
CREATE TABLE change_log_0 PARTITION OF change_log FOR VALUES IN (0);
CREATE TABLE change_log_1 PARTITION OF change_log FOR VALUES IN (1);
CREATE TABLE change_log_2 PARTITION OF change_log FOR VALUES IN (2);
CREATE TABLE change_log_3 PARTITION OF change_log FOR VALUES IN (3);
CREATE INDEX change_log_by_env ON change_log (env_id, txid, seq);

-- One row. `epoch` tells histories apart: positions of another one mean nothing. `origin` is the server and timeline it belongs to. Rows
-- up to the floor may be gone.
CREATE TABLE change_log_state (
    id         smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch      uuid     NOT NULL,
    origin     text     NOT NULL,
    floor_txid bigint   NOT NULL,
    floor_seq  bigint   NOT NULL
);
INSERT INTO change_log_state VALUES (1, gen_random_uuid(), '', 0, 0);
