//! Events under `/v2`.

use schemars::JsonSchema;
use serde::Serialize;

use inngest_core::{access::Scope, ids::EventId};

use crate::rest::{
    input::OneEvent,
    operation::{Ask, Head, Operation},
    problem::Refusal,
    v2::{
        HERE, PAGE,
        body::RunBody,
        reply::{Data, List},
    },
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Head::post("v2SendEvent", "/events")
            .at(HERE)
            .needs(Scope::EventsSend)
            .told("v2", "Sends one event.")
            .repeats()
            .write(send),
        Head::get("v2ListRunsOfEvent", "/events/{event_id}/runs")
            .at(HERE)
            .needs(Scope::RunsRead)
            .told("v2", "Lists the runs that an event started, oldest first.")
            .params(PAGE)
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

async fn send(ask: Ask, sent: OneEvent) -> Result<Data<EventIdBody>, Refusal> {
    let key = ask.request_key(&sent.json)?;
    let events = ask.services().events();
    let ids = events.send(&ask.actor, vec![sent.event], key).await?;
    let id = ids.first().map(ToString::to_string).unwrap_or_default();
    Ok(Data(EventIdBody { event_id: id }))
}

async fn runs(ask: Ask) -> Result<List<RunBody>, Refusal> {
    let id: EventId = ask.id("event_id")?;
    let (page, runs) = (ask.params.page(), ask.services().runs());
    let found = runs.views_of_event(&ask.actor, id, &page).await?;
    Ok(List::of(&ask, found, |run| RunBody::new(run, true)))
}
