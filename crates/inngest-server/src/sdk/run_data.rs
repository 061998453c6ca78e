//! What an app fetches about a run whose state does not fit into a call, and the old way to cancel one.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;

use inngest_core::ids::RunId;

use crate::{auth::Caller, sdk::error::SdkError, state::AppState};

/// `GET /v0/runs/{id}/actions`: finished steps by hashed id, as memos.
pub(crate) async fn actions(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, SdkError> {
    let memos = state
        .services
        .runs()
        .memos_of(&actor?, run_id(&id)?)
        .await?;
    Ok(super::json(StatusCode::OK, memos.as_bytes().to_vec()))
}

/// `GET /v0/runs/{id}/batch`: the events that started the run, as a bare list.
pub(crate) async fn batch(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<Response, SdkError> {
    let events = state
        .services
        .runs()
        .events_of(&actor?, run_id(&id)?)
        .await?;
    let mut body =
        Vec::with_capacity(2 + events.iter().map(|event| event.len() + 1).sum::<usize>());
    body.push(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.as_bytes());
    }
    body.push(b']');
    Ok(super::json(StatusCode::OK, body))
}

/// `DELETE /v0/runs/{id}`: 204 when the run is cancelled, also when it was before; 409 when it ended otherwise.
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, SdkError> {
    state.services.runs().cancel(&actor?, run_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A run id from a path, with the text that SDKs know for a bad one.
pub(crate) fn run_id(text: &str) -> Result<RunId, SdkError> {
    text.parse().map_err(|_| {
        SdkError::new(
            StatusCode::BAD_REQUEST,
            "invalid_run_id",
            "The run ID specified is invalid",
        )
    })
}
