//! Opening the database.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{self, ConnectOptions as _, Connection as _, postgres::PgConnectOptions},
};
use tokio_util::task::TaskTracker;

use crate::{Error, Matcher, Store, committer::Committer, migrate};

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
    /// Who writes to it. Default: this process only.
    pub writers: Writers,
    /// How long a statement may wait for a connection, and (on Postgres) run. Default 30 s.
    pub timeout: Duration,
}

impl StoreSettings {
    /// The defaults, at this place.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            readers: 4,
            writers: Writers::One,
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
                let place = "the configured Postgres server";
                reach(url, settings.timeout, place).await?;
                let writer = connect(postgres_options(url, 1, settings.timeout), place).await?;
                let reader = connect(
                    postgres_options(url, settings.readers.max(1), settings.timeout),
                    place,
                )
                .await?;
                (writer, reader, None)
            }
            Place::Directory(directory) => {
                std::fs::create_dir_all(directory).map_err(|source| Error::Directory {
                    place: directory.display().to_string(),
                    source,
                })?;
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
        migrate::migrate(&writer).await?;
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
            _scratch: scratch,
        })
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }
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

fn postgres_options(url: &str, connections: u32, timeout: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.to_owned());
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(timeout)
        .connect_timeout(timeout)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            options
                .application_name("inngest")
                .options([("statement_timeout", format!("{}ms", timeout.as_millis()))])
                .statement_cache_capacity(256)
        });
    options
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
