//! Bodies of `/v2`.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use inngest_core::{
    app::App,
    function::config::{FunctionConfig, Trigger},
    json::Json,
    run::{
        RunStatus,
        trace::{Span, SpanId, SpanStatus},
    },
    time::Timestamp,
    wire,
};
use inngest_services::{FunctionView, RunView, Trace};

use crate::rest::body::output_of;

/// One run.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FunctionRunV2")]
pub(super) struct RunBody {
    id: String,
    function: NamedFunction,
    app: AppName,
    #[schemars(extend("enum" = RUN_STATUSES))]
    status: &'static str,
    #[schemars(extend("format" = "date-time"))]
    queued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    /// From its start to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<String>,
    trigger: TriggerOfRun,
    /// The return value of a completed run, the error of a failed one, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    output: Option<Json>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FunctionNameV2")]
struct NamedFunction {
    /// The id in code.
    id: String,
    name: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppNameV2")]
struct AppName {
    /// The id in code.
    id: String,
}

/// What started it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunTriggerV2")]
struct TriggerOfRun {
    event_ids: Vec<String>,
    event_name: String,
    is_batch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron_schedule: Option<String>,
}

/// Every word of [`status_word`].
pub(super) const RUN_STATUSES: &[&str] = &[
    "QUEUED",
    "RUNNING",
    "COMPLETED",
    "FAILED",
    "CANCELLED",
    "SKIPPED",
];

fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "QUEUED",
        RunStatus::Running => "RUNNING",
        RunStatus::Completed => "COMPLETED",
        RunStatus::Failed => "FAILED",
        RunStatus::Cancelled => "CANCELLED",
        RunStatus::Skipped => "SKIPPED",
    }
}

/// A status in any letter case.
pub(super) fn parse_status(text: &str) -> Option<RunStatus> {
    RunStatus::ALL
        .iter()
        .copied()
        .find(|status| status_word(*status).eq_ignore_ascii_case(text))
}

/// The id in code: what the slug has after the name of the app.
fn id_in_code<'a>(slug: &'a str, app: &str) -> &'a str {
    let rest = slug.strip_prefix(app).and_then(|it| it.strip_prefix('-'));
    rest.unwrap_or(slug)
}

/// An object as it is, anything else as the `data` of one.
fn object(value: Json) -> Json {
    match value.is_object() {
        true => value,
        false => Json::object([("data", &value)]),
    }
}

impl RunBody {
    pub(super) fn new(view: &RunView, with_output: bool) -> Self {
        let run = &view.run;
        let app = view.app.as_ref().map_or("", |app| app.name.as_str());
        let ended_at = run.ended.as_ref().map(|ended| ended.at);
        let took = run.started_at.zip(ended_at);
        Self {
            id: run.id.to_string(),
            function: match &view.function {
                Some(function) => NamedFunction {
                    id: id_in_code(&function.slug, app).to_owned(),
                    name: function.name.clone(),
                },
                None => NamedFunction {
                    id: run.function.to_string(),
                    name: String::new(),
                },
            },
            app: AppName { id: app.to_owned() },
            status: status_word(run.status),
            queued_at: run.queued_at.to_rfc3339(),
            started_at: run.started_at.map(Timestamp::to_rfc3339),
            ended_at: ended_at.map(Timestamp::to_rfc3339),
            duration_ms: took.map(|(from, until)| until.since(from).as_millis().to_string()),
            trigger: TriggerOfRun {
                event_ids: run.events.iter().map(ToString::to_string).collect(),
                event_name: run.event_name.clone(),
                is_batch: run.events.len() > 1,
                cron_schedule: run.cron.clone(),
            },
            output: output_of(run).filter(|_| with_output).map(object),
        }
    }
}

/// One app.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppV2")]
pub(super) struct AppBody {
    /// The id in code.
    id: String,
    name: String,
    #[schemars(extend("enum" = ["SERVE"]))]
    method: &'static str,
    /// Version of the user's code, where it says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    is_archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    archived_at: Option<String>,
    latest_sync: SyncBody,
}

/// The last sync of an app.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SyncV2")]
struct SyncBody {
    #[schemars(extend("format" = "date-time"))]
    synced_at: String,
    sdk_language: String,
    sdk_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    framework: Option<String>,
    url: String,
    /// Why it failed, when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl AppBody {
    pub(super) fn new(app: &App) -> Self {
        Self {
            id: app.name.clone(),
            name: app.name.clone(),
            method: "SERVE",
            app_version: app.version.clone(),
            created_at: app.created_at.to_rfc3339(),
            is_archived: app.archived_at.is_some(),
            archived_at: app.archived_at.map(Timestamp::to_rfc3339),
            latest_sync: SyncBody {
                synced_at: app.synced_at.to_rfc3339(),
                sdk_language: app.sdk_language.clone(),
                sdk_version: app.sdk_version.clone(),
                framework: app.framework.clone(),
                url: app.url.clone(),
                error: app.failure.as_ref().map(|it| it.message.clone()),
            },
        }
    }
}

/// One function.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FunctionV2")]
pub(super) struct FunctionBody {
    /// The id in code.
    id: String,
    /// The same.
    slug: String,
    name: String,
    /// Whether it starts no run for now.
    is_paused: bool,
    is_archived: bool,
    app: AppName,
    triggers: Vec<TriggerBody>,
    configuration: ConfigBody,
}

