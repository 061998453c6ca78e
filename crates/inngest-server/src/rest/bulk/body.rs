//! Bodies of operations on many runs.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use inngest_core::{
    access::Actor,
    bulk::{BulkProgress, BulkStatus},
    run::RunStatus,
    time::Timestamp,
};
use inngest_services::{BulkView, FunctionHead, Preview};

use crate::rest::{
    body::{self, status_word},
    pauses::ByBody,
};

/// A replay of many runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub(super) struct ReplayBody {
    /// A ULID.
    id: String,
    name: Option<String>,
    environment_id: String,
    functions: Vec<FunctionRef>,
    /// Only runs queued at or after.
    #[schemars(extend("format" = "date-time"))]
    from: String,
    /// Only runs queued before.
    #[schemars(extend("format" = "date-time"))]
    until: String,
    /// Only runs in these states.
    #[schemars(extend("items" = {"enum": body::STATUSES}))]
    statuses: Vec<&'static str>,
    /// Only runs for which this holds.
    search: Option<String>,
    /// Runs that it starts in a second at most.
    rate_per_second: Option<u32>,
    #[schemars(extend("enum" = STATUSES))]
    status: &'static str,
    progress: ProgressBody,
    created_by: ByBody,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
}

impl ReplayBody {
    pub(super) fn new(actor: &Actor, view: &BulkView) -> Self {
        let operation = &view.operation;
        let selection = &operation.selection;
        Self {
            id: operation.id.to_string(),
            name: operation.name.clone(),
            environment_id: actor.env.to_string(),
            functions: view.functions.iter().map(FunctionRef::new).collect(),
            from: selection.from.to_rfc3339(),
            until: selection.until.to_rfc3339(),
            statuses: words(&selection.statuses),
            search: selection.search.clone(),
            rate_per_second: operation.rate,
            status: operation_word(operation.status),
            progress: operation.progress.into(),
            created_by: ByBody::new(&operation.by),
            created_at: operation.created_at.to_rfc3339(),
            ended_at: operation.ended_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// A cancellation of many runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cancellation")]
pub(super) struct CancellationBody {
    /// A ULID.
    id: String,
    name: Option<String>,
    /// The organization.
    account_id: String,
    environment_id: String,
    /// The app's UUID; null when it is about several functions.
    app_id: Option<String>,
    /// The function's UUID; null when it is about several.
    function_internal_id: Option<String>,
    /// The function's slug; null when it is about several.
    function_id: Option<String>,
    functions: Vec<FunctionRef>,
    /// Only runs queued at or after.
    #[schemars(extend("format" = "date-time"))]
    started_after: String,
    /// Only runs queued before; while that is to come, runs that are queued meanwhile are cancelled as well.
    #[schemars(extend("format" = "date-time"))]
    started_before: String,
    /// Only runs in these states.
    #[schemars(extend("items" = {"enum": body::STATUSES}))]
    statuses: Vec<&'static str>,
    /// Only runs for which this holds.
    r#if: Option<String>,
    #[schemars(extend("enum" = ["bulk_run"]))]
    kind: &'static str,
    #[schemars(extend("enum" = ["API"]))]
    cause: &'static str,
    /// As `function_internal_id`.
    target_id: Option<String>,
    /// Always null.
    queue_name: (),
    #[schemars(extend("enum" = STATUSES))]
    status: &'static str,
    progress: ProgressBody,
    created_by: ByBody,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
}

impl CancellationBody {
    pub(super) fn new(actor: &Actor, view: &BulkView) -> Self {
        let operation = &view.operation;
        let selection = &operation.selection;
        let only = match view.functions.as_slice() {
            [only] if selection.functions.len() == 1 => Some(only),
            _ => None,
        };
        let function = only.map(|function| function.id.to_string());
        Self {
            id: operation.id.to_string(),
            name: operation.name.clone(),
            account_id: actor.org.to_string(),
            environment_id: actor.env.to_string(),
            app_id: only.map(|function| function.app.to_string()),
            function_internal_id: function.clone(),
            function_id: only.map(|function| function.slug.clone()),
            functions: view.functions.iter().map(FunctionRef::new).collect(),
            started_after: selection.from.to_rfc3339(),
            started_before: selection.until.to_rfc3339(),
            statuses: words(&selection.statuses),
            r#if: selection.search.clone(),
            kind: "bulk_run",
            cause: "API",
            target_id: function,
            queue_name: (),
            status: operation_word(operation.status),
            progress: operation.progress.into(),
            created_by: ByBody::new(&operation.by),
            created_at: operation.created_at.to_rfc3339(),
            ended_at: operation.ended_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// What a function is called.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FunctionRef")]
struct FunctionRef {
    /// A UUID.
    internal_id: String,
    /// The app's UUID.
    app_id: String,
    /// The slug.
    id: String,
}

impl FunctionRef {
    fn new(function: &FunctionHead) -> Self {
        Self {
            internal_id: function.id.to_string(),
            app_id: function.app.to_string(),
            id: function.slug.clone(),
        }
    }
}

/// What an operation would touch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Preview")]
pub(super) struct PreviewBody {
    /// How many runs.
    total: u64,
    /// False when there are more: counting has ended at 10,000 runs or after three seconds.
    is_exact: bool,
    /// How many of these are in which state.
    statuses: BTreeMap<&'static str, u64>,
    /// The newest of them, at most ten.
    run_ids: Vec<String>,
}

impl PreviewBody {
    pub(super) fn new(preview: &Preview) -> Self {
        let mut statuses = BTreeMap::new();
        for status in &preview.statuses {
            *statuses.entry(status_word(*status)).or_default() += 1;
        }
        Self {
            total: preview.total.value,
            is_exact: preview.total.is_exact,
            statuses,
            run_ids: preview
                .sample
                .iter()
                .map(|run| run.id.to_string())
                .collect(),
        }
    }
}

/// How far an operation is, in runs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
struct ProgressBody {
    /// Those to touch; null until they are counted. With a search, those among which it looks, until it has ended.
    total: Option<u64>,
    /// Looked at.
    processed: u64,
    /// Cancelled, or started again.
    succeeded: u64,
    /// In need of nothing.
    skipped: u64,
    /// Not to be helped.
    failed: u64,
}

impl From<BulkProgress> for ProgressBody {
    fn from(progress: BulkProgress) -> Self {
        Self {
            total: progress.total,
            processed: progress.processed(),
            succeeded: progress.succeeded,
            skipped: progress.skipped,
            failed: progress.failed,
        }
    }
}

fn words(statuses: &[RunStatus]) -> Vec<&'static str> {
    statuses.iter().copied().map(status_word).collect()
}

/// Every word of [`operation_word`].
pub(super) const STATUSES: &[&str] = &["Pending", "Running", "Completed", "Stopped", "Failed"];

fn operation_word(status: BulkStatus) -> &'static str {
    match status {
        BulkStatus::Pending => "Pending",
        BulkStatus::Running => "Running",
        BulkStatus::Completed => "Completed",
        BulkStatus::Stopped => "Stopped",
        BulkStatus::Failed => "Failed",
    }
}

/// A state of an operation, in any letter case.
pub(super) fn parse_status(text: &str) -> Option<BulkStatus> {
    BulkStatus::ALL
        .into_iter()
        .find(|status| operation_word(*status).eq_ignore_ascii_case(text))
}

/// States of runs in a body, in any letter case.
pub(super) struct StatusesInput(Vec<RunStatus>);

impl StatusesInput {
    pub(super) fn into_statuses(self) -> Vec<RunStatus> {
        self.0
    }
}

impl<'de> Deserialize<'de> for StatusesInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let read = |word: &String| body::parse_status(word);
        let statuses: Option<Vec<RunStatus>> = words.iter().map(read).collect();
        statuses.map(Self).ok_or_else(|| {
            let words = body::STATUSES.join(", ");
            D::Error::custom(format!("a state must be one of {words}"))
        })
    }
}

impl JsonSchema for StatusesInput {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "items": {"type": "string", "enum": body::STATUSES}, "minItems": 1})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_an_operation_is_read_back_from_its_word() {
        for (status, word) in BulkStatus::ALL.iter().zip(STATUSES) {
            assert_eq!(operation_word(*status), *word);
            assert_eq!(parse_status(&word.to_uppercase()), Some(*status));
        }
        assert_eq!(parse_status("DONE"), None);
    }
}
