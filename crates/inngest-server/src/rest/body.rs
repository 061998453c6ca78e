//! Bodies of REST answers: their own types, because clients hold us to them.

use serde::Serialize;
use serde_json::{Map, Value};

use inngest_core::{
    access::Actor,
    app::{App, Function},
    event::Event,
    json::Json,
    run::{Run, RunStatus},
    time::Timestamp,
};

/// `{"data", "metadata", "page"}`.
#[derive(Serialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: T,
    pub(crate) metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<PageBody>,
}

/// When the answer was true.
#[derive(Serialize)]
pub(crate) struct Metadata {
    fetched_at: String,
}

/// Where a list goes on.
#[derive(Serialize)]
pub(crate) struct PageBody {
    /// Of the last entry; null when the list is empty.
    cursor: Option<String>,
    has_more: bool,
    limit: u32,
}

impl<T> Envelope<T> {
    pub(crate) fn of(data: T, now: Timestamp) -> Self {
        Self {
            data,
            metadata: Metadata {
                fetched_at: now.to_rfc3339(),
            },
            page: None,
        }
    }

    pub(crate) fn page(mut self, last: Option<String>, has_more: bool, limit: u32) -> Self {
        self.page = Some(PageBody {
            cursor: last,
            has_more,
            limit,
        });
        self
    }
}

/// One event: what its sender gave, and what we know about it.
pub(crate) fn event(actor: &Actor, event: &Event) -> Value {
    let mut body = Map::new();
    body.insert("internal_id".into(), event.id.to_string().into());
    body.insert("account_id".into(), actor.org.to_string().into());
    body.insert("environment_id".into(), actor.env.to_string().into());
    body.insert("source".into(), "".into());
    body.insert("source_id".into(), Value::Null);
    body.insert("received_at".into(), event.received_at.to_rfc3339().into());
    let Value::Object(sent) = event.body.to_value() else {
        return Value::Object(body);
    };
    for (key, value) in sent {
        let is_empty_user = key == "user" && value.as_object().is_some_and(Map::is_empty);
        if !is_empty_user {
            body.insert(key, value);
        }
    }
    Value::Object(body)
}

/// One run.
#[derive(Serialize)]
pub(crate) struct RunBody {
    run_id: String,
    /// When its app was first called, or when it was scheduled if that has not happened yet.
    run_started_at: String,
    function_id: String,
    function_version: u32,
    environment_id: String,
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    status: &'static str,
    ended_at: Option<String>,
    /// The return value of a completed run, the error of a failed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Json>,
}

impl RunBody {
    pub(crate) fn new(actor: &Actor, run: &Run) -> Self {
        let has_output = matches!(run.status, RunStatus::Completed | RunStatus::Failed);
        Self {
            run_id: run.id.to_string(),
            run_started_at: run.started_at.unwrap_or(run.queued_at).to_rfc3339(),
            function_id: run.function.to_string(),
            function_version: run.function_version,
            environment_id: actor.env.to_string(),
            event_id: run
                .events
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            original_run_id: run.original.map(|id| id.to_string()),
            cron: run.cron.clone(),
            status: status_word(run.status),
            ended_at: run.ended.as_ref().map(|ended| ended.at.to_rfc3339()),
            output: run
                .ended
                .as_ref()
                .filter(|_| has_output)
                .map(|ended| ended.output.clone()),
        }
    }
}

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

/// One function. `app_id` is the app's internal id; `id` is the slug.
#[derive(Serialize)]
pub(crate) struct FunctionBody {
    internal_id: String,
    env_id: String,
    app_id: String,
    id: String,
    name: String,
    version: u32,
    config: Json,
    created_at: String,
    archived_at: Option<String>,
}

impl FunctionBody {
    pub(crate) fn new(actor: &Actor, app: &App, function: &Function) -> Self {
        Self {
            internal_id: function.id.to_string(),
            env_id: actor.env.to_string(),
            app_id: app.id.to_string(),
            id: function.slug.clone(),
            name: function.name.clone(),
            version: function.version,
            config: function.config.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_read_back_from_its_word() {
        for status in RunStatus::ALL {
            assert_eq!(
                parse_status(&status_word(*status).to_lowercase()),
                Some(*status)
            );
        }
        assert_eq!(parse_status("QUEUED"), Some(RunStatus::Queued));
        assert_eq!(parse_status("done"), None);
    }
}
