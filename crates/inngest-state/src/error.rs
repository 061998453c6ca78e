//! What can go wrong with the database.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// A failure of the database, or of something read from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing could be opened at this address.
    #[error("could not open the database at {place}")]
    Open {
        place: String,
        #[source]
        source: DbErr,
    },
    /// The directory of the database file cannot be used.
    #[error("could not use the directory {place} for the database")]
    Directory {
        place: String,
        #[source]
        source: std::io::Error,
    },
    /// The schema could not be brought up to date.
    #[error("could not bring the database schema up to date")]
    Migrate(#[source] DbErr),
    /// A statement failed.
    #[error("a statement on `{table}` failed")]
    Statement {
        table: &'static str,
        #[source]
        source: DbErr,
    },
    /// A row holds something that this version cannot read.
    #[error("row `{id}` of `{table}` holds an unreadable {column}")]
    BadRow {
        table: &'static str,
        id: String,
        column: &'static str,
    },
    /// The writer has stopped.
    #[error("the database writer has stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn on(table: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Statement { table, source }
    }

    /// The same failure once more, for another caller whose commit went down with it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Statement { table, source } => Self::Statement {
                table,
                source: source.clone(),
            },
            _ => Self::Stopped,
        }
    }

    /// Whether the database could not be reached or has no room, so that trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Directory { .. } | Self::Stopped => true,
            Self::Statement { source, .. } | Self::Migrate(source) => is_unavailable(source),
            Self::BadRow { .. } => false,
        }
    }
}

fn is_unavailable(error: &DbErr) -> bool {
    match error {
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            is_out_of_reach(error)
        }
        _ => false,
    }
}

/// Whether the fault lies with the connection or with the state of the server, not with the statement.
fn is_out_of_reach(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // Postgres says five characters, SQLite a number.
            if code.len() == 5 {
                is_postgres_trouble(&code)
            } else {
                code.parse().is_ok_and(is_sqlite_trouble)
            }
        }
        _ => false,
    }
}

/// Connections, resources, stopping and starting servers, system errors, a standby, and a statement that ran out of time.
fn is_postgres_trouble(code: &str) -> bool {
    ["08", "53", "57", "58"].contains(&&code[..2]) || code == "25006"
}

/// Busy, locked, read-only, I/O error, full, cannot open; the low byte is the primary code.
fn is_sqlite_trouble(code: i32) -> bool {
    [5, 6, 8, 10, 13, 14].contains(&(code & 0xff))
}
