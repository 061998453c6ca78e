//! Opening the database.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, ConnectOptions as _, Connection as _, postgres::PgConnectOptions},
};
use tokio_util::task::TaskTracker;

use crate::{
    Error, Matcher, Migrate, Store, change_log,
    committer::Committer,
    migrate::{self, MIGRATIONS},
    pool::{self, PoolStats, Use},
};

/// How long a migration waits for a lock before it steps back and tries again.
const MIGRATION_LOCK: Duration = Duration::from_millis(800);

/// What messages call the server, whose URI holds a password.
const POSTGRES: &str = "the configured Postgres server";

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file that is deleted when the last handle goes, for `dev` without `--persist`. Nothing is synced to disk.
    Scratch,
    /// The file `main.db` in this directory, which is made if need be.
    Directory(PathBuf),
    /// A Postgres server.
    Postgres(String),
}

/// How many processes write to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This one only, so that its transactions see all that others have done.
    One,
    /// Others as well, at the same time.
    Several,
}

/// How to use the database.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Where it is.
    pub place: Place,
    /// Connections for reading. Default 4.
    pub readers: u32,
    /// Connections for writing to Postgres: group commits, work that is handed on, housekeeping. Default 4. SQLite has one.
    pub writing: u32,
    /// Who writes to it. Default: this process only.
    pub writers: Writers,
    /// What happens when the schema is behind. Default: it is brought up to date.
    pub migrate: Migrate,
    /// How long a statement may run on Postgres, or wait for the file on SQLite. Default 30 s.
    pub timeout: Duration,
}

