//! `POST /e/{key}`: events, one or many.

use axum::{
    body::Body,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use inngest_core::{event::Event, ids::EventId, wire};
use inngest_services::{Error, Kind};

use crate::{
    error::{shown, status},
    sdk::{error::wait_hint, text},
    state::AppState,
};

/// Answers after the events are stored for good, with our ids in the order of the request. All or none are taken.
pub(crate) async fn ingest(
    State(state): State<AppState>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&state, &key, &headers, body).await {
        Ok(ids) => accepted(&ids),
        Err(refusal) => refusal.into_response(),
    }
}

/// `POST /e` and `POST /e/`: the key is missing.
pub(crate) async fn without_key() -> Response {
    Refusal {
        status: StatusCode::UNAUTHORIZED,
        code: "event_key_missing",
        message: "Event key is required".to_owned(),
    }
    .into_response()
}

async fn take(
    state: &AppState,
    key: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<EventId>, Refusal> {
    let actor = state.services.auth().event_key(key)?;
    let limit = state.settings.ingest_body_bytes;
    let body = state.bodies.read(headers, body, limit).await;
    let body = body.map_err(|problem| Refusal {
        status: problem.status(),
        code: problem.code(),
        message: problem.message(),
    })?;
    let events = parse(state, headers, &body).map_err(|message| Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "invalid_events",
        message,
    })?;
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let _room = body.into_room();
    Ok(state.services.events().ingest(&actor, events).await?)
}

fn parse(state: &AppState, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Event>, String> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let now = state.services.clock().now();
    wire::event::parse_events(
        body,
        content_type,
        text(headers, wire::headers::EVENT_ID_SEED),
        now,
        state.services.ids(),
    )
    .map_err(|error| error.message)
}

/// Written by hand: this is the hottest answer of the server, and ids need no escaping.
fn accepted(ids: &[EventId]) -> Response {
    let mut body = String::with_capacity(32 + ids.len() * 29);
    body.push_str("{\"ids\":[");
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push('"');
        body.push_str(&id.to_string());
        body.push('"');
    }
    body.push_str("],\"status\":200}");
    super::json(StatusCode::OK, body.into_bytes())
}

/// Why nothing was taken. `ids` is an empty list rather than null, which the JS SDK would not accept.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn into_response(self) -> Response {
        let body = json!({"ids": [], "status": self.status.as_u16(), "code": self.code, "error": self.message});
        let mut response = super::json(self.status, body.to_string().into_bytes());
        wait_hint(self.status, &mut response);
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let status = if kind == Kind::Invalid {
            StatusCode::BAD_REQUEST
        } else {
            status(kind)
        };
        Self {
            status,
            code: error.code(),
            message: shown(&error, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answer_lists_the_ids_in_order() {
        let ids = [
            EventId::from_seed(1, [0; 10], 1),
            EventId::from_seed(1, [0; 10], 2),
        ];
        let body = axum::body::to_bytes(accepted(&ids).into_body(), 1_000)
            .await
            .unwrap();
        let expected = json!({"ids": [ids[0].to_string(), ids[1].to_string()], "status": 200});
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            expected
        );
    }
}
