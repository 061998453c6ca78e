-- What happened, what runs because of it, and what must happen next.
CREATE TABLE events (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    env_id      uuid NOT NULL,
    name        text NOT NULL,
    key         text NOT NULL,
    internal    boolean NOT NULL,
    late        boolean NOT NULL,
    ts          bigint NOT NULL,
    received_at bigint NOT NULL,
    body        bytea NOT NULL
);
CREATE INDEX events_by_env ON events (env_id, id);
CREATE INDEX events_by_name ON events (env_id, name, id);
-- Events whose id does not tell when they were accepted: a sender determined it by a clock that is off, or sent an old request again.
CREATE INDEX events_late ON events (env_id, name, received_at) WHERE late;

-- `revision` rises with every change; a change states the one it was decided under.
CREATE TABLE runs (
    id               uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    env_id           uuid NOT NULL,
    app_id           uuid NOT NULL,
    function_id      uuid NOT NULL,
    function_version integer NOT NULL,
    status           smallint NOT NULL,
    skip_reason      smallint,
    event_id         uuid NOT NULL,
    event_name       text NOT NULL,
    more_events      bytea,
    cron             text,
    original_id      uuid,
    correlation      text,
    rank             bigint NOT NULL,
    revision         bigint NOT NULL,
    request_version  smallint NOT NULL,
    force_plan       boolean NOT NULL,
    queued_at        bigint NOT NULL,
    started_at       bigint,
    ended_at         bigint,
    output           bytea
);
CREATE INDEX runs_by_env ON runs (env_id, id);
CREATE INDEX runs_by_function ON runs (function_id, id);
CREATE INDEX runs_by_event ON runs (event_id);

-- One result per step of a run; `position` is its place in the stack.
CREATE TABLE steps (
    run_id     uuid NOT NULL,
    step_id    text NOT NULL,
    org_id     uuid NOT NULL,
    env_id     uuid NOT NULL,
    name       text NOT NULL,
    kind       smallint NOT NULL,
    status     smallint NOT NULL,
    step_group bigint,
    position   integer,
    memo       bytea,
    queued_at  bigint NOT NULL,
    started_at bigint,
    ended_at   bigint,
    PRIMARY KEY (run_id, step_id)
);

-- Attempts that failed, of steps and (without a step) of functions.
CREATE TABLE failed_attempts (
    run_id    uuid NOT NULL,
    step_id   text NOT NULL,
    attempt   integer NOT NULL,
    failed_at bigint NOT NULL,
    org_id    uuid NOT NULL,
    env_id    uuid NOT NULL,
    class     text NOT NULL,
    code      text NOT NULL,
    error     bytea NOT NULL,
    next_at   bigint,
    PRIMARY KEY (run_id, step_id, attempt, failed_at)
);

-- A run waiting for an event (found by name and one hashed value) or for a signal.
CREATE TABLE waits (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    env_id      uuid NOT NULL,
    kind        smallint NOT NULL,
    run_id      uuid NOT NULL,
    function_id uuid NOT NULL,
    step_id     text,
    rank        bigint NOT NULL,
    event_name  text,
    key_path    text NOT NULL,
    key_hash    bigint NOT NULL,
    expression  text,
    bindings    bytea NOT NULL,
    trigger_id  uuid NOT NULL,
    signal      text,
    since       bigint NOT NULL,
    expires_at  bigint NOT NULL
);
CREATE INDEX waits_by_key ON waits (env_id, event_name, key_path, key_hash);
CREATE INDEX waits_by_run ON waits (run_id);
CREATE UNIQUE INDEX waits_by_signal ON waits (env_id, signal);

-- The paths by which waits for an event name are found; grows by one row per new path, never per wait.
CREATE TABLE wait_paths (
    env_id     uuid NOT NULL,
    event_name text NOT NULL,
    key_path   text NOT NULL,
    PRIMARY KEY (env_id, event_name, key_path)
);

-- Everything that must happen, and when: the truth of which the schedule is an index.
CREATE TABLE work (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    env_id      uuid NOT NULL,
    kind        smallint NOT NULL,
    function_id uuid NOT NULL,
    run_id      uuid,
    step_id     text,
    due_at      bigint NOT NULL,
    rank        bigint NOT NULL,
    attempt     integer NOT NULL,
    epoch       bigint NOT NULL,
    payload     bytea NOT NULL
);
CREATE INDEX work_by_due ON work (due_at, id);
CREATE INDEX work_by_run ON work (run_id);

-- What makes a second start the same start, for a day.
CREATE TABLE idempotency (
    function_id uuid NOT NULL,
    key_hash    uuid NOT NULL,
    run_id      uuid NOT NULL,
    expires_at  bigint NOT NULL,
    PRIMARY KEY (function_id, key_hash)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
