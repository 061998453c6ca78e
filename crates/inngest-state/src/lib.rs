//! The database: it stores and finds, and settles races. It decides nothing and starts nothing.
//!
//! All changes of the engine go through [`Store::commit`], which groups whatever is waiting into one transaction. Reads take the
//! environment and return pages. Postgres and SQLite are one code path; the few statements that differ ask the connection.

/// Marks a place at which a test can end the process; see `failpoints`. Nothing without that feature.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! fail_point {
    ($name:expr) => {
        $crate::failpoints::pass($name)
    };
}

/// Marks a place at which a test can end the process. Nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! fail_point {
    ($name:expr) => {};
}

mod apps;
mod bulk;
mod change_log;
mod commit;
mod committer;
mod details;
mod entity;
mod error;
mod events;
#[cfg(feature = "failpoints")]
pub mod failpoints;
#[cfg(any(test, feature = "test-util"))]
pub mod fill;
mod history;
#[cfg(feature = "test-util")]
mod house;
mod lists;
mod matching;
mod migrate;
mod of_runs;
mod open;
mod partitions;
mod pauses;
mod pool;
mod requests;
mod retention;
mod rollup;
mod rows;
mod runs;
mod secrets;
mod signals;
mod sql;
mod starts;
mod syncs;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
mod work;
mod write;
mod write_rows;

#[cfg(test)]
mod apps_tests;
#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod change_log_tests;
#[cfg(test)]
mod commit_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod levels_tests;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod migrate_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod pages_tests;
#[cfg(test)]
mod partitions_tests;
#[cfg(test)]
mod pauses_tests;
#[cfg(test)]
mod plans_tests;
#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod requests_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod rollup_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod signals_tests;
#[cfg(test)]
mod syncs_tests;
#[cfg(test)]
mod waiting_tests;
#[cfg(test)]
mod waits_tests;
#[cfg(test)]
mod work_tests;
#[cfg(test)]
mod writers_tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use inngest_core::time::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

pub use apps::{AppSync, FunctionChange};
pub use bulk::{BulkChange, BulkPlace, BulkStep, NewBulk};
pub use change_log::{Change, LogPlace, LogPosition, LogRead, LogRow};
pub use commit::{
    Commit, Committed, FailedAttemptRow, Fence, NewEvent, NewRun, Refused, RequestMade, RunChange,
    StepChange,
};
pub use committer::CommitCounters;
pub use error::Error;
pub use events::TenantEvent;
pub use lists::{
    AppFilter, BulkFilter, EventFilter, FunctionFilter, Hints, RunFilter, Slice, SyncFilter,
    TimeSpan, Traces, WaitSource,
};
pub use matching::Matcher;
pub use migrate::Migrate;
pub use of_runs::{FunctionHead, Started, StepHead, WorkHead};
pub use open::{Place, StoreSettings, Writers, migrate, pending_migrations};
pub use pauses::PauseChange;
pub use pool::{PoolStats, PoolUse};
pub use requests::NewRequest;
pub use retention::{Expired, Keeping, Turn};
pub use rollup::{GroupedBy, LevelSample, NamedPoint, Rolled, RollupGroup, RollupQuery};
pub use runs::LoadedRun;
pub use secrets::SealedSecret;

/// The database. A cheap handle.
#[derive(Clone)]
pub struct Store {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    commits: committer::Committer,
    writers: Writers,
    statements: Arc<AtomicU64>,
    reader_waits: Arc<pool::Waits>,
    writer_waits: Arc<pool::Waits>,
    /// Deletes the files of a throw-away database with the last handle.
    _scratch: Option<Arc<tempfile::TempDir>>,
}

impl Store {
    /// Which database this is: `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        match self.reader.get_database_backend() {
            DbBackend::Postgres => "postgres",
            _ => "sqlite",
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), Error> {
        self.reader()
            .execute_unprepared("SELECT 1")
            .await
            .map(drop)
            .map_err(Error::on("(ping)"))
    }

    /// The database's own time.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let sql = match self.reader.get_database_backend() {
            DbBackend::Postgres => {
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now"
            }
            _ => "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS now",
        };
        let statement = Statement::from_string(self.reader.get_database_backend(), sql);
        let row = self
            .reader()
            .query_one_raw(statement)
            .await
            .map_err(Error::on("(clock)"))?;
        let millis = row
            .map(|row| row.try_get::<i64>("", "now"))
            .transpose()
            .map_err(Error::on("(clock)"))?;
        Ok(Timestamp::from_millis(millis.unwrap_or_default()))
    }

    /// How many connections Postgres allows to all who are no superuser; none for SQLite.
    pub async fn allowed_connections(&self) -> Result<Option<u32>, Error> {
        const SQL: &str = "SELECT current_setting('max_connections')::bigint \
            - current_setting('superuser_reserved_connections')::bigint AS allowed";
        let place = Error::on("(settings)");
        let backend = self.reader.get_database_backend();
        if backend != DbBackend::Postgres {
            return Ok(None);
        }
        let statement = Statement::from_string(backend, SQL);
        let row = self.reader().query_one_raw(statement).await;
        let allowed =
            row.and_then(|row| row.map(|row| row.try_get::<i64>("", "allowed")).transpose());
        Ok(allowed
            .map_err(place)?
            .and_then(|allowed| u32::try_from(allowed).ok()))
    }

    /// Statements carried out by this process so far, for tests and metrics that count them.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Transactions of the group commit so far.
    pub fn transactions(&self) -> u64 {
        self.commits.counters().transactions.load(Ordering::Relaxed)
    }

    /// Whether other processes write to the same database.
    pub fn writers(&self) -> Writers {
        self.writers
    }

    /// What the group commit has met so far.
    pub fn commit_counters(&self) -> &CommitCounters {
        self.commits.counters()
    }

    /// Writes `commit`, together with whatever else is waiting, and answers when it is durable.
    ///
    /// # Errors
    /// [`Refused`]: a condition of this commit did not hold, and nothing of it was written; or the database failed.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, Refused> {
        self.commits.commit(commit).await
    }

    /// [`Store::commit`] for what comes from outside and can be put off: it waits a second for its turn. `None` when too much waits to be
    /// written even then; nothing was written.
    pub async fn offer(&self, commit: Commit) -> Option<Result<Committed, Refused>> {
        self.commits.offer(commit).await
    }
}
