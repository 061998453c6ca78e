//! What can go wrong with the database.

use sea_orm::{DbErr, RuntimeErr};

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
            let text = error.to_string();
            [
                "database or disk is full",
                "disk I/O error",
                "unable to open",
                "is locked",
                "connection",
                "pool timed out",
            ]
            .iter()
            .any(|sign| text.contains(sign))
        }
        _ => false,
    }
}
