//! `POST /v1/checkpoint/{run}/async`: steps that an app reports while it goes on working.

use axum::{
    body::Body,
    extract::{Path, State},
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use inngest_core::wire::{self, checkpoint::InvalidCheckpoint};

use crate::{
    auth::Caller,
    body,
    sdk::{error::SdkError, run_data::run_id},
    state::AppState,
};

/// 200 with an empty body once the steps are stored. 409 tells the app that somebody else has its work now, and to stop; after anything
/// else it tries again and then goes on without checkpoints.
pub(crate) async fn report(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, SdkError> {
    let actor = actor?;
    let run = run_id(&id)?;
    let about_run = |error: SdkError| error.with_data(json!({"run_id": run.to_string()}));
    let limit = state.settings.request_body_bytes;
    let body = body::read_report(&headers, body, limit).await?;
    let checkpoint = wire::checkpoint::parse_checkpoint(&body, run)
        .map_err(|error| about_run(refused(&error)))?;
    state
        .services
        .checkpoints()
        .report(&actor, run, checkpoint)
        .await
        .map_err(|error| about_run(error.into()))?;
    Ok(StatusCode::OK)
}

fn refused(error: &InvalidCheckpoint) -> SdkError {
    match error {
        InvalidCheckpoint::Malformed(_) => SdkError::new(
            StatusCode::BAD_REQUEST,
            "invalid_checkpoint",
            error.to_string(),
        ),
        InvalidCheckpoint::TooLarge(_) => SdkError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "checkpoint_too_large",
            error.to_string(),
        ),
    }
}
