//! Runs over REST.

use axum::{
    Json,
    extract::{Path, State},
};
use http::{Extensions, StatusCode, Uri};

use inngest_core::{ids::RunId, page::Direction};
use inngest_services::{Error, RunFilter};

use crate::{
    auth::Caller,
    middleware::RequestId,
    rest::{
        body::{self, Envelope, RunBody},
        problem::Problem,
        query::Params,
    },
    state::AppState,
};

const KNOWN: &[&str] = &[
    "limit", "cursor", "status", "function", "app", "from", "until",
];

/// `GET /runs`: newest first. `status`, `function` and `app` (internal ids) may be repeated.
pub(crate) async fn list(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
    extensions: Extensions,
) -> Result<Json<Envelope<Vec<RunBody>>>, Problem> {
    let id = RequestId::of(&extensions);
    let actor = actor.map_err(|error| Problem::of(&error, &id))?;
    let params = Params::read(&uri, &extensions, KNOWN)?;
    let order = RunFilter::order(Direction::Descending);
    let page = params.page(order);
    let status = |text: &str| {
        body::parse_status(text)
            .ok_or_else(|| params.bad("unknown_status", format!("no run has the status `{text}`")))
    };
    let statuses: Vec<_> = params.all("status").map(status).collect::<Result<_, _>>()?;
    let functions: Vec<_> = params
        .all("function")
        .map(|text| {
            text.parse()
                .map_err(|_| params.bad("invalid_id", format!("`{text}` is not a function id")))
        })
        .collect::<Result<_, _>>()?;
    let apps: Vec<_> = params
        .all("app")
        .map(|text| {
            text.parse()
                .map_err(|_| params.bad("invalid_id", format!("`{text}` is not an app id")))
        })
        .collect::<Result<_, _>>()?;
    let filter = RunFilter {
        statuses: given(statuses),
        functions: given(functions),
        apps: given(apps),
        from: params.time("from")?,
        until: params.time("until")?,
        ..RunFilter::default()
    };
    let found = state
        .services
        .runs()
        .list(&actor, &filter, order.direction, &page)
        .await
        .map_err(|error| Problem::of(&error, &id))?;
    let last = found.cursors.last().cloned();
    let data = found
        .items
        .iter()
        .map(|run| RunBody::new(&actor, run))
        .collect();
    Ok(Json(Envelope::of(data, state.services.clock().now()).page(
        last,
        found.has_next,
        page.limit,
    )))
}

/// A parameter that is not there says nothing.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// `GET /runs/{id}`.
pub(crate) async fn get(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<Json<Envelope<RunBody>>, Problem> {
    let request_id = RequestId::of(&extensions);
    let answer = async {
        let actor = actor?;
        let run = state
            .services
            .runs()
            .get(&actor, id.parse::<RunId>()?)
            .await?;
        Ok::<_, Error>(RunBody::new(&actor, &run))
    };
    let data = answer
        .await
        .map_err(|error| Problem::of(&error, &request_id))?;
    Ok(Json(Envelope::of(data, state.services.clock().now())))
}

/// `DELETE /api/v1/runs/{id}`: 204 when the run is cancelled, also when it was before; 409 when it ended otherwise.
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<StatusCode, Problem> {
    end(&state, actor, &id)
        .await
        .map_err(|error| Problem::of(&error, &RequestId::of(&extensions)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/runs/{id}`: 200 with an empty body, also for a run that has ended by itself, as clients of that path expect.
pub(crate) async fn cancel_v1(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<StatusCode, Problem> {
    match end(&state, actor, &id).await {
        Ok(()) | Err(Error::RunEnded { .. }) => Ok(StatusCode::OK),
        Err(error) => Err(Problem::of(&error, &RequestId::of(&extensions))),
    }
}

async fn end(
    state: &AppState,
    actor: Result<inngest_core::access::Actor, Error>,
    id: &str,
) -> Result<(), Error> {
    state
        .services
        .runs()
        .cancel(&actor?, id.parse::<RunId>()?)
        .await
        .map(drop)
}
