//! The list of migrations, read from `migrations/` when the crate is compiled, and the rule by which a database and a binary fit.
//!
//! A database remembers its migrations in `schema_migrations`, each with its floor: the oldest newest migration that a binary must know
//! to run on the schema that the migration leaves. A binary therefore runs on a database that has migrations it does not know, if
//! it knows all of their floors; otherwise it refuses. See `docs/upgrading.md`.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait, Value,
};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::Error;

/// How long another process that is migrating is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two looks whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often waiting is told.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// How often a migration is tried that did not get its locks in time, because the tables are in use.
const TRIES: u32 = 30;
/// The first half of the advisory lock; the second is the schema, because locks are the database's.
const LOCK: i32 = 0x696e_6e67;

/// A step of the schema.
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    /// The newest migration that the oldest binary knows which can run on what this one leaves. Its own name: no older binary can.
    pub(crate) floor: &'static str,
    pub(crate) postgres: Script,
    pub(crate) sqlite: Script,
}

pub(crate) struct Script {
    pub(crate) up: &'static str,
    #[cfg(test)]
    pub(crate) down: &'static str,
}

macro_rules! script {
    ($dialect:literal, $name:literal) => {
        Script {
            up: include_str!(concat!(
                "../../../migrations/",
                $dialect,
                "/",
                $name,
                ".up.sql"
            )),
            #[cfg(test)]
            down: include_str!(concat!(
                "../../../migrations/",
                $dialect,
                "/",
                $name,
                ".down.sql"
            )),
        }
    };
}

macro_rules! migration {
    ($name:literal) => {
        migration!($name, $name)
    };
    // What this leaves can be used by binaries that know no more than the second.
    ($name:literal, $floor:literal) => {
        Migration {
            name: $name,
            floor: $floor,
            postgres: script!("postgres", $name),
            sqlite: script!("sqlite", $name),
        }
    };
}

/// All migrations, in order.
pub(crate) static MIGRATIONS: &[Migration] = &[
    migration!("20261122000000_control_plane"),
    migration!("20261122000100_engine"),
    migration!("20261125000200_retention", "20261122000100_engine"),
    migration!("20261125000201_bound_ids", "20261122000100_engine"),
    migration!("20261125000202_check_bounds", "20261122000100_engine"),
    migration!("20261125000203_partitions", "20261122000100_engine"),
    migration!("20261125000300_secrets", "20261122000100_engine"),
    migration!("20261126000400_change_log", "20261122000100_engine"),
    migration!("20261126000420_operations", "20261122000100_engine"),
    migration!("20261126000440_objects", "20261122000100_engine"),
    migration!("20261126000441_open_waits", "20261122000100_engine"),
    migration!("20261126000480_trace", "20261122000100_engine"),
    migration!("20261126000510_pauses", "20261122000100_engine"),
    migration!("20261126000511_bulk", "20261122000100_engine"),
    migration!("20261126000512_replays", "20261122000100_engine"),
    migration!("20261126000530_rollups", "20261122000100_engine"),
    migration!("20261126000531_levels", "20261122000100_engine"),
    migration!("20261126000550_reads", "20261122000100_engine"),
    migration!("20261126000560_repetitions", "20261122000100_engine"),
    migration!("20261126000570_syncs", "20261122000100_engine"),
    migration!("20261127000580_waits", "20261122000100_engine"),
    migration!("20261127000590_facts", "20261122000100_engine"),
    migration!("20261127000600_event_names", "20261122000100_engine"),
];

/// What happens at opening when the schema is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    /// It is brought up to date.
    AtOpening,
    /// Opening is refused.
    Separately,
}

/// Brings the schema up to date, or refuses, and returns what was applied. On Postgres one process at a time does it; the others wait
/// and then find nothing to do.
///
/// # Errors
/// `SchemaAhead` when the database has a migration that this binary cannot live with, `SchemaBehind` when something is pending and
/// must not be applied now, `Migrating` when another process takes too long.
pub(crate) async fn migrate(
    conn: &DatabaseConnection,
    list: &[Migration],
    policy: Migrate,
) -> Result<Vec<&'static str>, Error> {
    if pending(conn, list).await?.is_empty() {
        return Ok(Vec::new());
    }
    if policy == Migrate::Separately {
        let pending = pending(conn, list).await?;
        let names: Vec<&str> = pending.iter().map(|migration| migration.name).collect();
        return Err(Error::SchemaBehind {
            pending: names.join(", "),
        });
    }
    lock(conn).await?;
    let outcome = apply_pending(conn, list).await;
    unlock(conn).await;
    outcome
}

/// The migrations that the database does not have yet, in order.
pub(crate) async fn pending<'a>(
    conn: &DatabaseConnection,
    list: &'a [Migration],
) -> Result<Vec<&'a Migration>, Error> {
    let applied = applied(conn).await.map_err(Error::Migrate)?;
    let newest = list.last().map_or("", |migration| migration.name);
    let is_known = |name: &str| list.iter().any(|migration| migration.name == name);
    for (name, floor) in &applied {
        if !is_known(name) && floor.as_str() > newest {
            return Err(Error::SchemaAhead {
                unknown: name.clone(),
                floor: floor.clone(),
                newest: newest.to_owned(),
            });
        }
    }
    let is_pending =
        |migration: &&Migration| !applied.iter().any(|(name, _)| name == migration.name);
    Ok(list.iter().filter(is_pending).collect())
}

