//! Operations on many runs, which the server carries out by itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{
    args::BulkArgs,
    ask,
    connection::Server,
    documents::{self, Document},
    failure::{Exit, Failure},
    output::{Column, Output},
};

/// Pause between two looks how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An operation on many runs.
pub(super) const OPERATION: &[Column] = &[
    ("OPERATION", "/id"),
    ("STATUS", "/status"),
    ("RUNS", "/progress/total"),
    ("DONE", "/progress/succeeded"),
    ("SKIPPED", "/progress/skipped"),
    ("FAILED", "/progress/failed"),
    ("NAME", "/name"),
];

/// Begins an operation and prints it; with `--wait` until it has ended.
pub(super) async fn begin(
    server: &Server,
    output: &Output,
    document: Document,
    bulk: &BulkArgs,
    rate: Option<u64>,
) -> Result<(), Failure> {
    let mut functions = Vec::new();
    for function in &bulk.functions {
        functions.push(ask::function_id(server, function).await?);
    }
    let mut queued = json!({});
    ask::add_times(server, &bulk.time, &mut queued).await?;
    let mut filter = json!({"functionIds": functions, "queued": queued});
    if !bulk.status.is_empty() {
        let words: Vec<_> = bulk.status.iter().map(|status| status.word()).collect();
        filter["statuses"] = json!(words);
    }
    if let Some(condition) = &bulk.condition {
        filter["search"] = json!(condition);
    }
    let (environment, _) = ask::environment(server).await?;
    let mut input = json!({"environmentId": environment, "filter": filter, "name": bulk.name});
    if let Some(rate) = rate {
        input["ratePerSecond"] = json!(rate);
    }
    let payload = ask::change(server, document, input).await?;
    let begun = ["cancellation", "replay"]
        .into_iter()
        .find(|name| payload[*name].is_object());
    let mut operation = begun.map_or(Value::Null, |name| payload[name].clone());
    if bulk.wait {
        operation = ended(server, operation).await?;
    }
    output.list(std::slice::from_ref(&operation), OPERATION)?;
    match operation["status"].as_str() {
        Some("FAILED" | "STOPPED") => {
            let message = "the operation was ended before it was done";
            Err(Failure::new(Exit::EndedBadly, message))
        }
        _ => Ok(()),
    }
}

/// The operation once it has ended.
async fn ended(server: &Server, mut operation: Value) -> Result<Value, Failure> {
    let id = operation["id"].as_str().unwrap_or_default().to_owned();
    while matches!(operation["status"].as_str(), Some("PENDING" | "RUNNING")) {
        tokio::time::sleep(LOOK_EVERY).await;
        let variables = json!({"id": id});
        let mut data = server.ask(documents::GET_BULK_OPERATION, variables).await?;
        operation = data["node"].take();
    }
    if operation.is_null() {
        return Err(Failure::not_found("operation", &id));
    }
    Ok(operation)
}
