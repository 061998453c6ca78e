//! Bodies of REST answers: their own types, because clients hold us to them. The OpenAPI document is made of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use inngest_core::{
    access::Actor,
    app::App,
    event::Event,
    json::Json,
    run::{
        Run, RunStatus, StepKind, StepRecord, StepStatus, TriggerKind,
        trace::{Span, SpanKind, SpanStatus, TraceId},
    },
    time::Timestamp,
};
use inngest_services::{FunctionView, RunView, Started, Trace};

use crate::rest::pauses::PauseBody;

/// One event: what its sender gave, and what we know about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventBody {
    /// Our id, a ULID.
    internal_id: String,
    /// The organization.
    account_id: String,
    environment_id: String,
    /// Always empty.
    source: &'static str,
    /// Always null.
    source_id: (),
    /// When it was accepted.
    #[schemars(extend("format" = "date-time"))]
    received_at: String,
    /// The sender's own id, else ours.
    id: String,
    name: String,
    /// Data of the event.
    #[schemars(with = "Value")]
    data: Json,
    /// When it happened, as its sender says, in ms since the epoch.
    ts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    user: Option<Json>,
    /// Version of its shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    v: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    meta: Option<Json>,
}

impl EventBody {
    pub(crate) fn new(actor: &Actor, event: &Event) -> Self {
        let mut body = Self {
            internal_id: event.id.to_string(),
            account_id: actor.org.to_string(),
            environment_id: actor.env.to_string(),
            source: "",
            source_id: (),
            received_at: event.received_at.to_rfc3339(),
            id: event.key.clone(),
            name: event.name.clone(),
            data: Json::null(),
            ts: event.ts.as_millis(),
            user: None,
            v: None,
            meta: None,
        };
        for (name, value) in event.body.members() {
            match name.as_ref() {
                "data" => body.data = value,
                "user" if value != Json::empty_object() => body.user = Some(value),
                "v" => body.v = Some(value),
                "meta" => body.meta = Some(value),
                _ => {}
            }
        }
        body
    }
}

/// One run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub(crate) struct RunBody {
    /// A ULID.
    run_id: String,
    /// When its app was first called, or when it was scheduled if that has not happened yet.
    #[schemars(extend("format" = "date-time"))]
    run_started_at: String,
    #[schemars(extend("format" = "date-time"))]
    queued_at: String,
    /// When its app was first called.
    #[schemars(extend("format" = "date-time"))]
    started_at: Option<String>,
    function_id: String,
    /// Null when the function is not stored any more.
    function_slug: Option<String>,
    function_version: u32,
    app_id: String,
    /// Null when the app is not stored any more.
    app_name: Option<String>,
    environment_id: String,
    /// The event that started it, or the first of them.
    event_id: String,
    event_ids: Vec<String>,
    event_name: String,
    #[schemars(extend("enum" = TRIGGERS))]
    trigger: &'static str,
    /// The first run that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    original_run_id: Option<String>,
    /// The schedule that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[schemars(extend("enum" = STATUSES))]
    status: &'static str,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    /// The return value of a completed run, the error of a failed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    output: Option<Json>,
}

impl RunBody {
    pub(crate) fn new(actor: &Actor, view: &RunView) -> Self {
        let run = &view.run;
        Self {
            run_id: run.id.to_string(),
            run_started_at: run.started_at.unwrap_or(run.queued_at).to_rfc3339(),
            queued_at: run.queued_at.to_rfc3339(),
            started_at: run.started_at.map(Timestamp::to_rfc3339),
            function_id: run.function.to_string(),
            function_slug: view.function.as_ref().map(|it| it.slug.clone()),
            function_version: run.function_version,
            app_id: run.app.to_string(),
            app_name: view.app.as_ref().map(|app| app.name.clone()),
            environment_id: actor.env.to_string(),
            event_id: run
                .events
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            event_ids: run.events.iter().map(ToString::to_string).collect(),
            event_name: run.event_name.clone(),
            trigger: trigger_word(run.trigger_kind()),
            original_run_id: run.original.map(|id| id.to_string()),
            cron: run.cron.clone(),
            status: status_word(run.status),
            ended_at: run.ended.as_ref().map(|ended| ended.at.to_rfc3339()),
            output: output_of(run),
        }
    }
}

/// The return value of a completed run, the error of a failed one.
pub(crate) fn output_of(run: &Run) -> Option<Json> {
    let has_output = matches!(run.status, RunStatus::Completed | RunStatus::Failed);
    let ended = run.ended.as_ref().filter(|_| has_output)?;
    Some(ended.output.clone())
}

/// Every word of [`status_word`].
pub(crate) const STATUSES: &[&str] = &[
    "Scheduled",
    "Running",
    "Completed",
    "Failed",
    "Cancelled",
    "Skipped",
];

/// The words of the older API: a queued run is `Scheduled` there.
pub(crate) fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "Scheduled",
        RunStatus::Running => "Running",
        RunStatus::Completed => "Completed",
        RunStatus::Failed => "Failed",
        RunStatus::Cancelled => "Cancelled",
        RunStatus::Skipped => "Skipped",
    }
}

