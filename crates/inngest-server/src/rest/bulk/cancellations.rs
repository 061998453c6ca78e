//! Bulk cancellations over REST. Users of the SDKs know them under `/v1`; what they do not know there is added, not changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use inngest_core::{
    access::Scope,
    bulk::{BulkKind, BulkStatus},
    ids::BulkId,
    limits,
    time::Timestamp,
};
use inngest_services::{BulkFilter, BulkRequest, Error, FunctionNames};

use crate::rest::{
    bulk::{
        CURSOR, LIMIT, LIST, PREVIEW,
        body::{CancellationBody, PreviewBody, StatusesInput},
        filter,
    },
    input::{JsonBody, TimeInput},
    operation::{Ask, Head, Mount, Operation},
    problem::Refusal,
    reply::{Data, List},
};

const KIND: BulkKind = BulkKind::Cancellation;

pub(super) fn operations() -> Vec<Operation> {
    let delete =
        Head::delete("stopCancellation", "/cancellations/{cancellation}").needs(Scope::RunsWrite);
    vec![
        Head::post("createCancellation", "/cancellations")
            .at(&[Mount::Api, Mount::V1])
            .needs(Scope::RunsWrite)
            .told(
                "cancellations",
                "Cancels many runs, in the background; those queued until its window ends as well.",
            )
            .repeats()
            .costs(PREVIEW)
            .write(create),
        Head::post("previewCancellation", "/cancellations/preview")
            .needs(Scope::RunsRead)
            .told(
                "cancellations",
                "Tells which runs a cancellation with the same body would end now, and ends none.",
            )
            .costs(PREVIEW)
            .write(preview),
        Head::get("listCancellations", "/cancellations")
            .needs(Scope::RunsRead)
            .told("cancellations", "Lists bulk cancellations, newest first.")
            .params(LIST)
            .read(list),
        Head::get("listCancellationsV1", "/cancellations")
            .at(&[Mount::V1])
            .needs(Scope::RunsRead)
            .told(
                "cancellations",
                "Lists bulk cancellations that were not deleted, newest first.",
            )
            .params(&[LIMIT, CURSOR])
            .read(list_v1),
        Head::get("getCancellation", "/cancellations/{cancellation}")
            .needs(Scope::RunsRead)
            .told(
                "cancellations",
                "Shows a bulk cancellation and how far it is.",
            )
            .read(get),
        delete
            .told(
                "cancellations",
                "Ends a bulk cancellation and shows it; again is fine. What it has cancelled stays so.",
            )
            .read(stop),
        Head {
            id: "stopCancellationV1",
            ..delete
        }
        .at(&[Mount::V1])
        .told("cancellations", "Deletes a bulk cancellation.")
        .read(delete_v1),
    ]
}

/// Runs to cancel.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CancellationInput")]
struct CancellationInput {
    /// The app within which functions are named, by its id in code or its UUID; any when omitted.
    app_id: Option<String>,
    /// Of this function, by slug or UUID; within an app also by its id in code.
    function_id: Option<String>,
    /// Of any of these functions, named in the same ways. One of the two members is needed, and not both.
    #[schemars(length(min = 1, max = limits::BULK_FUNCTIONS))]
    functions: Option<Vec<String>>,
    /// Queued at or after; ever when omitted.
    started_after: Option<TimeInput>,
    /// Queued before; now when omitted. It can be a time to come, within 366 days: then the cancellation is in force until that time.
    started_before: Option<TimeInput>,
    /// In any of these states, of those that have not ended; both when omitted.
    statuses: Option<StatusesInput>,
    /// Only those for which this expression over `event`, `output`, `error` and `run` holds.
    r#if: Option<String>,
    /// What to call it.
    #[schemars(length(max = limits::BULK_NAME_BYTES))]
    name: Option<String>,
}

