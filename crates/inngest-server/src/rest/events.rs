//! Events over REST.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use inngest_core::{ids::EventId, page::Direction};
use inngest_services::{Error, EventFilter};

use crate::{
    auth::Caller,
    middleware::RequestId,
    rest::{
        body::{self, Envelope, RunBody},
        problem::Problem,
        query::Params,
    },
    sdk::ingest,
    state::AppState,
};

const KNOWN: &[&str] = &[
    "limit",
    "cursor",
    "name",
    "received_after",
    "received_before",
];

/// `GET /events`: newest first; without a range, those of the last hour. Events that the server made are left out.
pub(crate) async fn list(
    State(state): State<AppState>,
    Caller(actor): Caller,
    uri: Uri,
    extensions: Extensions,
) -> Result<Json<Envelope<Vec<Value>>>, Problem> {
    let id = RequestId::of(&extensions);
    let actor = actor.map_err(|error| Problem::of(&error, &id))?;
    let params = Params::read(&uri, &extensions, KNOWN)?;
    let now = state.services.clock().now();
    let order = EventFilter::order(Direction::Descending);
    let page = params.page(order);
    let names: Vec<String> = params.all("name").map(str::to_owned).collect();
    let filter = EventFilter {
        names: (!names.is_empty()).then_some(names),
        from: Some(
            params
                .time("received_after")?
                .unwrap_or_else(|| now.minus(Duration::from_secs(3_600))),
        ),
        until: params.time("received_before")?,
        ..EventFilter::default()
    };
    let found = state
        .services
        .events()
        .list(&actor, &filter, order.direction, &page)
        .await
        .map_err(|error| Problem::of(&error, &id))?;
    let last = found.cursors.last().cloned();
    let data = found
        .items
        .iter()
        .map(|event| body::event(&actor, event))
        .collect();
    Ok(Json(Envelope::of(data, now).page(
        last,
        found.has_next,
        page.limit,
    )))
}

/// `GET /events/{id}`.
pub(crate) async fn get(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<Json<Envelope<Value>>, Problem> {
    let request_id = RequestId::of(&extensions);
    let answer = async {
        let actor = actor?;
        let event = state
            .services
            .events()
            .get(&actor, id.parse::<EventId>()?)
            .await?;
        Ok::<_, Error>(body::event(&actor, &event))
    };
    let data = answer
        .await
        .map_err(|error| Problem::of(&error, &request_id))?;
    Ok(Json(Envelope::of(data, state.services.clock().now())))
}

/// `GET /events/{id}/runs`: the runs that the event started; none for an event that started none.
pub(crate) async fn runs(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<Json<Envelope<Vec<RunBody>>>, Problem> {
    let request_id = RequestId::of(&extensions);
    let answer = async {
        let actor = actor?;
        let id = id.parse::<EventId>()?;
        let mut runs = state.services.runs().of_events(&actor, &[id]).await?;
        let runs = runs.remove(&id).unwrap_or_default();
        Ok::<_, Error>(runs.iter().map(|run| RunBody::new(&actor, run)).collect())
    };
    let data = answer
        .await
        .map_err(|error| Problem::of(&error, &request_id))?;
    Ok(Json(Envelope::of(data, state.services.clock().now())))
}

/// `POST /events`: one event or a list of them; all or none are taken.
pub(crate) async fn send(
    State(state): State<AppState>,
    Caller(actor): Caller,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let request_id = RequestId::of(&extensions);
    let actor = actor.map_err(|error| Problem::of(&error, &request_id))?;
    let limit = state.settings.ingest_body_bytes;
    let body = state.bodies.read(&headers, body, limit).await;
    let body = body.map_err(|problem| Problem::unreadable(&problem, &request_id))?;
    let events = ingest::parse(&state, &headers, &body).map_err(|message| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_events",
            message,
            &request_id,
        )
    })?;
    let _room = body.into_room();
    let told: Vec<(String, String, i64)> = events
        .iter()
        .map(|event| (event.key.clone(), event.name.clone(), event.ts.as_millis()))
        .collect();
    let ids = match events.is_empty() {
        true => Vec::new(),
        false => state
            .services
            .events()
            .ingest(&actor, events)
            .await
            .map_err(|error| Problem::of(&error, &request_id))?,
    };
    let data: Vec<Value> = ids
        .iter()
        .zip(&told)
        .map(|(id, (key, name, ts))| {
            json!({"id": id.to_string(), "external_id": key, "name": name, "ts": ts, "runs_url": format!("/api/v1/events/{id}/runs")})
        })
        .collect();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let now = state.services.clock().now().to_rfc3339();
    Ok(
        Json(json!({"data": data, "ids": ids, "status": 200, "metadata": {"fetched_at": now}}))
            .into_response(),
    )
}