async fn apply_pending(
    conn: &DatabaseConnection,
    list: &[Migration],
) -> Result<Vec<&'static str>, Error> {
    // Another process may have done it while we waited for the lock.
    let pending = pending(conn, list).await?;
    note_earlier(conn).await.map_err(Error::Migrate)?;
    // Of a database that was just made nobody wants to know that.
    let is_new = pending.len() == list.len();
    let mut done = Vec::new();
    for migration in pending {
        apply(conn, migration).await.map_err(Error::Migrate)?;
        if is_new {
            debug!(migration = migration.name, "schema migration applied");
        } else {
            info!(migration = migration.name, "schema migration applied");
        }
        done.push(migration.name);
    }
    Ok(done)
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (name text NOT NULL PRIMARY KEY, floor text NOT NULL, applied_at bigint NOT NULL)";

/// Where the first versions noted their migrations, without floors.
const EARLIER: &str = "seaql_migrations";

/// Makes the table of migrations, and moves what [`EARLIER`] holds there.
async fn note_earlier(conn: &DatabaseConnection) -> Result<(), DbErr> {
    let tx = conn.begin().await?;
    tx.execute_unprepared(TABLE).await?;
    if has_table(&tx, EARLIER).await? {
        let sql = "INSERT INTO schema_migrations (name, floor, applied_at) SELECT version, version, applied_at * 1000 FROM seaql_migrations";
        tx.execute_unprepared(sql).await?;
        tx.execute_unprepared("DROP TABLE seaql_migrations").await?;
    }
    tx.commit().await
}

async fn has_table(conn: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
    let backend = conn.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => {
            "SELECT 1 AS n FROM pg_class WHERE relname = $1 AND relnamespace = current_schema()::regnamespace"
        }
        _ => "SELECT 1 AS n FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    let statement = Statement::from_sql_and_values(backend, sql, [Value::from(table)]);
    Ok(conn.query_one_raw(statement).await?.is_some())
}

async fn apply(conn: &DatabaseConnection, migration: &Migration) -> Result<(), DbErr> {
    let mut tries = 1;
    loop {
        match apply_once(conn, migration).await {
            Err(error) if tries < TRIES && Error::is_in_the_way(&error) => {
                tries += 1;
                warn!(
                    migration = migration.name,
                    "the tables are in use, trying the migration again"
                );
                sleep(LOOK_AGAIN * tries).await;
            }
            outcome => return outcome,
        }
    }
}

/// The script and the note that it was applied, or neither.
async fn apply_once(conn: &DatabaseConnection, migration: &Migration) -> Result<(), DbErr> {
    let backend = conn.get_database_backend();
    let (script, now) = match backend {
        DbBackend::Postgres => (
            &migration.postgres,
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        ),
        _ => (
            &migration.sqlite,
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        ),
    };
    let tx = conn.begin().await?;
    tx.execute_unprepared(script.up).await?;
    let sql =
        format!("INSERT INTO schema_migrations (name, floor, applied_at) VALUES ($1, $2, {now})");
    let values: [Value; 2] = [migration.name.into(), migration.floor.into()];
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values))
        .await?;
    tx.commit().await
}

/// Each migration that the database has, with its floor; none where there is no table of them yet.
async fn applied(conn: &DatabaseConnection) -> Result<Vec<(String, String)>, DbErr> {
    let sql = if has_table(conn, "schema_migrations").await? {
        "SELECT name, floor FROM schema_migrations ORDER BY name"
    } else if has_table(conn, EARLIER).await? {
        "SELECT version AS name, version AS floor FROM seaql_migrations ORDER BY version"
    } else {
        return Ok(Vec::new());
    };
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    let rows = conn.query_all_raw(statement).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "name")?, row.try_get("", "floor")?)))
        .collect()
}

/// Takes the lock of this session, or waits until another process has given it back. `conn` has one connection. SQLite has one process.
async fn lock(conn: &DatabaseConnection) -> Result<(), Error> {
    if conn.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    let mut tell_at = Instant::now();
    let sql = "SELECT pg_try_advisory_lock($1, hashtext(current_schema())) AS taken";
    loop {
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, sql, [Value::from(LOCK)]);
        let row = conn
            .query_one_raw(statement)
            .await
            .map_err(Error::Migrate)?;
        let taken = row.map(|row| row.try_get("", "taken")).transpose();
        if taken.map_err(Error::Migrate)?.unwrap_or(false) {
            return Ok(());
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Error::Migrating);
        }
        if now >= tell_at {
            tell_at = now + TELL_AGAIN;
            info!("another process is bringing the schema up to date, waiting for it");
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn unlock(conn: &DatabaseConnection) {
    if conn.get_database_backend() != DbBackend::Postgres {
        return;
    }
    let sql = "SELECT pg_advisory_unlock($1, hashtext(current_schema()))";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [Value::from(LOCK)]);
    if let Err(error) = conn.execute_raw(statement).await {
        // The lock ends with the connection, which is closed next.
        warn!(error = %error, "the lock on migrations was not given back");
    }
}

/// Takes everything down again, newest first.
#[cfg(test)]
pub(crate) async fn take_down(conn: &DatabaseConnection) -> Result<(), DbErr> {
    for migration in MIGRATIONS.iter().rev() {
        let script = match conn.get_database_backend() {
            DbBackend::Postgres => &migration.postgres,
            _ => &migration.sqlite,
        };
        let tx = conn.begin().await?;
        tx.execute_unprepared(script.down).await?;
        tx.execute_unprepared(&format!(
            "DELETE FROM schema_migrations WHERE name = '{}'",
            migration.name
        ))
        .await?;
        tx.commit().await?;
    }
    Ok(())
}