impl CancellationInput {
    fn into_request(self) -> Result<(FunctionNames, BulkRequest), Refusal> {
        let names = self.names()?;
        let request = BulkRequest {
            functions: Vec::new(),
            from: self.started_after.map_or(Timestamp::default(), |at| at.0),
            until: self.started_before.map(|at| at.0),
            statuses: self.statuses.map(StatusesInput::into_statuses),
            search: self.r#if,
            name: self.name,
            rate: None,
        };
        Ok((names, request))
    }

    fn names(&self) -> Result<FunctionNames, Refusal> {
        let functions = match (&self.function_id, &self.functions) {
            (Some(_), Some(_)) => {
                let message = "give either `function_id` or `functions`, not both";
                return Err(Refusal::Service(Error::Invalid {
                    code: "functions_ambiguous",
                    message: message.to_owned(),
                }));
            }
            (Some(one), None) => vec![one.clone()],
            (None, many) => many.clone().unwrap_or_default(),
        };
        Ok(FunctionNames {
            app: self.app_id.clone(),
            functions,
        })
    }
}

async fn create(
    ask: Ask,
    body: JsonBody<CancellationInput>,
) -> Result<Data<CancellationBody>, Refusal> {
    let key = ask.request_key(&body.json)?;
    let (names, request) = body.value.into_request()?;
    let bulk = ask.services().bulk();
    let begun = bulk.begin_named(&ask.actor, KIND, &names, request, key);
    Ok(Data(CancellationBody::new(&ask.actor, &begun.await?)))
}

async fn preview(
    ask: Ask,
    body: JsonBody<CancellationInput>,
) -> Result<Data<PreviewBody>, Refusal> {
    let (names, request) = body.value.into_request()?;
    let bulk = ask.services().bulk();
    let preview = bulk.preview_named(&ask.actor, KIND, &names, request);
    Ok(Data(PreviewBody::new(&preview.await?)))
}

async fn list(ask: Ask) -> Result<List<CancellationBody>, Refusal> {
    page(&ask, filter(&ask, KIND)?).await
}

/// Clients of that path do not see again what they have deleted.
async fn list_v1(ask: Ask) -> Result<List<CancellationBody>, Refusal> {
    let is_kept = |status: &BulkStatus| *status != BulkStatus::Stopped;
    let statuses = BulkStatus::ALL.into_iter().filter(is_kept);
    let filter = BulkFilter {
        statuses: Some(statuses.collect()),
        ..BulkFilter::of(KIND)
    };
    page(&ask, filter).await
}

async fn page(ask: &Ask, filter: BulkFilter) -> Result<List<CancellationBody>, Refusal> {
    let (page, bulk) = (ask.params.page(), ask.services().bulk());
    let found = bulk.views(&ask.actor, &filter, &page).await?;
    Ok(List::of(ask, found, |cancellation| {
        CancellationBody::new(&ask.actor, cancellation)
    }))
}

async fn get(ask: Ask) -> Result<Data<CancellationBody>, Refusal> {
    let id: BulkId = ask.id("cancellation")?;
    let bulk = ask.services().bulk();
    let found = bulk.view(&ask.actor, KIND, id).await?;
    Ok(Data(CancellationBody::new(&ask.actor, &found)))
}

async fn stop(ask: Ask) -> Result<Data<CancellationBody>, Refusal> {
    let id: BulkId = ask.id("cancellation")?;
    let bulk = ask.services().bulk();
    let stopped = bulk.stop_view(&ask.actor, KIND, id).await?;
    Ok(Data(CancellationBody::new(&ask.actor, &stopped)))
}

/// That it was deleted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deleted")]
struct DeletedBody {
    /// Always true.
    ok: bool,
}

async fn delete_v1(ask: Ask) -> Result<Data<DeletedBody>, Refusal> {
    let id: BulkId = ask.id("cancellation")?;
    ask.services().bulk().stop(&ask.actor, KIND, id).await?;
    Ok(Data(DeletedBody { ok: true }))
}
