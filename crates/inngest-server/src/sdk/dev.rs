//! `GET /dev`: how the JS SDK finds a local server. Exists under `dev` only.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use inngest_core::json::Json;

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
        .map(|function| {
            json!({
                "id": function.id.to_string(),
                "slug": function.slug,
                "name": function.name,
                "triggers": function.config.member("triggers").unwrap_or_else(|| Json::array([])),
                "steps": steps_of(&function.config),
                "config": function.config,
            })
        })
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
    Ok(axum::Json(body).into_response())
}

/// The steps of a configuration, by which suites know that a function is registered.
fn steps_of(config: &Json) -> Vec<Value> {
    let steps = config.member("steps").unwrap_or_default();
    let step = |(key, step): (std::borrow::Cow<'_, str>, Json)| {
        let text = |name: &str| step.member(name).and_then(|text| text.to_text());
        let runtime = step.member("runtime").unwrap_or_default();
        let uri = runtime.member("url").and_then(|url| url.to_text());
        json!({
            "id": text("id").unwrap_or_else(|| key.to_string()),
            "name": text("name").unwrap_or_else(|| key.to_string()),
            "uri": uri,
        })
    };
    steps.members().map(step).collect()
}