/// A status in any letter case; `queued` means `Scheduled`.
pub(crate) fn parse_status(text: &str) -> Option<RunStatus> {
    if text.eq_ignore_ascii_case("queued") {
        return Some(RunStatus::Queued);
    }
    RunStatus::ALL
        .iter()
        .copied()
        .find(|status| status_word(*status).eq_ignore_ascii_case(text))
}

/// Every word of [`trigger_word`].
pub(crate) const TRIGGERS: &[&str] = &["event", "batch", "cron", "invoke", "rerun", "replay"];

fn trigger_word(kind: TriggerKind) -> &'static str {
    match kind {
        TriggerKind::Event => "event",
        TriggerKind::Batch => "batch",
        TriggerKind::Cron => "cron",
        TriggerKind::Invoke => "invoke",
        TriggerKind::Rerun => "rerun",
        TriggerKind::Replay => "replay",
    }
}

/// A way of starting in any letter case.
pub(crate) fn parse_trigger(text: &str) -> Option<TriggerKind> {
    TriggerKind::ALL
        .iter()
        .copied()
        .find(|kind| trigger_word(*kind).eq_ignore_ascii_case(text))
}

/// One step of a run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Step")]
pub(crate) struct StepBody {
    /// The id that its SDK made; what a rerun begins from.
    id: String,
    name: String,
    kind: StepKindWord,
    status: StepStatusWord,
    failed_attempts: u32,
    #[schemars(extend("format" = "date-time"))]
    queued_at: String,
    #[schemars(extend("format" = "date-time"))]
    started_at: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    /// Its result, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    output: Option<Json>,
    /// Its last error, when it failed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    error: Option<Json>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StepKind")]
enum StepKindWord {
    Run,
    Sleep,
    WaitForEvent,
    Invoke,
    WaitForSignal,
    Fetch,
    Infer,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StepStatus")]
enum StepStatusWord {
    Open,
    Completed,
    Failed,
    TimedOut,
    Cancelled,
}

impl StepBody {
    pub(crate) fn new(step: &StepRecord) -> Self {
        Self {
            id: step.step.to_string(),
            name: step.name.clone(),
            kind: match step.kind {
                StepKind::Run => StepKindWord::Run,
                StepKind::Sleep => StepKindWord::Sleep,
                StepKind::WaitForEvent => StepKindWord::WaitForEvent,
                StepKind::Invoke => StepKindWord::Invoke,
                StepKind::WaitForSignal => StepKindWord::WaitForSignal,
                StepKind::Fetch => StepKindWord::Fetch,
                StepKind::Infer => StepKindWord::Infer,
            },
            status: match step.status {
                StepStatus::Open => StepStatusWord::Open,
                StepStatus::Completed => StepStatusWord::Completed,
                StepStatus::Failed => StepStatusWord::Failed,
                StepStatus::TimedOut => StepStatusWord::TimedOut,
                StepStatus::Cancelled => StepStatusWord::Cancelled,
            },
            failed_attempts: step.failed_attempts,
            queued_at: step.queued_at.to_rfc3339(),
            started_at: step.started_at.map(Timestamp::to_rfc3339),
            ended_at: step.ended_at.map(Timestamp::to_rfc3339),
            output: step.output(),
            error: match step.status {
                StepStatus::Failed | StepStatus::TimedOut => step.error(),
                StepStatus::Open | StepStatus::Completed | StepStatus::Cancelled => None,
            },
        }
    }
}

/// The spans of one run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trace")]
pub(crate) struct TraceBody {
    /// 32 hex digits.
    trace_id: String,
    /// The root first; each step is followed by its own spans.
    spans: Vec<SpanBody>,
}

/// One span.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Span")]
pub(crate) struct SpanBody {
    /// 16 hex digits.
    span_id: String,
    /// The span above; null for the root.
    parent_span_id: Option<String>,
    name: String,
    kind: SpanKindWord,
    status: SpanStatusWord,
    step_id: Option<String>,
    /// Counted from 0.
    attempt: Option<u32>,
    #[schemars(extend("format" = "date-time"))]
    queued_at: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    started_at: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    error: Option<Json>,
    /// Runs that it has started.
    run_ids: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SpanKind")]
enum SpanKindWord {
    Run,
    Step,
    Attempt,
    Request,
    Queue,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SpanStatus")]
enum SpanStatusWord {
    Queued,
    Running,
    Waiting,
    Completed,
    Failed,
    Cancelled,
    Skipped,
}

impl TraceBody {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self {
            trace_id: TraceId::of(trace.run.id).to_string(),
            spans: trace.spans.iter().map(SpanBody::new).collect(),
        }
    }
}

impl SpanBody {
    fn new(span: &Span) -> Self {
        Self {
            span_id: span.id.to_string(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            name: span.name.clone(),
            kind: match span.kind {
                SpanKind::Run => SpanKindWord::Run,
                SpanKind::Step => SpanKindWord::Step,
                SpanKind::Attempt => SpanKindWord::Attempt,
                SpanKind::Request => SpanKindWord::Request,
                SpanKind::Queue => SpanKindWord::Queue,
            },
            status: match span.status {
                SpanStatus::Queued => SpanStatusWord::Queued,
                SpanStatus::Running => SpanStatusWord::Running,
                SpanStatus::Waiting => SpanStatusWord::Waiting,
                SpanStatus::Completed => SpanStatusWord::Completed,
                SpanStatus::Failed => SpanStatusWord::Failed,
                SpanStatus::Cancelled => SpanStatusWord::Cancelled,
                SpanStatus::Skipped => SpanStatusWord::Skipped,
            },
            step_id: span.step.as_ref().map(ToString::to_string),
            attempt: span.attempt,
            queued_at: span.queued_at.map(Timestamp::to_rfc3339),
            started_at: span.started_at.map(Timestamp::to_rfc3339),
            ended_at: span.ended_at.map(Timestamp::to_rfc3339),
            error: span.failure.clone(),
            run_ids: span.links.iter().map(|link| link.run.to_string()).collect(),
        }
    }
}

/// One app.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "App")]
pub(crate) struct AppBody {
    /// A UUID; follows from the name.
    id: String,
    /// The id in code.
    name: String,
    environment_id: String,
    /// Where it is served.
    url: String,
    /// Version of the user's code, where it says one.
    version: Option<String>,
    sdk_language: String,
    sdk_version: String,
    framework: Option<String>,
    /// Why the last sync failed, when it did.
    error: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    /// When it last changed.
    #[schemars(extend("format" = "date-time"))]
    synced_at: String,
    /// When it was removed.
    #[schemars(extend("format" = "date-time"))]
    archived_at: Option<String>,
}

impl AppBody {
    pub(crate) fn new(actor: &Actor, app: &App) -> Self {
        Self {
            id: app.id.to_string(),
            name: app.name.clone(),
            environment_id: actor.env.to_string(),
            url: app.url.clone(),
            version: app.version.clone(),
            sdk_language: app.sdk_language.clone(),
            sdk_version: app.sdk_version.clone(),
            framework: app.framework.clone(),
            error: app.failure.as_ref().map(|it| it.message.clone()),
            created_at: app.created_at.to_rfc3339(),
            synced_at: app.synced_at.to_rfc3339(),
            archived_at: app.archived_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// One function.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Function")]
pub(crate) struct FunctionBody {
    /// A UUID; follows from app and slug.
    internal_id: String,
    env_id: String,
    /// The app's UUID.
    app_id: String,
    /// The slug: app and function joined by a hyphen.
    id: String,
    name: String,
    /// Counts the syncs that changed it, from 1.
    version: u32,
    /// As the app registered it.
    #[schemars(with = "Value")]
    config: Json,
    /// Whether it starts no run for now.
    is_paused: bool,
    /// Why and how; null when it is not paused.
    pause: Option<PauseBody>,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    archived_at: Option<String>,
}

impl FunctionBody {
    pub(crate) fn new(actor: &Actor, view: &FunctionView) -> Self {
        let function = &view.function;
        Self {
            internal_id: function.id.to_string(),
            env_id: actor.env.to_string(),
            app_id: view.app.id.to_string(),
            id: function.slug.clone(),
            name: function.name.clone(),
            version: function.version,
            config: function.config.clone(),
            is_paused: function.pause.is_some(),
            pause: function.pause.as_ref().map(PauseBody::new),
            created_at: function.created_at.to_rfc3339(),
            archived_at: function.archived_at.map(Timestamp::to_rfc3339),
        }
    }

    /// The older API writes year one for "never".
    pub(crate) fn with_year_one(mut self) -> Self {
        self.archived_at
            .get_or_insert_with(|| "0001-01-01T00:00:00Z".to_owned());
        self
    }
}

/// What an invocation has led to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invoked")]
pub(crate) struct InvokedBody {
    /// The event of the invocation.
    event_id: String,
    /// The run; null when it is not stored any more.
    run_id: Option<String>,
}

impl InvokedBody {
    pub(crate) fn new(started: Started) -> Self {
        Self {
            event_id: started.event.to_string(),
            run_id: started.run.map(|run| run.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for (status, word) in RunStatus::ALL.iter().zip(STATUSES) {
            assert_eq!(status_word(*status), *word);
            assert_eq!(parse_status(&word.to_lowercase()), Some(*status));
        }
        assert_eq!(parse_status("QUEUED"), Some(RunStatus::Queued));
        assert_eq!(parse_status("done"), None);
        for (kind, word) in TriggerKind::ALL.iter().zip(TRIGGERS) {
            assert_eq!(trigger_word(*kind), *word);
            assert_eq!(parse_trigger(&word.to_uppercase()), Some(*kind));
        }
    }
}
