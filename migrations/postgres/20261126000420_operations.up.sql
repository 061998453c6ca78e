-- What people do to runs.

-- The step at which a run begins that repeats another one, with the arguments that this step is given instead of its own.
ALTER TABLE runs ADD COLUMN rerun_step text;
ALTER TABLE runs ADD COLUMN rerun_input bytea;

-- What requests with a key of their caller have led to, for a day.
CREATE TABLE request_keys (
    env_id     uuid NOT NULL,
    actor      text NOT NULL,
    key_hash   uuid NOT NULL,
    input_hash uuid NOT NULL,
    result     bytea NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (env_id, actor, key_hash)
);
CREATE INDEX request_keys_by_expiry ON request_keys (expires_at);
