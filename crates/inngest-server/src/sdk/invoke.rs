//! `POST /invoke/{slug}`: start one function directly.

use axum::{
    body::Body,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use inngest_core::wire;

use crate::{
    auth::Caller,
    sdk::{error::SdkError, text},
    state::AppState,
};

/// Answers with the id of the invocation event once it is stored; never waits for the run. An unknown function is 404.
pub(crate) async fn invoke(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(slug): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdkError> {
    let actor = actor?;
    let limit = state.settings.request_body_bytes;
    let body = state.bodies.read(&headers, body, limit).await?;
    let now = state.services.clock().now();
    let event = wire::event::parse_invoke(
        &body,
        &slug,
        text(&headers, wire::headers::EVENT_ID_SEED),
        now,
        state.services.ids(),
    )
    .map_err(|error| SdkError::new(StatusCode::BAD_REQUEST, error.code, error.message))?;
    let _room = body.into_room();
    let id = state
        .services
        .events()
        .invoke(&actor, &slug, event, None)
        .await?;
    Ok(super::json(
        StatusCode::OK,
        json!({"id": id.to_string(), "status": 200})
            .to_string()
            .into_bytes(),
    ))
}
