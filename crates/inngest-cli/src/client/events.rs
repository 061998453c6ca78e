//! `inngest events`.

use serde_json::{Value, json};

use crate::client::{
    args::EventsVerb,
    ask,
    connection::Server,
    documents,
    failure::Failure,
    output::{Column, Output},
};

/// An event in a list.
pub(super) const LIST: &[Column] = &[
    ("EVENT", "/eventId"),
    ("NAME", "/name"),
    ("RECEIVED", "/receivedAt"),
    ("BYTES", "/sizeBytes"),
    ("RUNS", "/runCounts/total"),
    ("FAILED", "/runCounts/failed"),
];
/// An event that was sent.
pub(super) const SENT: &[Column] = &[
    ("EVENT", "/eventId"),
    ("NAME", "/name"),
    ("RECEIVED", "/receivedAt"),
];
/// One event.
pub(super) const FACTS: &[Column] = &[
    ("Event", "/eventId"),
    ("Name", "/name"),
    ("Received", "/receivedAt"),
    ("Occurred", "/occurredAt"),
    ("Idempotency key", "/idempotencyKey"),
    ("Version", "/version"),
    ("Bytes", "/sizeBytes"),
    ("Data", "/data"),
    ("User", "/user"),
];
/// A run that it started.
pub(super) const RUNS: &[Column] = &[
    ("RUN", "/runId"),
    ("STATUS", "/status"),
    ("FUNCTION", "/function/slug"),
    ("QUEUED", "/queuedAt"),
    ("TOOK", "/durationMs"),
];

pub(super) async fn run(
    server: &Server,
    output: &Output,
    verb: &EventsVerb,
) -> Result<(), Failure> {
    match verb {
        EventsVerb::List {
            names,
            internal,
            time,
            list,
        } => {
            let mut variables = json!({"includeInternal": internal});
            ask::add_times(server, time, &mut variables).await?;
            if !names.is_empty() {
                variables["names"] = json!(names);
            }
            let path = "/environment/events";
            let events =
                ask::list(server, documents::LIST_EVENTS, path, variables, list.limit).await?;
            output.list(&events, LIST)
        }
        EventsVerb::Get { id } => {
            let data = server.ask(documents::GET_EVENT, json!({"id": id})).await?;
            if data["event"].is_null() {
                return Err(Failure::not_found("event", id));
            }
            output.one(&data["event"], FACTS, &[("Runs", "/runs/nodes", RUNS)])
        }
        EventsVerb::Send { name, data, id, ts } => {
            let mut event = ask::data(data)?;
            event.insert("name".to_owned(), json!(name));
            for (member, given) in [("id", id), ("ts", ts)] {
                if let Some(given) = given {
                    event.insert(member.to_owned(), json!(given));
                }
            }
            let (environment, _) = ask::environment(server).await?;
            let input = json!({"environmentId": environment, "events": [event]});
            let payload = ask::change(server, documents::SEND_EVENTS, input).await?;
            let events = payload["events"].as_array().map(Vec::as_slice);
            output.list(events.unwrap_or_default() as &[Value], SENT)
        }
    }
}
