-- What has changed, for live views: a row for each transaction and environment, with the ids of what the transaction changed there. There is
-- one writer, so `seq` alone is the position; `txid` and `slot` are always 0. The newest row is never deleted, so `seq` does not begin anew.
CREATE TABLE change_log (
    txid    integer NOT NULL DEFAULT 0,
    seq     integer NOT NULL PRIMARY KEY,
    slot    integer NOT NULL DEFAULT 0,
    env_id  blob    NOT NULL,
    at      integer NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    changes blob    NOT NULL
);
CREATE INDEX change_log_by_env ON change_log (env_id, txid, seq);

-- One row. `epoch` tells histories apart: positions of another one mean nothing. Rows up to the floor may be gone.
CREATE TABLE change_log_state (
    id         integer NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch      blob    NOT NULL,
    origin     text    NOT NULL,
    floor_txid integer NOT NULL,
    floor_seq  integer NOT NULL
);
INSERT INTO change_log_state VALUES (1, randomblob(16), '', 0, 0);
