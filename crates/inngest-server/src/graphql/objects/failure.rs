//! Errors of runs, steps and attempts.

use async_graphql::{ComplexObject, Context, Enum, Error, SimpleObject};

use inngest_core::{
    ids::{RunId, StepId},
    json::Json,
    op::StepError,
    run::{FailedAttempt, RunStatus},
    wire,
};

use crate::graphql::{
    loaders::{AttemptsOf, load},
    scalars::JsonScalar,
};

/// Error of a run, step or attempt.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ExecutionError {
    #[graphql(skip)]
    attempt: Source,
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

/// The attempt that an error is of.
enum Source {
    /// This one.
    Attempt(Fault),
    /// The last one of a step, or of the function itself.
    LastOf(RunId, Option<StepId>),
    /// None: the server ended the run.
    None,
}

/// What is known of an attempt beyond its error.
#[derive(Clone, Copy)]
struct Fault {
    origin: ErrorOrigin,
    is_retriable: bool,
}

impl Fault {
    fn of(attempt: &FailedAttempt) -> Self {
        let error = wire::memo::parse_error(&attempt.error);
        Self {
            origin: match attempt.class.as_str() {
                "app" if ["step_error", "function_error"].contains(&attempt.code.as_str()) => {
                    ErrorOrigin::UserCode
                }
                "app" => ErrorOrigin::Sdk,
                "network" => ErrorOrigin::Transport,
                _ => ErrorOrigin::Server,
            },
            is_retriable: attempt.next_at.is_some() || !error.no_retry,
        }
    }
}

/// Who produced an error.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ErrorOrigin {
    /// Code of the function.
    UserCode,
    /// The SDK, or whatever else answered in its place.
    Sdk,
    /// This server, for example a limit.
    Server,
    /// The network or a proxy between server and app.
    Transport,
}

#[ComplexObject]
impl ExecutionError {
    /// Whether it leaves room for another attempt; false where it forbids one. Null when it is of no attempt, for example because an
    /// invoked run failed.
    async fn is_retriable(&self, ctx: &Context<'_>) -> Option<Result<bool, Error>> {
        let fault = self.fault(ctx).await.transpose()?;
        Some(fault.map(|fault| fault.is_retriable))
    }

    /// Who produced it; null when it is of no attempt and not the server's either.
    async fn origin(&self, ctx: &Context<'_>) -> Option<Result<ErrorOrigin, Error>> {
        if matches!(self.attempt, Source::None) || self.name.starts_with(SERVER_ERROR) {
            return Some(Ok(ErrorOrigin::Server));
        }
        let fault = self.fault(ctx).await.transpose()?;
        Some(fault.map(|fault| fault.origin))
    }
}

/// How the names of errors begin with which the server ends a run.
const SERVER_ERROR: &str = "InngestErr";

impl ExecutionError {
    async fn fault(&self, ctx: &Context<'_>) -> Result<Option<Fault>, Error> {
        let (run, step) = match &self.attempt {
            Source::Attempt(fault) => return Ok(Some(*fault)),
            Source::LastOf(run, step) => (*run, step),
            Source::None => return Ok(None),
        };
        let failed = load(ctx, AttemptsOf(run)).await?.unwrap_or_default();
        let own = failed.iter().filter(|attempt| attempt.step == *step);
        // One that was followed by another did not end it.
        let last = own.max_by_key(|attempt| (attempt.at, attempt.attempt));
        Ok(last.filter(|last| last.next_at.is_none()).map(Fault::of))
    }

    fn new(error: StepError, attempt: Source) -> Self {
        Self {
            attempt,
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

    /// What user code, or we in its place, said about a failed attempt.
    pub(crate) fn of_attempt(attempt: &FailedAttempt) -> Self {
        let mut error = wire::memo::parse_error(&attempt.error);
        if error.name.is_empty() {
            error.name.clone_from(&attempt.code);
        }
        Self::new(error, Source::Attempt(Fault::of(attempt)))
    }

    /// What a step, or without one the run itself, failed with in the end.
    pub(crate) fn of_last(error: &Json, run: RunId, step: Option<StepId>) -> Self {
        Self::new(wire::memo::parse_error(error), Source::LastOf(run, step))
    }

    /// The error object of a failed run, or the reason of a cancelled one.
    pub(crate) fn of_run(run: RunId, status: RunStatus, output: &Json) -> Option<Self> {
        match status {
            RunStatus::Failed => Some(Self::of_last(output, run, None)),
            RunStatus::Cancelled => {
                let reason = cancel_reason(output).unwrap_or_else(|| "it was cancelled".to_owned());
                let error = StepError::new("Cancelled", reason);
                Some(Self::new(error, Source::None))
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
