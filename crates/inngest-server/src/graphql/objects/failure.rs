//! Errors of runs, steps and attempts.

use async_graphql::SimpleObject;

use inngest_core::{
    json::Json,
    op::StepError,
    run::{FailedAttempt, RunStatus},
    wire,
};

use crate::graphql::scalars::JsonScalar;

/// Error of a run, step or attempt.
#[derive(SimpleObject)]
pub(crate) struct ExecutionError {
    /// Class of the error, or a server code.
    name: String,
    /// Message of the error.
    message: String,
    /// Stack trace from the SDK.
    stack: Option<String>,
    /// Cause as given by the SDK.
    cause: Option<JsonScalar>,
    /// Extra data as given by the SDK.
    data: Option<JsonScalar>,
}

impl ExecutionError {
    /// What user code, or we in its place, said about a failed attempt.
    pub(crate) fn of_attempt(attempt: &FailedAttempt) -> Self {
        let mut error = wire::memo::parse_error(&attempt.error);
        if error.name.is_empty() {
            error.name.clone_from(&attempt.code);
        }
        error.into()
    }

    /// The error object of a failed run, or the reason of a cancelled one.
    pub(crate) fn of_run(status: RunStatus, output: &Json) -> Option<Self> {
        match status {
            RunStatus::Failed => Some(wire::memo::parse_error(output).into()),
            RunStatus::Cancelled => {
                let reason = cancel_reason(output).unwrap_or_else(|| "it was cancelled".to_owned());
                Some(StepError::new("Cancelled", reason).into())
            }
            RunStatus::Queued | RunStatus::Running | RunStatus::Completed | RunStatus::Skipped => {
                None
            }
        }
    }
}

/// The sentence that a cancelled run ends with.
pub(crate) fn cancel_reason(output: &Json) -> Option<String> {
    output.member("reason").and_then(|reason| reason.to_text())
}

impl From<StepError> for ExecutionError {
    fn from(error: StepError) -> Self {
        Self {
            name: if error.name.is_empty() {
                "Error".to_owned()
            } else {
                error.name
            },
            message: error.message,
            stack: error.stack,
            cause: error.cause.map(JsonScalar),
            data: error.data.filter(|data| !data.is_null()).map(JsonScalar),
        }
    }
}
