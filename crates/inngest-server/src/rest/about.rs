//! What REST tells of the server and of itself.

use std::borrow::Cow;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::{
    health,
    rest::{
        openapi,
        operation::{Ask, Asked, Head, Operation},
        problem::Refusal,
        reply::{AnyObject, Reply},
    },
    state::AppState,
};

/// Operations on the server itself.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Head::get("getHealth", "/health")
            .told(
                "server",
                "Tells whether the server is up; 503 without its database.",
            )
            .open::<Health, _>(show_health),
        Head::get("getOpenapi", "/openapi.json")
            .told("server", "Shows this document.")
            .read(document),
    ]
}

async fn show_health(state: AppState) -> Response {
    health::health(State(state)).await
}

/// What `GET /health` answers.
struct Health;

impl Reply for Health {
    const MEANING: &'static str = "The server is up.";

    fn schema(_: &mut SchemaGenerator) -> Option<Value> {
        let connection = json!({"enum": ["connected", "disconnected"]});
        Some(json!({
            "type": "object",
            "required": ["status", "redis", "version", "message"],
            "properties": {
                "status": {"enum": ["ok", "degraded"]},
                "sqlite": connection,
                "postgres": connection,
                "redis": {"enum": ["embedded", "connected", "rebuilding", "disconnected"]},
                "rebuild": {"type": "object"},
                "memory_mb": {"type": ["number", "null"]},
                "version": {"type": "string"},
                "message": {"type": "string"},
            },
        }))
    }

    fn answer(self, _: &Asked) -> Response {
        Self::STATUS.into_response()
    }
}

async fn document(_: Ask) -> Result<AnyObject, Refusal> {
    Ok(AnyObject(Cow::Borrowed(openapi::document())))
}
