//! The list of migrations, read from `migrations/` when the crate is compiled.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

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

/// Brings the schema up to date. A second call changes nothing.
pub(crate) async fn migrate(conn: &DatabaseConnection) -> Result<(), Error> {
    Migrator::up(conn, None).await.map_err(Error::Migrate)
}
