//! Spans of runs, nested.

use std::sync::Arc;

use async_graphql::{Enum, Object, SimpleObject, Union};

use inngest_core::{
    op,
    run::{StepKind, trace::SpanStatus},
    wire::v0::trace::{self, Node},
};

use crate::{
    graphql::scalars::UlidText,
    v0::scalars::{Bytes, SpanMetadataKind, SpanMetadataScope, SpanMetadataValues, Time, Unknown},
};

/// A span of a run, and what lies below it.
pub(crate) struct RunTraceSpan(pub(crate) Arc<Node>);

/// A span of a run, and what lies below it.
#[Object]
impl RunTraceSpan {
    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The run.
    #[graphql(name = "runID")]
    async fn run_id(&self) -> UlidText {
        UlidText(self.0.run.to_string())
    }

    /// Where it is.
    async fn status(&self) -> RunTraceSpanStatus {
        self.0.status.into()
    }

    /// Number of the last attempt, from 0.
    async fn attempts(&self) -> Option<i32> {
        self.0
            .attempts
            .map(|attempts| i32::try_from(attempts).unwrap_or(i32::MAX))
    }

    /// Whether it stands for the whole run.
    async fn is_root(&self) -> bool {
        self.0.parent.is_none()
    }

    /// The span above.
    #[graphql(name = "parentSpanID")]
    async fn parent_span_id(&self) -> Option<String> {
        self.0.parent.map(|parent| parent.to_string())
    }

    /// Its id.
    #[graphql(name = "spanID")]
    async fn span_id(&self) -> String {
        self.0.id.to_string()
    }

    /// When it began, where that is known.
    async fn started_at(&self) -> Option<Time> {
        self.0.started_at.map(Time)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<Time> {
        self.0.ended_at.map(Time)
    }

    /// Milliseconds from start to end.
    async fn duration(&self) -> Option<i32> {
        let lasted = self.0.ended_at?.since(self.0.started_at?).as_millis();
        Some(i32::try_from(lasted).unwrap_or(i32::MAX))
    }

    /// Names its result or error for `runTraceSpanOutputByID`; null before there is one.
    #[graphql(name = "outputID")]
    async fn output_id(&self) -> Option<String> {
        self.0.output.as_ref().map(ToString::to_string)
    }

    /// What the step does; null for the run, and for what has no word in this API.
    async fn step_op(&self) -> Option<StepOp> {
        self.0.kind.and_then(StepOp::of)
    }

    /// Hashed id of the step.
    #[graphql(name = "stepID")]
    async fn step_id(&self) -> Option<&str> {
        self.0.step.as_ref().map(|step| step.as_str())
    }

    /// `FINALIZATION` for the request that ended the run, else the SDK's word for the step, else the word of `stepOp`, else empty.
    async fn step_type(&self) -> &str {
        match (self.0.kind, &self.0.info) {
            _ if self.0.is_final => "FINALIZATION",
            (_, Some(trace::StepInfo::Code { sort })) => sort,
            (Some(kind), _) => StepOp::of(kind).map_or("", StepOp::word),
            (None, _) => "",
        }
    }

    /// What the step asked for, and what came of it.
    async fn step_info(&self) -> Option<StepInfo> {
        let ran = (self.0.kind == Some(StepKind::Run)).then_some(RunStepInfo { kind: None });
        let asked = self.0.info.clone().map(StepInfo::from);
        asked.or(ran.map(StepInfo::Run))
    }

    /// Entries attached to it; this server keeps none.
    async fn metadata(&self) -> Vec<SpanMetadata> {
        Vec::new()
    }

    /// Spans below, by start.
    #[graphql(complexity = "5 * child_complexity")]
    async fn children_spans(&self) -> Vec<RunTraceSpan> {
        self.0.children.iter().cloned().map(RunTraceSpan).collect()
    }
}

/// An entry attached to a span. This server keeps none, but clients select its fields.
#[derive(SimpleObject)]
pub(crate) struct SpanMetadata {
    /// What it is attached to.
    scope: SpanMetadataScope,
    /// Sort of entry.
    kind: SpanMetadataKind,
    /// The entry.
    values: SpanMetadataValues,
    /// When it was last changed.
    updated_at: Time,
}

/// Where a span is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunTraceSpanStatus {
    /// Ended with an error.
    Failed,
    /// Not begun.
    Queued,
    /// Under way.
    Running,
    /// Ended without an error.
    Completed,
    /// Asleep or waiting.
    Waiting,
    /// Ended by a cancellation.
    Cancelled,
    /// Never executed.
    Skipped,
}

impl From<SpanStatus> for RunTraceSpanStatus {
    fn from(status: SpanStatus) -> Self {
        match status {
            SpanStatus::Queued => Self::Queued,
            SpanStatus::Running => Self::Running,
            SpanStatus::Waiting => Self::Waiting,
            SpanStatus::Completed => Self::Completed,
            SpanStatus::Failed => Self::Failed,
            SpanStatus::Cancelled => Self::Cancelled,
            SpanStatus::Skipped => Self::Skipped,
        }
    }
}

/// What a step does.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepOp {
    /// Calls another function.
    Invoke,
    /// Runs code.
    Run,
    /// Sleeps.
    Sleep,
    /// Waits for an event.
    WaitForEvent,
    /// Model request made by the server.
    AiGateway,
    /// Waits for a signal.
    WaitForSignal,
}

