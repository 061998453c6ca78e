//! The list of migrations, read from `migrations/` when the crate is compiled.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};
use tokio::time::{Instant, sleep};

use crate::Error;

macro_rules! migration {
    ($name:literal) => {
        SqlMigration {
            name: $name,
            postgres: Script {
                up: include_str!(concat!("../../../migrations/postgres/", $name, ".up.sql")),
                down: include_str!(concat!("../../../migrations/postgres/", $name, ".down.sql")),
            },
            sqlite: Script {
                up: include_str!(concat!("../../../migrations/sqlite/", $name, ".up.sql")),
                down: include_str!(concat!("../../../migrations/sqlite/", $name, ".down.sql")),
            },
        }
    };
}
/// All migrations, in order.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(migration!("20261122000000_control_plane")),
            Box::new(migration!("20261122000100_engine")),
        ]
    }
}

struct SqlMigration {
    name: &'static str,
    postgres: Script,
    sqlite: Script,
}

struct Script {
    up: &'static str,
    down: &'static str,
}

impl SqlMigration {
    fn script(&self, backend: DbBackend) -> Result<&Script, DbErr> {
        match backend {
            DbBackend::Postgres => Ok(&self.postgres),
            DbBackend::Sqlite => Ok(&self.sqlite),
            other => Err(DbErr::Migration(format!("no migrations for {other:?}"))),
        }
    }
}

impl MigrationName for SqlMigration {
    fn name(&self) -> &str {
        self.name
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait's signature, which the macro rewrites, has none"
)]
#[async_trait]
impl MigrationTrait for SqlMigration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let script = self.script(manager.get_database_backend())?;
        manager
            .get_connection()
            .execute_unprepared(script.up)
            .await
            .map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let script = self.script(manager.get_database_backend())?;
        manager
            .get_connection()
            .execute_unprepared(script.down)
            .await
            .map(drop)
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// The advisory lock of migrations; the schema, by its name, is the second half of its key, because two installations may share a database.
const LOCK: i32 = 0x1226;
/// How often it is asked whether another process is done.
const ASK: Duration = Duration::from_millis(100);
/// How long another process may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Brings the schema up to date. A second call changes nothing. Of several processes one does it, and the others wait. `conn` is a pool of
/// one connection, which holds the lock.
pub(crate) async fn migrate(conn: &DatabaseConnection) -> Result<(), Error> {
    if conn.get_database_backend() != DbBackend::Postgres {
        return Migrator::up(conn, None).await.map_err(Error::Migrate);
    }
    let begun = Instant::now();
    while !ask(conn, "pg_try_advisory_lock").await? {
        if begun.elapsed() > PATIENCE {
            return Err(Error::Migrate(DbErr::Migration(
                "another server has been changing the schema for too long".to_owned(),
            )));
        }
        sleep(ASK).await;
    }
    let migrated = Migrator::up(conn, None).await.map_err(Error::Migrate);
    // The lock goes with the connection as well, so what comes of this does not matter.
    let _ = ask(conn, "pg_advisory_unlock").await;
    migrated
}

async fn ask(conn: &DatabaseConnection, function: &str) -> Result<bool, Error> {
    let sql = format!("SELECT {function}({LOCK}, hashtext(current_schema())) AS done");
    let row = conn
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .map_err(Error::Migrate)?;
    let done = row.map(|row| row.try_get("", "done")).transpose();
    Ok(done.map_err(Error::Migrate)?.unwrap_or(false))
}
