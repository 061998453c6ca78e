//! Events under `/v2`.

use schemars::JsonSchema;
use serde::Serialize;

use inngest_core::{access::Scope, ids::EventId};

use crate::rest::{
    input::OneEvent,
    operation::{Ask, Head, Operation},
    problem::Refusal,
    v2::{HERE, body::RunBody, reply::Data},
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Head::post("v2SendEvent", "/events")
            .at(HERE)
            .needs(Scope::EventsSend)
            .told("v2", "Sends one event.")
            .write(send),
        Head::get("v2ListRunsOfEvent", "/events/{event_id}/runs")
            .at(HERE)
            .needs(Scope::RunsRead)
            .told(
                "v2",
                "Lists the runs that an event started, oldest first, at most 1,000.",
            )
            .read(runs),
    ]
}

/// The event that was stored.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventIdV2")]
struct EventIdBody {
    event_id: String,
}

async fn send(ask: Ask, event: OneEvent) -> Result<Data<EventIdBody>, Refusal> {
    let events = ask.services().events();
    let ids = events.send(&ask.actor, vec![event.0], None).await?;
    let id = ids.first().map(ToString::to_string).unwrap_or_default();
    Ok(Data(EventIdBody { event_id: id }))
}

async fn runs(ask: Ask) -> Result<Data<Vec<RunBody>>, Refusal> {
    let id: EventId = ask.id("event_id")?;
    let runs = ask.services().runs().views_of_event(&ask.actor, id).await?;
    let show = |view| RunBody::new(view, true);
    Ok(Data(runs.iter().map(show).collect()))
}
