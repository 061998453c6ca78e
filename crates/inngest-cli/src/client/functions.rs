//! `inngest functions`.

use std::time::Duration;

use inngest_core::{duration, time::Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{
    args::{FunctionsVerb, InFlight, NewEvents},
    ask,
    connection::Server,
    documents,
    failure::{Exit, Failure},
    output::{Column, Output},
    runs,
};

/// Pause between two looks for the run of an invocation.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A function in a list.
pub(super) const LIST: &[Column] = &[
    ("FUNCTION", "/slug"),
    ("NAME", "/name"),
    ("APP", "/app/externalId"),
    ("TRIGGERS", "/triggers"),
    ("UPDATED", "/updatedAt"),
];
/// One function.
pub(super) const FACTS: &[Column] = &[
    ("Function", "/slug"),
    ("Name", "/name"),
    ("Id", "/functionId"),
    ("App", "/app/externalId"),
    ("URL", "/app/url"),
    ("Created", "/createdAt"),
    ("Updated", "/updatedAt"),
    ("Archived", "/archivedAt"),
    ("Triggers", "/triggers"),
    ("Settings", "/config/raw"),
];

/// A function that was paused or resumed.
pub(super) const PAUSED: &[Column] = &[
    ("FUNCTION", "/slug"),
    ("PAUSED", "/isPaused"),
    ("SINCE", "/pause/pausedAt"),
    ("UNTIL", "/pause/resumesAt"),
    ("STARTED RUNS", "/pause/inFlight"),
    ("NEW EVENTS", "/pause/newEvents"),
    ("REASON", "/pause/reason"),
];

pub(super) async fn run(
    server: &Server,
    output: &Output,
    verb: &FunctionsVerb,
) -> Result<(), Failure> {
    match verb {
        FunctionsVerb::List {
            apps,
            name,
            event,
            archived,
            list,
        } => {
            let mut filter = json!({"includeArchived": archived});
            if !apps.is_empty() {
                filter["appIds"] = json!(ask::app_ids(server, apps).await?);
            }
            for (member, given) in [("nameContains", name), ("triggerEventName", event)] {
                if let Some(given) = given {
                    filter[member] = json!(given);
                }
            }
            let variables = json!({"filter": filter});
            let path = "/environment/functions";
            let document = documents::LIST_FUNCTIONS;
            let functions = ask::list(server, document, path, variables, list.limit).await?;
            output.list(&functions, LIST)
        }
        FunctionsVerb::Get { function } => {
            let id = ask::function_id(server, function).await?;
            let data = server
                .ask(documents::GET_FUNCTION, json!({"id": id}))
                .await?;
            if data["function"].is_null() {
                return Err(Failure::not_found("function", function));
            }
            output.one(&data["function"], FACTS, &[])
        }
        FunctionsVerb::Invoke {
            function,
            data,
            wait,
        } => {
            let mut input = Value::Object(ask::data(data)?);
            input["functionId"] = ask::function_id(server, function).await?.into();
            let payload = ask::change(server, documents::INVOKE_FUNCTION, input).await?;
            let mut run = payload["run"].clone();
            if run.is_null() {
                let event = payload["event"]["id"].as_str().unwrap_or_default();
                run = scheduled(server, event).await?;
            }
            runs::started(server, output, &run, *wait).await
        }
        FunctionsVerb::Pause {
            function,
            in_flight,
            new_events,
            reason,
            until,
        } => {
            let mut input = json!({"reason": reason});
            input["functionId"] = ask::function_id(server, function).await?.into();
            input["inFlight"] = json!(match in_flight {
                InFlight::Continue => "CONTINUE",
                InFlight::Hold => "HOLD",
                InFlight::Cancel => "CANCEL",
            });
            input["newEvents"] = json!(match new_events {
                NewEvents::Skip => "SKIP",
                NewEvents::Hold => "HOLD",
            });
            if let Some(until) = until {
                input["resumesAt"] = end_of(server, until).await?.into();
            }
            let payload = ask::change(server, documents::PAUSE_FUNCTION, input).await?;
            output.list(std::slice::from_ref(&payload["function"]), PAUSED)
        }
        FunctionsVerb::Resume { function } => {
            let id = ask::function_id(server, function).await?;
            let input = json!({"functionId": id});
            let payload = ask::change(server, documents::RESUME_FUNCTION, input).await?;
            output.list(std::slice::from_ref(&payload["function"]), PAUSED)
        }
    }
}

/// A duration from now on, by the server's clock, or a time.
async fn end_of(server: &Server, text: &str) -> Result<String, Failure> {
    match duration::parse(text) {
        Ok(length) => Ok(ask::environment(server).await?.1.plus(length).to_rfc3339()),
        Err(_) => ask::when(text, Timestamp::from_millis(0)),
    }
}

/// The run of an invocation that was not scheduled at once.
async fn scheduled(server: &Server, event: &str) -> Result<Value, Failure> {
    let deadline = Instant::now() + server.timeout;
    while Instant::now() < deadline {
        let mut data = server
            .ask(documents::GET_EVENT, json!({"id": event}))
            .await?;
        if let Some(run) = data.pointer_mut("/event/runs/nodes/0") {
            let mut run = run.take();
            let id = format!("run_{}", run["runId"].as_str().unwrap_or_default());
            run["id"] = id.into();
            return Ok(run);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let seconds = server.timeout.as_secs();
    let message = format!(
        "the invocation is stored as event {event}, but its run was not scheduled within {seconds} s; `inngest events get` shows it later"
    );
    Err(Failure::new(Exit::Unreachable, message))
}
