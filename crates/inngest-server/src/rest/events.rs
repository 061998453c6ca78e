//! Events over REST.

use std::time::Duration;

use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use axum::response::{IntoResponse, Response};
use inngest_core::{access::Scope, ids::EventId, page::PageRequest, time::Timestamp};
use inngest_services::{EventFilter, EventQuery};

use crate::rest::{
    body::{EventBody, RunBody},
    input::SentEvents,
    operation::{Ask, Asked, Head, Mount, Operation},
    problem::Refusal,
    query::{Kind, Param},
    reply::{Data, List, Metadata, Reply, schema_of},
};

const BOTH: &[Mount] = &[Mount::Api, Mount::V1];

const LIMIT: Param = Param::one("limit", Kind::Limit, "Entries of the page.");
const CURSOR: Param = Param::one(
    "cursor",
    Kind::Text,
    "Where to go on: the cursor of the page before, or the `internal_id` of the last entry seen.",
);
const NAME: Param = Param::many(
    "name",
    Kind::Text,
    "Only of this name; one that ends with `*` stands for all that begin so.",
);
const AFTER: Param = Param::one(
    "received_after",
    Kind::Time,
    "Only accepted at or after this time; an hour ago when omitted.",
);
const BEFORE: Param = Param::one(
    "received_before",
    Kind::Time,
    "Only accepted before this time.",
);

/// What clients of `/v1` know.
const LIST_V1: &[Param] = &[LIMIT, CURSOR, NAME, AFTER, BEFORE];

const LIST: &[Param] = &[
    LIMIT,
    CURSOR,
    Param::one(
        "order",
        Kind::Word(&["asc", "desc"]),
        "Oldest or newest first; newest when omitted.",
    ),
    NAME,
    AFTER,
    BEFORE,
    Param::many("id", Kind::Text, "Only with this id of their sender."),
    Param::one(
        "include_internal",
        Kind::Flag,
        "Whether events that the server made are listed too.",
    ),
    Param::one(
        "has_runs",
        Kind::Flag,
        "Only with, or only without, runs that they started.",
    ),
    Param::one(
        "search",
        Kind::Text,
        "Only those for which this expression over `event` holds.",
    ),
];

const RUNS_OF_EVENT: &[Param] = &[
    LIMIT,
    Param::one(
        "cursor",
        Kind::Text,
        "Where to go on: the cursor of the page before.",
    ),
];

/// Operations on events.
pub(crate) fn operations() -> Vec<Operation> {
    let runs_of = Head::get("listRunsOfEvent", "/events/{event}/runs")
        .needs(Scope::RunsRead)
        .params(RUNS_OF_EVENT);
    vec![
        Head::get("listEvents", "/events")
            .needs(Scope::EventsRead)
            .told("events", "Lists events, newest first.")
            .params(LIST)
            .read(list),
        Head::get("listEventsV1", "/events")
            .at(&[Mount::V1])
            .needs(Scope::EventsRead)
            .told("events", "Lists events, newest first.")
            .params(LIST_V1)
            .read(list),
        Head::post("sendEvents", "/events")
            .needs(Scope::EventsSend)
            .told("events", "Sends one event or a list of them; all or none are taken.")
            .repeats()
            .write(send),
        Head::get("getEvent", "/events/{event}")
            .at(BOTH)
            .needs(Scope::EventsRead)
            .told("events", "Shows an event.")
            .read(get),
        runs_of
            .told(
                "events",
                "Lists the runs that an event started, oldest first; none for an event that started none.",
            )
            .read(runs),
        Head {
            id: "listRunsOfEventV1",
            ..runs_of
        }
        .at(&[Mount::V1])
        .told(
            "events",
            "Lists the runs that an event started, oldest first, the first 100 where no limit is named.",
        )
        .read(runs_v1),
    ]
}