impl StoreSettings {
    /// The defaults, at this place.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            readers: 4,
            writing: 4,
            writers: Writers::One,
            migrate: Migrate::AtOpening,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Store {
    /// Connects, brings the schema up to date, and starts the writer on `tracker`.
    ///
    /// # Errors
    /// What is wrong with the place: a directory that cannot be written, a file that is no database, a server that does not answer,
    /// a schema that is newer than this version.
    pub async fn open(
        settings: &StoreSettings,
        matcher: Matcher,
        tracker: &TaskTracker,
    ) -> Result<Self, Error> {
        let statements = Arc::new(AtomicU64::new(0));
        let (mut writer, mut reader, scratch) = match &settings.place {
            Place::Postgres(url) => {
                let place = POSTGRES;
                reach(url, settings.timeout, place).await?;
                let conn = connect_patiently(url, settings.timeout).await?;
                let migrated = migrate::migrate(&conn, MIGRATIONS, settings.migrate).await;
                let _ = conn.close().await;
                migrated?;
                let pool = |connections, purpose| {
                    pool::postgres(url, connections, settings.timeout, purpose)
                };
                let writer = connect(pool(settings.writing.max(1), Use::ByKey), place).await?;
                let reader = connect(pool(settings.readers.max(1), Use::Reading), place).await?;
                (writer, reader, None)
            }
            Place::Directory(directory) => {
                make_directory(directory)?;
                let (writer, reader) =
                    open_sqlite(&directory.join("main.db"), settings, Durability::Full).await?;
                (writer, reader, None)
            }
            Place::Scratch => {
                let scratch = tempfile::Builder::new()
                    .prefix("inngest-dev-")
                    .tempdir()
                    .map_err(|source| Error::Directory {
                        place: std::env::temp_dir().display().to_string(),
                        source,
                    })?;
                let (writer, reader) =
                    open_sqlite(&scratch.path().join("main.db"), settings, Durability::None)
                        .await?;
                (writer, reader, Some(Arc::new(scratch)))
            }
        };
        if writer.get_database_backend() == DbBackend::Sqlite {
            migrate::migrate(&writer, MIGRATIONS, settings.migrate).await?;
        }
        change_log::note_origin(&writer).await;
        for conn in [&mut writer, &mut reader] {
            let statements = statements.clone();
            conn.set_metric_callback(move |_| {
                statements.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let commits = Committer::start(writer.clone(), matcher, settings.writers, tracker);
        Ok(Self {
            reader,
            writer,
            commits,
            writers: settings.writers,
            statements,
            reader_waits: Arc::default(),
            writer_waits: Arc::default(),
            _scratch: scratch,
        })
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        self.reader_waits.ask(&self.reader);
        &self.reader
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        self.writer_waits.ask(&self.writer);
        &self.writer
    }

    /// How the connections are used.
    pub fn pool_stats(&self) -> PoolStats {
        PoolStats {
            writer: self.writer_waits.look(&self.writer),
            reader: self.reader_waits.look(&self.reader),
        }
    }
}

/// The names of the migrations that the database at this place does not have yet, in order. Changes nothing, except that the file is made
/// where there is none.
///
/// # Errors
/// As [`Store::open`].
pub async fn pending_migrations(settings: &StoreSettings) -> Result<Vec<&'static str>, Error> {
    let conn = open_for_migrations(settings).await?;
    let pending = migrate::pending(&conn, MIGRATIONS).await;
    let _ = conn.close().await;
    Ok(pending?.iter().map(|migration| migration.name).collect())
}

/// Brings the schema of the database at this place up to date and returns the names of the migrations that were applied.
///
/// # Errors
/// As [`Store::open`].
pub async fn migrate(settings: &StoreSettings) -> Result<Vec<&'static str>, Error> {
    let conn = open_for_migrations(settings).await?;
    let applied = migrate::migrate(&conn, MIGRATIONS, Migrate::AtOpening).await;
    let _ = conn.close().await;
    applied
}

async fn open_for_migrations(settings: &StoreSettings) -> Result<DatabaseConnection, Error> {
    match &settings.place {
        Place::Postgres(url) => {
            reach(url, settings.timeout, POSTGRES).await?;
            connect_patiently(url, settings.timeout).await
        }
        Place::Directory(directory) => {
            make_directory(directory)?;
            let file = directory.join("main.db");
            let (writer, _) = open_sqlite(&file, settings, Durability::Full).await?;
            Ok(writer)
        }
        // Nobody else has it, so there is nothing to look at: it is made by opening it.
        Place::Scratch => Err(Error::NoMigrations),
    }
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::Directory {
        place: directory.display().to_string(),
        source,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// Every commit is on disk before it is answered.
    Full,
    /// The file does not outlive the process anyway.
    None,
}

async fn open_sqlite(
    file: &Path,
    settings: &StoreSettings,
    durability: Durability,
) -> Result<(DatabaseConnection, DatabaseConnection), Error> {
    let place = file.display().to_string();
    let writer = connect(
        sqlite_options(file, 1, settings.timeout, durability),
        &place,
    )
    .await?;
    // The first statement that reads the file finds out whether it is a database at all.
    writer
        .execute_unprepared("SELECT count(*) FROM sqlite_master")
        .await
        .map_err(|source| Error::Open {
            place: place.clone(),
            source,
        })?;
    let reader = connect(
        sqlite_options(file, settings.readers.max(1), settings.timeout, durability),
        &place,
    )
    .await?;
    Ok((writer, reader))
}

fn sqlite_options(
    file: &Path,
    connections: u32,
    timeout: Duration,
    durability: Durability,
) -> ConnectOptions {
    // The name goes past the URL, in which some of its characters would mean something else.
    let file = file.to_owned();
    let mut options = ConnectOptions::new("sqlite://main.db?mode=rwc");
    options
        .max_connections(connections)
        .min_connections(connections.min(1))
        .acquire_timeout(timeout)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            options
                .filename(&file)
                .busy_timeout(timeout)
                .foreign_keys(false)
                .pragma("journal_mode", "WAL")
                .pragma(
                    "synchronous",
                    if durability == Durability::Full {
                        "FULL"
                    } else {
                        "OFF"
                    },
                )
                .pragma("cache_size", "-4096")
                .pragma("temp_store", "MEMORY")
                .statement_cache_capacity(256)
        });
    options
}

async fn connect_patiently(url: &str, timeout: Duration) -> Result<DatabaseConnection, Error> {
    let options = pool::postgres_patient(url, timeout, MIGRATION_LOCK);
    connect(options, POSTGRES).await
}

/// Connects once. A pool would try a server that refuses until its time is over; at the start that is a mistake to be told at once.
async fn reach(url: &str, timeout: Duration, place: &str) -> Result<(), Error> {
    let once = async {
        let options: PgConnectOptions = url.parse()?;
        options.connect().await?.close().await
    };
    let outcome = tokio::time::timeout(timeout, once)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut));
    outcome.map_err(|source| Error::Open {
        place: place.to_owned(),
        source: DbErr::Conn(RuntimeErr::SqlxError(Arc::new(source))),
    })
}

async fn connect(options: ConnectOptions, place: &str) -> Result<DatabaseConnection, Error> {
    Database::connect(options)
        .await
        .map_err(|source| Error::Open {
            place: place.to_owned(),
            source,
        })
}
