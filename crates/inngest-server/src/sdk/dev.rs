//! `GET /dev`: how the JS SDK finds a local server. Exists under `dev` only.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{auth::Caller, sdk::error::SdkError, state::AppState};

/// Facts about the server and the functions it knows.
pub(crate) async fn info(
    State(state): State<AppState>,
    Caller(actor): Caller,
) -> Result<Response, SdkError> {
    let functions = state
        .services
        .functions()
        .list(&actor?, None, false)
        .await?;
    let functions: Vec<Value> = functions
        .iter()
        .map(|function| json!({"id": function.id.to_string(), "slug": function.slug, "name": function.name, "config": function.config}))
        .collect();
    let health = state.services.health().await;
    let body = json!({
        "version": health.version,
        "authed": false,
        "startOpts": {},
        "functions": functions,
        "handlers": [],
        "isSingleNodeService": true,
        "isMissingSigningKey": false,
        "isMissingEventKeys": false,
        "features": {},
    });
    Ok(Json(body).into_response())
}
