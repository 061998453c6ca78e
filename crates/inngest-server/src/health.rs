//! Whether the server is up: `/live` (the process answers), `/ready` (send it work), `/health` (both stores, for people and probes).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::state::AppState;

/// `GET /health`: 200 when serving, 503 without a database. Without its Redis the server is degraded, but takes events in and answers:
/// that is 200 as well. Needs no credential, so it names nothing but the failing part.
pub(crate) async fn health(State(state): State<AppState>) -> Response {
    let health = state.services.health().await;
    let is_whole = health.database_connected && health.schedule != "disconnected";
    let mut body = Map::new();
    body.insert(
        "status".into(),
        json!(if is_whole { "ok" } else { "degraded" }),
    );
    body.insert(
        health.database.into(),
        json!(if health.database_connected {
            "connected"
        } else {
            "disconnected"
        }),
    );
    body.insert("redis".into(), json!(health.schedule));
    if let Some(rebuild) = health.rebuild {
        body.insert(
            "rebuild".into(),
            json!({"added": rebuild.added, "total": rebuild.total}),
        );
    }
    body.insert(
        "memory_mb".into(),
        memory_mb().map_or(Value::Null, |mb| json!(mb)),
    );
    body.insert("version".into(), json!(health.version));
    body.insert(
        "message".into(),
        json!(if is_whole { "OK" } else { "degraded" }),
    );
    (
        if health.database_connected {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(Value::Object(body)),
    )
        .into_response()
}

/// `GET /live`: 200 while the process can answer at all.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /ready`: 503 while starting, stopping, or without a database.
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    if state.settings.stop.is_cancelled() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "stopping"})),
        )
            .into_response();
    }
    let health = state.services.health().await;
    let (status, word) = match (health.ready && health.database_connected, health.schedule) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        // Events are accepted all the same, and nobody else could do more.
        (true, "disconnected") => (StatusCode::OK, "degraded"),
        (true, _) => (StatusCode::OK, "ok"),
    };
    (status, Json(json!({"status": word}))).into_response()
}

/// Resident memory of this process in MB with one decimal; none where `/proc` does not say.
fn memory_mb() -> Option<f64> {
    const PAGE_BYTES: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some((pages * PAGE_BYTES / 1_048_576.0 * 10.0).round() / 10.0)
}