impl StepOp {
    /// None for HTTP requests made by the server, for which this API has no word.
    fn of(kind: StepKind) -> Option<Self> {
        match kind {
            StepKind::Run => Some(Self::Run),
            StepKind::Sleep => Some(Self::Sleep),
            StepKind::WaitForEvent => Some(Self::WaitForEvent),
            StepKind::Invoke => Some(Self::Invoke),
            StepKind::WaitForSignal => Some(Self::WaitForSignal),
            StepKind::Infer => Some(Self::AiGateway),
            StepKind::Fetch => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Invoke => "INVOKE",
            Self::Run => "RUN",
            Self::Sleep => "SLEEP",
            Self::WaitForEvent => "WAIT_FOR_EVENT",
            Self::AiGateway => "AI_GATEWAY",
            Self::WaitForSignal => "WAIT_FOR_SIGNAL",
        }
    }
}

/// What a step asked for, and what came of it.
#[derive(Union)]
pub(crate) enum StepInfo {
    Invoke(InvokeStepInfo),
    Sleep(SleepStepInfo),
    Event(WaitForEventStepInfo),
    Run(RunStepInfo),
    Signal(WaitForSignalStepInfo),
}

/// A step that invoked a function.
#[derive(SimpleObject)]
pub(crate) struct InvokeStepInfo {
    /// The event that was sent for it.
    #[graphql(name = "triggeringEventID")]
    triggering_event_id: UlidText,
    /// Slug of the function.
    #[graphql(name = "functionID")]
    function_id: String,
    /// When it gives up.
    timeout: Time,
    /// The event that told of the end.
    #[graphql(name = "returnEventID")]
    return_event_id: Option<UlidText>,
    /// The run that was started.
    #[graphql(name = "runID")]
    run_id: Option<UlidText>,
    /// Whether it gave up; null while it waits.
    timed_out: Option<bool>,
}

/// A step that slept.
#[derive(SimpleObject)]
pub(crate) struct SleepStepInfo {
    /// When it ends.
    sleep_until: Time,
}

/// A step that waited for an event.
#[derive(SimpleObject)]
pub(crate) struct WaitForEventStepInfo {
    /// Name of the event.
    event_name: String,
    /// Condition.
    expression: Option<String>,
    /// When it gives up.
    timeout: Time,
    /// The event that came.
    #[graphql(name = "foundEventID")]
    found_event_id: Option<UlidText>,
    /// Whether it gave up; null while it waits.
    timed_out: Option<bool>,
}

/// A step that ran code.
#[derive(SimpleObject)]
pub(crate) struct RunStepInfo {
    /// What the SDK calls code of this sort; null where it has no word for it.
    #[graphql(name = "type")]
    kind: Option<String>,
}

/// A step that waited for a signal.
#[derive(SimpleObject)]
pub(crate) struct WaitForSignalStepInfo {
    /// Name of the signal.
    signal: String,
    /// When it gives up.
    timeout: Time,
    /// Whether it gave up; null while it waits.
    timed_out: Option<bool>,
}

impl From<trace::StepInfo> for StepInfo {
    fn from(info: trace::StepInfo) -> Self {
        let ulid = |id: inngest_core::ids::EventId| UlidText(id.to_string());
        match info {
            trace::StepInfo::Code { sort } => Self::Run(RunStepInfo { kind: Some(sort) }),
            trace::StepInfo::Invoke {
                event,
                function,
                timeout,
                returned,
                run,
                timed_out,
            } => Self::Invoke(InvokeStepInfo {
                triggering_event_id: ulid(event),
                function_id: function,
                timeout: Time(timeout),
                return_event_id: returned.map(ulid),
                run_id: run.map(|run| UlidText(run.to_string())),
                timed_out,
            }),
            trace::StepInfo::Sleep { until } => Self::Sleep(SleepStepInfo {
                sleep_until: Time(until),
            }),
            trace::StepInfo::Event {
                name,
                expression,
                timeout,
                found,
                timed_out,
            } => Self::Event(WaitForEventStepInfo {
                event_name: name,
                expression,
                timeout: Time(timeout),
                found_event_id: found.map(ulid),
                timed_out,
            }),
            trace::StepInfo::Signal {
                name,
                timeout,
                timed_out,
            } => Self::Signal(WaitForSignalStepInfo {
                signal: name,
                timeout: Time(timeout),
                timed_out,
            }),
        }
    }
}

/// What a span brought: exactly one of the two.
#[derive(SimpleObject)]
pub(crate) struct RunTraceSpanOutput {
    /// The result as JSON text.
    data: Option<Bytes>,
    /// The error.
    error: Option<StepError>,
}

impl From<trace::Output> for RunTraceSpanOutput {
    fn from(output: trace::Output) -> Self {
        match output {
            trace::Output::Data(data) => Self {
                data: Some(Bytes(data.as_str().to_owned())),
                error: None,
            },
            trace::Output::Error(error) => Self {
                data: None,
                error: Some(error.into()),
            },
        }
    }
}

/// An error of a step or of a run.
#[derive(SimpleObject)]
pub(crate) struct StepError {
    /// What happened.
    message: String,
    /// Class of the error.
    name: Option<String>,
    /// Stack trace.
    stack: Option<String>,
    /// What caused it.
    cause: Option<Unknown>,
}

impl From<op::StepError> for StepError {
    fn from(error: op::StepError) -> Self {
        Self {
            message: error.message,
            name: Some(error.name),
            stack: error.stack,
            cause: error.cause.map(Unknown),
        }
    }
}
