//! Replays over REST.

use schemars::JsonSchema;
use serde::Deserialize;

use inngest_core::{access::Scope, bulk::BulkKind, ids::BulkId, limits};
use inngest_services::{BulkRequest, FunctionNames};

use crate::rest::{
    bulk::{
        LIST, PREVIEW,
        body::{PreviewBody, ReplayBody, StatusesInput},
        filter,
    },
    input::{JsonBody, TimeInput},
    operation::{Ask, Head, Operation},
    problem::Refusal,
    reply::{Data, List},
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Head::post("createReplay", "/replays")
            .needs(Scope::RunsWrite)
            .told(
                "replays",
                "Starts new runs for many runs that have ended, in the background.",
            )
            .repeats()
            .costs(PREVIEW)
            .write(create),
        Head::post("previewReplay", "/replays/preview")
            .needs(Scope::RunsRead)
            .told(
                "replays",
                "Tells which runs a replay with the same body would start again, and starts none.",
            )
            .costs(PREVIEW)
            .write(preview),
        Head::get("listReplays", "/replays")
            .needs(Scope::RunsRead)
            .told("replays", "Lists replays, newest first.")
            .params(LIST)
            .read(list),
        Head::get("getReplay", "/replays/{replay}")
            .needs(Scope::RunsRead)
            .told("replays", "Shows a replay and how far it is.")
            .read(get),
        Head::delete("stopReplay", "/replays/{replay}")
            .needs(Scope::RunsWrite)
            .told(
                "replays",
                "Stops a replay and shows it; again is fine. Runs that it has started go on.",
            )
            .read(stop),
    ]
}

/// Runs to start again.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ReplayInput")]
struct ReplayInput {
    /// Of any of these functions, by slug or UUID.
    #[schemars(length(min = 1, max = limits::BULK_FUNCTIONS))]
    functions: Vec<String>,
    /// Queued at or after.
    from: TimeInput,
    /// Queued before; now when omitted.
    until: Option<TimeInput>,
    /// In any of these states, of those that have ended; `Failed` when omitted.
    statuses: Option<StatusesInput>,
    /// Only those for which this expression over `event`, `output`, `error` and `run` holds.
    search: Option<String>,
    /// What to call it.
    #[schemars(length(max = limits::BULK_NAME_BYTES))]
    name: Option<String>,
    /// Runs that it starts in a second at most; as fast as they can be stored when omitted.
    #[schemars(range(min = 1, max = limits::REPLAY_RATE))]
    rate_per_second: Option<u32>,
}

impl ReplayInput {
    fn into_request(self) -> (FunctionNames, BulkRequest) {
        let names = FunctionNames {
            app: None,
            functions: self.functions,
        };
        let request = BulkRequest {
            functions: Vec::new(),
            from: self.from.0,
            until: self.until.map(|until| until.0),
            statuses: self.statuses.map(StatusesInput::into_statuses),
            search: self.search,
            name: self.name,
            rate: self.rate_per_second,
        };
        (names, request)
    }
}

async fn create(ask: Ask, body: JsonBody<ReplayInput>) -> Result<Data<ReplayBody>, Refusal> {
    let key = ask.request_key(&body.json)?;
    let (names, request) = body.value.into_request();
    let bulk = ask.services().bulk();
    let begun = bulk.begin_named(&ask.actor, BulkKind::Replay, &names, request, key);
    Ok(Data(ReplayBody::new(&ask.actor, &begun.await?)))
}

async fn preview(ask: Ask, body: JsonBody<ReplayInput>) -> Result<Data<PreviewBody>, Refusal> {
    let (names, request) = body.value.into_request();
    let bulk = ask.services().bulk();
    let preview = bulk.preview_named(&ask.actor, BulkKind::Replay, &names, request);
    Ok(Data(PreviewBody::new(&preview.await?)))
}

async fn list(ask: Ask) -> Result<List<ReplayBody>, Refusal> {
    let (filter, page) = (filter(&ask, BulkKind::Replay)?, ask.params.page());
    let bulk = ask.services().bulk();
    let found = bulk.views(&ask.actor, &filter, &page).await?;
    Ok(List::of(&ask, found, |replay| {
        ReplayBody::new(&ask.actor, replay)
    }))
}

async fn get(ask: Ask) -> Result<Data<ReplayBody>, Refusal> {
    let id: BulkId = ask.id("replay")?;
    let bulk = ask.services().bulk();
    let found = bulk.view(&ask.actor, BulkKind::Replay, id).await?;
    Ok(Data(ReplayBody::new(&ask.actor, &found)))
}

async fn stop(ask: Ask) -> Result<Data<ReplayBody>, Refusal> {
    let id: BulkId = ask.id("replay")?;
    let bulk = ask.services().bulk();
    let stopped = bulk.stop_view(&ask.actor, BulkKind::Replay, id).await?;
    Ok(Data(ReplayBody::new(&ask.actor, &stopped)))
}
