//! `POST /v0/gql`.

use crate::{
    body::Held,
    graphql::{
        asking::Asking,
        document::{self, Refusal},
        http as transport,
        response::Answer,
    },
    middleware::RequestId,
    state::AppState,
    v0::nulls,
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;

/// Answers one operation. Whatever is said about the operation itself comes with status 200, because clients give up on any other.
pub(crate) async fn post(State(state): State<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = RequestId::of(&parts.extensions);
    let (status, answer) = match transport::admit(&state, &parts.headers, body, &request_id).await {
        Ok((asking, body)) => {
            let is_browser = transport::is_browser(&parts.headers);
            let answer = execute(&state, asking, body, is_browser).await;
            let answer = answer.unwrap_or_else(|refusal| Answer::refusal(refusal, &request_id));
            (StatusCode::OK, answer)
        }
        Err(refusal) => (refusal.status, Answer::refusal(refusal, &request_id)),
    };
    transport::respond(status, &answer, transport::JSON)
}

async fn execute(
    state: &AppState,
    asking: Asking,
    body: Held,
    is_browser: bool,
) -> Result<Answer, Refusal> {
    let Some(schema) = &state.v0 else {
        let message = "this server does not serve /v0/gql";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", message));
    };
    let documents = &state.settings.documents;
    let parameters = documents.resolve(document::read(&body)?, is_browser)?;
    let mut prepared = document::prepare(parameters)?;
    let _room = body.into_room();
    nulls::settle(&mut prepared.request)?;
    let (_, answer) = transport::run(schema, prepared, asking).await?;
    Ok(answer)
}
