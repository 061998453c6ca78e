//! Errors of the services: what a caller can do about them (`Kind`) and a stable word for programs (`code`).

use inngest_core::{
    access::Denied,
    expr::ExprError,
    ids::{InvalidId, RunId, SyncId},
    limits,
    page::InvalidCursor,
};

/// Why an operation was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thing does not exist, or is not this caller's to see.
    #[error("no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    /// The run has ended, so nothing can be done to it.
    #[error("run `{run}` has already ended")]
    RunEnded { run: RunId },
    /// The report belongs to an attempt that somebody else has taken over.
    #[error("this attempt of run `{run}` was replaced by a newer one; stop working on it")]
    Stale { run: RunId },
    /// Input that is not in the expected form at all.
    #[error("{message}")]
    Malformed { code: &'static str, message: String },
    /// Input that is well formed but not acceptable.
    #[error("{message}")]
    Invalid { code: &'static str, message: String },
    /// Text that is not an expression which can be used there.
    #[error(transparent)]
    Expression(#[from] ExprError),
    /// What exists does not allow it.
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    /// More than a limit allows.
    #[error("{actual} {what} are more than the limit of {limit}")]
    OverLimit {
        code: &'static str,
        what: &'static str,
        limit: u64,
        actual: u64,
    },
    /// Over a limit, said in other words.
    #[error("{message}")]
    TooLarge { code: &'static str, message: String },
    /// No credential, or a worthless one.
    #[error("{message}")]
    Unauthenticated { code: &'static str, message: String },
    /// The actor may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The app could not be synced.
    #[error("{message}")]
    Sync {
        code: &'static str,
        message: String,
        /// What is kept of the attempt.
        sync: Option<SyncId>,
    },
    /// The server has more to do than it can take on.
    #[error("the server is at its limit; try again in a moment")]
    Busy,
    /// The server is stopping.
    #[error("the server is shutting down")]
    Stopping,
    /// The database failed.
    #[error("the database could not carry out the operation")]
    Store(#[source] inngest_state::Error),
    /// The schedule failed.
    #[error("the schedule could not carry out the operation")]
    Queue(#[source] inngest_queue::error::Error),
    /// A bug of ours.
    #[error("internal error: {what}")]
    Internal { what: String },
}

/// What the caller can do about an error. Decides the status in every adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 400
    Malformed,
    /// 422
    Invalid,
    /// 401
    Unauthenticated,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 409
    Conflict,
    /// 413
    TooLarge,
    /// 429 with `Retry-After`
    Limited,
    /// 503 with `Retry-After`
    Unavailable,
    /// 500
    Internal,
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::RunEnded { .. } | Self::Stale { .. } | Self::Conflict { .. } => Kind::Conflict,
            Self::Malformed { .. } => Kind::Malformed,
            Self::Invalid { .. } | Self::Expression(_) | Self::Sync { .. } => Kind::Invalid,
            Self::TooLarge { .. } | Self::OverLimit { .. } => Kind::TooLarge,
            Self::Unauthenticated { .. } => Kind::Unauthenticated,
            Self::Denied(_) => Kind::Forbidden,
            Self::Busy => Kind::Limited,
            Self::Stopping => Kind::Unavailable,
            Self::Store(error) if error.is_unavailable() => Kind::Unavailable,
            Self::Queue(_) => Kind::Unavailable,
            Self::Store(_) | Self::Internal { .. } => Kind::Internal,
        }
    }

    /// Stable; in REST's `code` and GraphQL's `extensions.code` alike.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { what: "run", .. } => "run_not_found",
            Self::NotFound { what: "event", .. } => "event_not_found",
            Self::NotFound {
                what: "function", ..
            } => "function_not_found",
            Self::NotFound { what: "app", .. } => "app_not_found",
            Self::NotFound { what: "signal", .. } => "signal_not_found",
            Self::NotFound {
                what: "cancellation",
                ..
            } => "cancellation_not_found",
            Self::NotFound { what: "replay", .. } => "replay_not_found",
            Self::NotFound { .. } => "not_found",
            Self::RunEnded { .. } => "run_already_ended",
            Self::Stale { .. } => "stale_dispatch",
            Self::Malformed { code, .. }
            | Self::Invalid { code, .. }
            | Self::Conflict { code, .. }
            | Self::TooLarge { code, .. }
            | Self::OverLimit { code, .. }
            | Self::Unauthenticated { code, .. }
            | Self::Sync { code, .. } => code,
            Self::Expression(_) => "invalid_expression",
            Self::Denied(_) => "forbidden",
            Self::Busy => "server_busy",
            Self::Stopping => "server_stopping",
            Self::Store(error) if error.is_unavailable() => "database_unavailable",
            Self::Store(_) | Self::Internal { .. } => "internal",
            Self::Queue(_) => "schedule_unavailable",
        }
    }

    /// A question would have more documents read together than there is room for.
    pub(crate) fn payloads_too_large(what: &str) -> Self {
        Self::TooLarge {
            code: "payloads_too_large",
            message: format!(
                "the {what} that this asks for have more than {} bytes of data and results together; ask for fewer at once",
                limits::TOGETHER_BYTES
            ),
        }
    }

    pub(crate) fn no_run(id: RunId) -> Self {
        Self::NotFound {
            what: "run",
            id: id.to_string(),
        }
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::Malformed {
            code: "invalid_id",
            message: error.to_string(),
        }
    }
}

impl From<InvalidCursor> for Error {
    fn from(error: InvalidCursor) -> Self {
        Self::Malformed {
            code: "invalid_cursor",
            message: error.to_string(),
        }
    }
}

impl From<inngest_state::Error> for Error {
    fn from(error: inngest_state::Error) -> Self {
        match error {
            inngest_state::Error::InvalidCursor(error) => error.into(),
            inngest_state::Error::TooLarge { table } => Self::payloads_too_large(table),
            error if error.is_text_refused() => Self::Invalid {
                code: "invalid_text",
                message: "a text with the character NUL cannot be stored or found".to_owned(),
            },
            error => Self::Store(error),
        }
    }
}

impl From<inngest_queue::error::Error> for Error {
    fn from(error: inngest_queue::error::Error) -> Self {
        Self::Queue(error)
    }
}