/// What starts a function.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TriggerV2")]
struct TriggerBody {
    #[schemars(extend("enum" = ["EVENT", "CRON"]))]
    r#type: &'static str,
    /// Name of the event, or schedule.
    value: String,
    /// Which events.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#if: Option<String>,
}

/// Settings of a function.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConfigurationV2")]
struct ConfigBody {
    retries: RetriesBody,
    cancellations: Vec<CancelBody>,
}

/// How often it is tried again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RetriesV2")]
struct RetriesBody {
    value: u32,
    is_default: bool,
}

/// What cancels its runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CancellationV2")]
struct CancelBody {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    /// In ms, from when the run was queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

impl FunctionBody {
    pub(super) fn new(view: &FunctionView) -> Self {
        let (function, app) = (&view.function, &view.app);
        let id = id_in_code(&function.slug, &app.name).to_owned();
        // What was registered by a version that read configurations otherwise has none that this one knows.
        let config = wire::sync::parse_config(&function.config).ok();
        Self {
            slug: id.clone(),
            id,
            name: function.name.clone(),
            is_paused: function.pause.is_some(),
            is_archived: function.archived_at.is_some(),
            app: AppName {
                id: app.name.clone(),
            },
            triggers: config.as_ref().map_or_else(Vec::new, triggers_of),
            configuration: ConfigBody::new(config.as_ref()),
        }
    }
}

fn triggers_of(config: &FunctionConfig) -> Vec<TriggerBody> {
    let body = |trigger: &Trigger| match trigger {
        Trigger::Event {
            pattern,
            expression,
        } => TriggerBody {
            r#type: "EVENT",
            value: pattern.clone(),
            r#if: expression.clone(),
        },
        Trigger::Cron { schedule, .. } => TriggerBody {
            r#type: "CRON",
            value: schedule.clone(),
            r#if: None,
        },
    };
    config.triggers.iter().map(body).collect()
}

impl ConfigBody {
    fn new(config: Option<&FunctionConfig>) -> Self {
        let default = inngest_core::limits::DEFAULT_RETRIES;
        let retries = config.map_or(default, |config| config.retries);
        let cancels = config.map_or(&[][..], |config| config.cancels.as_slice());
        Self {
            retries: RetriesBody {
                value: retries,
                is_default: retries == default,
            },
            cancellations: cancels
                .iter()
                .map(|rule| CancelBody {
                    event: rule.event.clone(),
                    condition: rule.expression.clone(),
                    timeout: rule.timeout.map(|it| it.as_millis().to_string()),
                })
                .collect(),
        }
    }
}

/// A span with what is below it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TraceSpanV2")]
pub(super) struct SpanBody {
    id: String,
    name: String,
    #[schemars(extend("enum" = ["RUNNING", "COMPLETED", "FAILED", "WAITING", "CANCELLED", "SKIPPED"]))]
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    queued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    children: Vec<SpanBody>,
}

impl SpanBody {
    /// The root of a trace with all that is below it.
    pub(super) fn of(trace: &Trace) -> Option<Self> {
        let mut below: HashMap<SpanId, Vec<&Span>> = HashMap::new();
        for span in &trace.spans {
            if let Some(parent) = span.parent {
                below.entry(parent).or_default().push(span);
            }
        }
        let root = trace.spans.iter().find(|span| span.parent.is_none())?;
        Some(Self::new(root, &below))
    }

    /// Spans are nested three deep: run, step, attempt.
    fn new(span: &Span, below: &HashMap<SpanId, Vec<&Span>>) -> Self {
        let took = span.started_at.zip(span.ended_at);
        let children = below.get(&span.id).into_iter().flatten();
        Self {
            id: span.id.to_string(),
            name: span.name.clone(),
            status: match span.status {
                SpanStatus::Queued | SpanStatus::Waiting => "WAITING",
                SpanStatus::Running => "RUNNING",
                SpanStatus::Completed => "COMPLETED",
                SpanStatus::Failed => "FAILED",
                SpanStatus::Cancelled => "CANCELLED",
                SpanStatus::Skipped => "SKIPPED",
            },
            step_id: span.step.as_ref().map(ToString::to_string),
            duration_ms: took.map(|(from, until)| until.since(from).as_millis().to_string()),
            queued_at: span.queued_at.map(Timestamp::to_rfc3339),
            started_at: span.started_at.map(Timestamp::to_rfc3339),
            ended_at: span.ended_at.map(Timestamp::to_rfc3339),
            children: children.map(|child| Self::new(child, below)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_back_from_its_word() {
        for (status, word) in RunStatus::ALL.iter().zip(RUN_STATUSES) {
            assert_eq!(status_word(*status), *word);
            assert_eq!(parse_status(&word.to_lowercase()), Some(*status));
        }
        assert_eq!(parse_status("SCHEDULED"), None);
    }

    #[test]
    fn id_in_code_is_what_follows_the_app() {
        for (slug, app, id) in [
            ("shop-receipt", "shop", "receipt"),
            ("receipt", "shop", "receipt"),
            ("shopping-list", "shop", "shopping-list"),
        ] {
            assert_eq!(id_in_code(slug, app), id);
        }
    }
}
