//! What an app can ask for in a reply.

use crate::{ids::StepId, json::Json, run::StepTold};

/// One reported op. Parsing and its limits are in `wire::reply`.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// The step it is about (for `RunComplete` and its like: an id that names nothing).
    pub step: StepId,
    /// What people call the step: `displayName`, else `name`, else the id.
    pub name: String,
    /// What is asked for.
    pub kind: OpKind,
    /// When the app started it and for how long it worked, where it said so.
    pub timing: Option<OpTiming>,
    /// What the SDK calls code of this sort, for example `step.sendEvent`: `opts.type`, where it is there.
    pub sort: Option<String>,
    /// What else the app says of the step.
    pub told: StepTold,
    /// `opts.parallelMode` is `race`: discovery must not wait for the rest of the group.
    pub is_race: bool,
}

/// Start in nanoseconds since the epoch and duration in nanoseconds, as the app measured them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpTiming {
    /// Start, ns since the epoch.
    pub started_ns: u64,
    /// Duration, ns.
    pub duration_ns: u64,
}

/// The ops of sdk-protocol section 4.8.
#[derive(Clone, Debug, PartialEq)]
pub enum OpKind {
    /// Nothing to do.
    None,
    /// A step ran and gave this result. The memo is `{"data": …}`.
    StepRun { data: Json },
    /// A step of the oldest dialect: the memo is the data as it is.
    StepVerbatim { data: Json },
    /// A step failed, and may be tried again.
    StepError { error: StepError },
    /// A step failed for good.
    StepFailed { error: StepError },
    /// A step was found but not run.
    StepPlanned,
    /// Sleep. The text is a duration or a date (sdk-protocol 5.6); empty means no time at all.
    Sleep { text: String },
    /// Wait for an event.
    WaitForEvent {
        event: String,
        expression: Option<String>,
        timeout: String,
    },
    /// Start another function and wait for its result. `payload` is an object or null.
    Invoke {
        function: String,
        payload: Json,
        timeout: Option<String>,
    },
    /// Wait for a signal.
    WaitForSignal {
        signal: String,
        timeout: Option<String>,
        replace: bool,
    },
    /// Make an HTTP request for the app.
    Fetch(FetchRequest),
    /// The function has returned.
    RunComplete { data: Json },
    /// Call the app again to find what comes next.
    Discover,
    /// Call another function once this run has ended.
    DeferAdd { function: String, input: Json },
    /// Take back a [`OpKind::DeferAdd`].
    DeferAbort { target: StepId },
}

impl OpKind {
    /// Lazy ops do not count when it is decided whether a reply is parallel.
    pub fn is_lazy(&self) -> bool {
        matches!(self, Self::DeferAdd { .. } | Self::DeferAbort { .. })
    }
}

/// An HTTP request that the server makes as a durable step (`Gateway`, `AIGateway`).
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRequest {
    /// Whether it is an inference request, whose status must be a success.
    pub is_inference: bool,
    /// The op's `opts` as sent, including secrets: never log or show it.
    pub opts: Json,
}

/// An error of user code, or ours about user code, as SDKs understand it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepError {
    /// Class of the error, for example `TypeError`.
    pub name: String,
    /// What happened.
    pub message: String,
    /// Stack trace, where there is one.
    pub stack: Option<String>,
    /// Value carried along; an explicit null is kept, because the Go SDK needs it.
    pub data: Option<Json>,
    /// What caused it.
    pub cause: Option<Json>,
    /// The error itself forbids a retry.
    pub no_retry: bool,
    /// The error itself asks for a later attempt: text in any form of `duration::retry_after`.
    pub retry_after: Option<String>,
}

impl StepError {
    /// An error with nothing but a name and a message.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
            stack: None,
            data: None,
            cause: None,
            no_retry: false,
            retry_after: None,
        }
    }
}