async fn list(ask: Ask) -> Result<List<EventBody>, Refusal> {
    let params = &ask.params;
    let hour_ago = || {
        ask.services()
            .clock()
            .now()
            .minus(Duration::from_secs(3_600))
    };
    let direction = params.direction();
    let query = EventQuery {
        filter: EventFilter {
            names: params.texts("name"),
            from: Some(params.time("received_after").unwrap_or_else(hour_ago)),
            until: params.time("received_before"),
            with_internal: params.flag("include_internal").unwrap_or(false),
            keys: params.texts("id"),
            has_runs: params.flag("has_runs"),
            sources: None,
        },
        search: params.get("search").map(str::to_owned),
    };
    let page = params.page_of(EventFilter::order(direction));
    let events = ask.services().events();
    let found = events.find(&ask.actor, &query, direction, &page).await?;
    Ok(List::found(&ask, found, |event| {
        EventBody::new(&ask.actor, event)
    }))
}

async fn get(ask: Ask) -> Result<Data<EventBody>, Refusal> {
    let id: EventId = ask.id("event")?;
    let event = ask.services().events().get(&ask.actor, id).await?;
    Ok(Data(EventBody::new(&ask.actor, &event)))
}

async fn runs(ask: Ask) -> Result<List<RunBody>, Refusal> {
    page_of_runs(&ask, ask.params.page()).await
}

/// Clients of that path know no pages, so they get the largest one.
async fn runs_v1(ask: Ask) -> Result<List<RunBody>, Refusal> {
    page_of_runs(&ask, ask.params.page_or_largest()).await
}

async fn page_of_runs(ask: &Ask, page: PageRequest) -> Result<List<RunBody>, Refusal> {
    let id: EventId = ask.id("event")?;
    let runs = ask.services().runs();
    let found = runs.views_of_event(&ask.actor, id, &page).await?;
    let mut list = List::of(ask, found, |run| RunBody::new(&ask.actor, run));
    list.page.limit = page.limit;
    Ok(list)
}

async fn send(ask: Ask, sent: SentEvents) -> Result<Accepted, Refusal> {
    let told: Vec<(String, String, Timestamp)> = sent
        .events
        .iter()
        .map(|event| (event.key.clone(), event.name.clone(), event.ts))
        .collect();
    let key = ask.request_key(&sent.json)?;
    let events = ask.services().events();
    let ids = events.send(&ask.actor, sent.events, key).await?;
    let show = |(id, (key, name, ts)): (EventId, (String, String, Timestamp))| AcceptedEvent {
        runs_url: format!("/api/v1/events/{id}/runs"),
        id: id.to_string(),
        external_id: key,
        name,
        ts: ts.as_millis(),
    };
    Ok(Accepted(ids.into_iter().zip(told).map(show).collect()))
}

/// An event that was taken.
#[derive(Serialize, JsonSchema)]
struct AcceptedEvent {
    /// Our id; of one that started nothing because its sender's id had started the same functions before, that of the first.
    id: String,
    /// The sender's own id, else ours.
    external_id: String,
    name: String,
    ts: i64,
    /// Where its runs are.
    runs_url: String,
}

/// The events that were taken, in the order of the request.
struct Accepted(Vec<AcceptedEvent>);

impl Reply for Accepted {
    const MEANING: &'static str = "The events are stored.";

    fn schema(generator: &mut SchemaGenerator) -> Option<Value> {
        let data = schema_of::<Vec<AcceptedEvent>>(generator);
        let metadata = schema_of::<Metadata>(generator);
        let ids = schema_of::<Vec<String>>(generator);
        Some(json!({
            "type": "object",
            "required": ["data", "ids", "status", "metadata"],
            "properties": {"data": data, "ids": ids, "status": {"const": 200}, "metadata": metadata},
        }))
    }

    fn answer(self, asked: &Asked) -> Response {
        let ids: Vec<&str> = self.0.iter().map(|event| event.id.as_str()).collect();
        let metadata = Metadata::at(asked.services().clock().now());
        let body = json!({"data": self.0, "ids": ids, "status": StatusCode::OK.as_u16(), "metadata": metadata});
        axum::Json(body).into_response()
    }
}
