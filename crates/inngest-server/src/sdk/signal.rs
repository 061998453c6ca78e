//! `POST /v1/signals`: resume the run that waits for a signal. `/api/v1/signals` is in `rest/signals.rs`.

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use inngest_core::json::Json;
use inngest_services::{Error, Kind};

use crate::{auth::Caller, sdk::error::SdkError, state::AppState};

#[derive(Deserialize)]
struct SignalBody<'a> {
    #[serde(default)]
    signal: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// Answers with the run that was resumed. 404 when nobody waits, which SDKs treat as an ordinary outcome.
pub(crate) async fn send(
    State(state): State<AppState>,
    Caller(actor): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdkError> {
    let actor = actor?;
    let limit = state.settings.request_body_bytes;
    let body = state.bodies.read(&headers, body, limit).await?;
    let invalid =
        |message: String| SdkError::new(StatusCode::BAD_REQUEST, "invalid_signal", message);
    let sent: SignalBody<'_> = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("invalid signal: {error}")))?;
    let name = sent
        .signal
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("the signal has no name".to_owned()))?;
    let data = match sent.data {
        None => Json::null(),
        Some(raw) => Json::parse(raw.get().as_bytes())
            .map_err(|error| invalid(format!("invalid signal data: {error}")))?,
    };
    let run = state
        .services
        .signals()
        .send(&actor, &name, data, None)
        .await
        .map_err(|error: Error| match error.kind() {
            Kind::NotFound => SdkError::new(StatusCode::NOT_FOUND, error.code(), "No signal found"),
            _ => error.into(),
        })?;
    let answer = json!({"data": {"run_id": run.to_string()}, "metadata": {"fetched_at": state.services.clock().now().to_rfc3339()}});
    Ok(super::json(StatusCode::OK, answer.to_string().into_bytes()))
}
