//! `POST /fn/register` and `DELETE /fn/remove`: which functions an app has.

use axum::{
    body::Body,
    extract::{Query, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use inngest_core::wire;

use crate::{
    auth::Caller,
    sdk::{error::SdkError, text},
    state::AppState,
};

/// Takes a registration. The kind of server is compared before anything else, so that an app that means another server hears that first.
pub(crate) async fn register(
    State(state): State<AppState>,
    Caller(actor): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, SdkError> {
    if let Some(expected) = text(&headers, wire::headers::EXPECTED_SERVER_KIND)
        .filter(|kind| !kind.is_empty() && *kind != state.kind)
    {
        let message = format!("Expected server kind {expected}, got {}", state.kind);
        let Ok(actor) = actor else {
            let code = "server_kind_mismatch";
            return Err(SdkError::new(StatusCode::BAD_REQUEST, code, message));
        };
        let apps = state.services.apps();
        return Err(apps.refuse_other_kind(&actor, message).await.into());
    }
    let actor = actor?;
    let limit = state.settings.request_body_bytes;
    let body = state.bodies.read(&headers, body, limit).await?;
    let platform = text(&headers, wire::headers::PLATFORM).filter(|platform| !platform.is_empty());
    let apps = state.services.apps();
    let synced = apps.register_body(&actor, &body, platform).await?;
    let answer = json!({
        "ok": true,
        "modified": synced.modified,
        "sync_id": synced.sync.to_string(),
        "app_id": synced.app.to_string(),
    });
    Ok(super::json(StatusCode::OK, answer.to_string().into_bytes()))
}

/// The query of `DELETE /fn/remove`.
#[derive(Deserialize)]
pub(crate) struct Removal {
    url: Option<String>,
}

/// Archives the app with this URL and its functions.
pub(crate) async fn remove(
    State(state): State<AppState>,
    Caller(actor): Caller,
    Query(removal): Query<Removal>,
) -> Result<StatusCode, SdkError> {
    let actor = actor?;
    let url = removal.url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| {
        SdkError::new(
            StatusCode::BAD_REQUEST,
            "url_missing",
            "the query needs the `url` of the app",
        )
    })?;
    state.services.apps().remove(&actor, &url).await?;
    Ok(StatusCode::OK)
}
