//! What came back from a call, in the words of the product. `wire::reply` makes it from bytes.

use crate::{
    json::Json,
    op::{Op, StepError},
};

/// The answer to one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The app reported ops (status 206).
    Ops {
        /// The ops in the order sent.
        ops: Vec<Op>,
        /// The dialect the app speaks, from `x-inngest-req-version`.
        version: Option<i32>,
        /// What the headers say about another attempt.
        retry: RetryHint,
    },
    /// The function returned (any other 2xx).
    Returned {
        /// Its return value.
        output: Json,
    },
    /// The call or the function failed.
    Failed(Failure),
}

/// What headers say about another attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryHint {
    /// `x-inngest-no-retry: true`.
    pub no_retry: bool,
    /// `Retry-After` as sent.
    pub after: Option<String>,
}

/// Why a call gave no ops and no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Whose failure it is.
    pub class: FailureClass,
    /// Stable word for programs, for example `http_unreachable`.
    pub code: &'static str,
    /// What we saw, for example `invalid status code: 500`.
    pub reason: String,
    /// What user code (or we, in its place) says about it.
    pub error: StepError,
    /// Whether and when to try again.
    pub retry: RetryHint,
}

/// Whose failure it is (promise P21 in the reliability reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Ours.
    Engine,
    /// Between us and the app.
    Network,
    /// The app's.
    App,
    /// A limit was hit.
    Limit,
    /// A key did not fit.
    Auth,
    /// A setting is wrong.
    Config,
}

impl FailureClass {
    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Network => "network",
            Self::App => "app",
            Self::Limit => "limit",
            Self::Auth => "auth",
            Self::Config => "config",
        }
    }
}
