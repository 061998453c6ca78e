//! What can go wrong with the database.

use inngest_core::page::InvalidCursor;
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
    /// The database has a migration whose effects this binary does not know and cannot live with.
    #[error(
        "the database was changed by a newer version (migration `{unknown}`), which runs only with versions that know `{floor}`; \
         this one knows no more than `{newest}`: start the newer version"
    )]
    SchemaAhead {
        unknown: String,
        floor: String,
        newest: String,
    },
    /// Migrations are pending, and this process may not apply them.
    #[error(
        "the database schema is behind this version; run `inngest migrate` first (pending: {pending})"
    )]
    SchemaBehind { pending: String },
    /// Another process has been bringing the schema up to date for too long.
    #[error(
        "another process has been bringing the database schema up to date for minutes; look at its log, then start again"
    )]
    Migrating,
    /// There is nothing to migrate in a database that does not outlive its process.
    #[error("there is no database that could be migrated")]
    NoMigrations,
    /// A statement failed.
    #[error("a statement on `{table}` failed")]
    Statement {
        table: &'static str,
        #[source]
        source: DbErr,
    },
    /// The connection broke while a transaction was being committed: whether it was is not known. Who needs to know reads the rows.
    #[error("the outcome of a commit is not known")]
    CommitUnknown(#[source] DbErr),
    /// Another process changed the same rows in the same moment, again and again.
    #[error("other writers were in the way on `{table}`")]
    Raced { table: &'static str },
    /// A row holds something that this version cannot read.
    #[error("row `{id}` of `{table}` holds an unreadable {column}")]
    BadRow {
        table: &'static str,
        id: String,
        column: &'static str,
    },
    /// The documents of the rows that were asked for are more than is read together.
    #[error("the documents in `{table}` that this asks for are more than is read together")]
    TooLarge { table: &'static str },
    /// A list was to go on at a place that it does not have.
    #[error(transparent)]
    InvalidCursor(#[from] InvalidCursor),
    /// The writer has stopped.
    #[error("the database writer has stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn on(table: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Statement { table, source }
    }

    /// A failed commit: rolled back if the server says so, and of unknown outcome if the connection broke.
    pub(crate) fn on_commit(source: DbErr) -> Self {
        let was_answered = matches!(
            &source,
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))
                if error.as_database_error().is_some_and(says_that_nothing_was_committed)
        );
        if was_answered {
            Self::Statement {
                table: "(commit)",
                source,
            }
        } else {
            Self::CommitUnknown(source)
        }
    }

    /// The same failure once more, for another caller whose commit went down with it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Statement { table, source } => Self::Statement {
                table,
                source: source.clone(),
            },
            Self::CommitUnknown(source) => Self::CommitUnknown(source.clone()),
            Self::Raced { table } => Self::Raced { table },
            _ => Self::Stopped,
        }
    }

    /// Whether the same transaction may succeed when it is tried at once: it was chosen to end a deadlock, or lost a race.
    pub(crate) fn is_race(&self) -> bool {
        match self {
            Self::Raced { .. } => true,
            Self::Statement { source, .. } => is_postgres_race(source),
            _ => false,
        }
    }

    /// Whether what was to be committed may be there, or may not.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::CommitUnknown(_))
    }

    /// Whether the database could not be reached or has no room, so that trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Open { .. }
            | Self::Directory { .. }
            | Self::Stopped
            | Self::CommitUnknown(_)
            | Self::Raced { .. } => true,
            Self::Statement { source, .. } | Self::Migrate(source) => is_unavailable(source),
            Self::Migrating => true,
            Self::BadRow { .. }
            | Self::InvalidCursor(_)
            | Self::TooLarge { .. }
            | Self::SchemaAhead { .. }
            | Self::SchemaBehind { .. }
            | Self::NoMigrations => false,
        }
    }

    /// Whether a text was given that Postgres has no room for: it cannot hold the character NUL, so nothing stored has it either.
    pub fn is_text_refused(&self) -> bool {
        match self {
            Self::Statement { source, .. } => postgres_code(source).as_deref() == Some("22021"),
            _ => false,
        }
    }

    /// Whether the connection of a statement was dead: cut, or ended by the server.
    pub(crate) fn is_cut_off(error: &DbErr) -> bool {
        match error {
            DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause))
                if matches!(cause.as_ref(), sqlx::Error::Io(_)) =>
            {
                true
            }
            _ => postgres_code(error)
                .is_some_and(|code| ["57P01", "57P02", "25P03"].contains(&code.as_str())),
        }
    }

    /// Whether a statement did not get its locks because somebody else has them: within `lock_timeout`, or to end a deadlock.
    pub(crate) fn is_in_the_way(error: &DbErr) -> bool {
        matches!(postgres_code(error).as_deref(), Some("55P03" | "40P01"))
    }
}

/// A server that is being stopped, or that lost its own connection, may have committed before it said so.
fn says_that_nothing_was_committed(error: &dyn sqlx::error::DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    !(code.len() == 5 && ["08", "57"].contains(&&code[..2]))
}

/// Deadlock detected, or serialization failure.
fn is_postgres_race(error: &DbErr) -> bool {
    matches!(postgres_code(error).as_deref(), Some("40P01" | "40001"))
}

/// What the server calls the failure of a statement.
fn postgres_code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return None;
    };
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
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

/// Connections, resources, stopping and starting servers, system errors, a standby, a transaction that was given up because it did
/// nothing, and a statement or a lock that took too long.
fn is_postgres_trouble(code: &str) -> bool {
    ["08", "53", "57", "58"].contains(&&code[..2]) || ["25006", "25P03", "55P03"].contains(&code)
}

/// Busy, locked, read-only, I/O error, full, cannot open; the low byte is the primary code.
fn is_sqlite_trouble(code: i32) -> bool {
    [5, 6, 8, 10, 13, 14].contains(&(code & 0xff))
}
