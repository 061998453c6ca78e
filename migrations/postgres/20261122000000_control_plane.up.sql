-- The tenant, its worlds, and what apps have told us.
CREATE TABLE organizations (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at bigint NOT NULL
);

-- `functions_version` rises with every sync; a commit that was routed by an older one is refused and routed again.
CREATE TABLE environments (
    id                uuid PRIMARY KEY,
    org_id            uuid NOT NULL REFERENCES organizations (id),
    slug              text NOT NULL,
    functions_version bigint NOT NULL DEFAULT 0,
    created_at        bigint NOT NULL,
    UNIQUE (org_id, slug)
);

CREATE TABLE apps (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL,
    env_id       uuid NOT NULL,
    name         text NOT NULL,
    url          text NOT NULL,
    version      text,
    sdk_language text NOT NULL,
    sdk_version  text NOT NULL,
    framework    text,
    checksum     text NOT NULL,
    last_sync_id uuid NOT NULL,
    error        text,
    created_at   bigint NOT NULL,
    synced_at    bigint NOT NULL,
    archived_at  bigint,
    UNIQUE (env_id, name)
);
CREATE INDEX apps_by_url ON apps (env_id, url);

CREATE TABLE syncs (
    id             uuid PRIMARY KEY,
    org_id         uuid NOT NULL,
    env_id         uuid NOT NULL,
    app_id         uuid NOT NULL,
    url            text NOT NULL,
    sdk            text NOT NULL,
    function_count integer NOT NULL,
    created_at     bigint NOT NULL
);
CREATE INDEX syncs_by_app ON syncs (app_id, created_at);

CREATE TABLE functions (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL,
    env_id      uuid NOT NULL,
    app_id      uuid NOT NULL,
    slug        text NOT NULL,
    name        text NOT NULL,
    version     integer NOT NULL,
    config      bytea NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    archived_at bigint,
    UNIQUE (env_id, slug, app_id)
);
CREATE INDEX functions_by_app ON functions (app_id);

CREATE TABLE function_versions (
    function_id uuid NOT NULL,
    version     integer NOT NULL,
    org_id      uuid NOT NULL,
    env_id      uuid NOT NULL,
    sync_id     uuid NOT NULL,
    config      bytea NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (function_id, version)
);
