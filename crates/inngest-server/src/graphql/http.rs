//! `/graphql` over HTTP: POST for operations; GET for websockets and, in dev, for a page to try things out.

use std::panic::AssertUnwindSafe;

use async_graphql::{ObjectType, Schema, SubscriptionType, parser::types::OperationType};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request, State, WebSocketUpgrade},
    response::{Html, IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use inngest_services::Kept;

use crate::{
    auth,
    body::{Held, Unreadable},
    error::{shown, status},
    graphql::{
        asking::Asking,
        document::{self, Prepared, Refusal},
        error::code,
        limits, loaders,
        response::{self, Answer},
        sse,
        stage::Stage,
        ws,
    },
    middleware::RequestId,
    rest::problem::Problem,
    state::AppState,
};

const GRAPHQL_JSON: &str = "application/graphql-response+json";
pub(crate) const JSON: &str = "application/json";

/// A page to try operations out and to read the schema, in one piece: it loads nothing.
const EXPLORER: &str = concat!(
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    "<link rel=\"icon\" href=\"data:,\"><title>GraphQL</title><style>",
    include_str!("explorer/style.css"),
    "</style></head><body>",
    include_str!("explorer/page.html"),
    "<script type=\"module\">",
    include_str!("explorer/page.js"),
    "</script></body></html>",
);
/// What that page may do: be itself, and talk to the server that it came from.
const EXPLORER_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `POST /graphql`.
pub(crate) async fn post(State(state): State<AppState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = RequestId::of(&parts.extensions);
    let media = acceptable(&parts.headers);
    let takes_streams = sse::is_listed(&parts.headers);
    if media.is_none() && !takes_streams {
        let message = format!("answers are {GRAPHQL_JSON}, {JSON} or text/event-stream");
        return Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            message,
            &request_id,
        )
        .into_response();
    }
    let answered = async {
        let (asking, body) = admit(&state, &parts.headers, body, &request_id).await?;
        let documents = &state.settings.documents;
        let prepared = document::read(&body)
            .and_then(|parameters| documents.resolve(parameters, is_browser(&parts.headers)))
            .and_then(document::prepare);
        let is_subscription =
            matches!(&prepared, Ok(prepared) if prepared.kind == OperationType::Subscription);
        // Room for what was made of the body; a stream lasts, and holds little of it.
        let _room = body.into_room();
        if takes_streams && (is_subscription || media.is_none()) {
            return sse::answer(&state, prepared, asking);
        }
        if is_subscription {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "BAD_USER_INPUT",
                "subscriptions need a websocket on this path, or `Accept: text/event-stream`",
            ));
        }
        let (status, answer) = run(&state.schema, prepared?, asking).await?;
        Ok(respond(status, &answer, media.unwrap_or(GRAPHQL_JSON)))
    };
    answered.await.unwrap_or_else(|refusal: Refusal| {
        let status = refusal.status;
        let answer = Answer::refusal(refusal, &request_id);
        respond(status, &answer, media.unwrap_or(GRAPHQL_JSON))
    })
}

/// Who asks, and the whole body; refused before anything is known of the operation.
pub(crate) async fn admit(
    state: &AppState,
    headers: &HeaderMap,
    body: Body,
    request_id: &str,
) -> Result<(Asking, Held), Refusal> {
    let actor = auth::actor(state, headers).await.map_err(|error| {
        Refusal::new(
            status(error.kind()),
            code(&error),
            shown(&error, request_id),
        )
    })?;
    if !is_json(headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BAD_USER_INPUT",
            "the body must be application/json",
        ));
    }
    let limit = state.settings.graphql_body_bytes;
    let body = state.bodies.read(headers, body, limit).await;
    let body = body.map_err(|problem| {
        let code = match problem {
            Unreadable::NoRoom => "RATE_LIMITED",
            Unreadable::TooLarge { .. } | Unreadable::TooSlow | Unreadable::Cut => {
                "OPERATION_TOO_LARGE"
            }
        };
        Refusal::new(problem.status(), code, problem.message())
    })?;
    let asking = Asking::once(state.services.clone(), actor, request_id.to_owned());
    Ok((asking, body))
}

/// Executes one query or mutation within its time.
pub(crate) async fn run<Q, M, S>(
    schema: &Schema<Q, M, S>,
    prepared: Prepared,
    asking: Asking,
) -> Result<(StatusCode, Answer), Refusal>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let budgets = asking.services.budgets();
    let Some(_under_way) = budgets.hold(Kept::Operation, &asking.actor) else {
        let message = format!(
            "this caller has {} operations under way, the most there may be; wait for one of them",
            Kept::Operation.most()
        );
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            message,
        ));
    };
    let stage = Stage::default();
    let request_id = asking.request_id.clone();
    let time = if prepared.kind == OperationType::Mutation {
        limits::MUTATION_TIME
    } else {
        limits::QUERY_TIME
    };
    let request = prepared
        .request
        .data(stage.clone())
        .data(loaders::loaders(asking.clone()))
        .data(asking);
    let execution = AssertUnwindSafe(schema.execute(request)).catch_unwind();
    match tokio::time::timeout(time, execution).await {
        Ok(Ok(response)) => Ok(response::finish(response, &stage, &request_id)),
        Ok(Err(_)) => {
            tracing::error!(request.id = request_id, "a resolver panicked");
            let message = "something went wrong on our side; the request id names the log entry";
            Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                message,
            ))
        }
        Err(_) => {
            let message = format!("the operation took longer than {} s", time.as_secs());
            Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "TIMEOUT",
                message,
            ))
        }
    }
}

pub(crate) fn respond(status: StatusCode, answer: &Answer, media: &'static str) -> Response {
    let body = response::text(answer);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(if media == JSON {
            "application/json; charset=utf-8"
        } else {
            "application/graphql-response+json; charset=utf-8"
        }),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    crate::sdk::error::wait_hint(status, &mut response);
    if let Some(wait) = answer.wait_ms() {
        let seconds = HeaderValue::from(wait.div_ceil(1_000));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// Whether a web page asks: browsers put its origin into every request that is not a plain GET.
pub(crate) fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

/// Whether the body is declared as JSON; anything else could be sent by a foreign page without being asked first.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    declared
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case(JSON))
}

/// The media type of the answer; none when the client takes neither.
fn acceptable(headers: &HeaderMap) -> Option<&'static str> {
    let mut listed = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .peekable();
    if listed.peek().is_none() {
        return Some(GRAPHQL_JSON);
    }
    let mut found = None;
    for entry in listed {
        let mut parts = entry.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused = parts.any(|part| {
            matches!(
                part.to_ascii_lowercase().as_str(),
                "q=0" | "q=0.0" | "q=0.00" | "q=0.000"
            )
        });
        if is_refused {
            continue;
        }
        match media.as_str() {
            GRAPHQL_JSON | "*/*" | "application/*" => return Some(GRAPHQL_JSON),
            JSON => found = Some(JSON),
            _ => {}
        }
    }
    found
}

/// `GET /graphql`: a websocket, or the explorer in dev.
pub(crate) async fn get(State(state): State<AppState>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let request_id = RequestId::of(&parts.extensions);
    let wants_socket = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        || parts.extensions.get::<hyper::ext::Protocol>().is_some();
    if wants_socket {
        return match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => ws::upgrade(&state, &parts.headers, upgrade, &request_id),
            Err(rejection) => rejection.into_response(),
        };
    }
    if state.settings.dev {
        return (
            [(header::CONTENT_SECURITY_POLICY, EXPLORER_POLICY)],
            Html(EXPLORER),
        )
            .into_response();
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "GraphQL is served by POST and by websocket",
        &request_id,
    )
    .into_response()
}

/// `GET /graphql/schema.graphql`: the schema as text, for callers who may use it.
pub(crate) async fn schema_text(State(state): State<AppState>, request: Request) -> Response {
    let request_id = RequestId::of(request.extensions());
    let headers = request.headers();
    let may_introspect = state.settings.documents.admits_any(is_browser(headers));
    match auth::actor(&state, headers).await {
        Ok(_) if !may_introspect => Problem::new(
            StatusCode::FORBIDDEN,
            "document_not_allowed",
            "this server takes known documents only, and shows its schema to nobody",
            &request_id,
        )
        .into_response(),
        Ok(_) => (
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            super::sdl(),
        )
            .into_response(),
        Err(error) => Problem::of(&error, &request_id).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_of_the_answer_follows_accept() {
        for (accept, expected) in [
            (None, Some(GRAPHQL_JSON)),
            (Some("*/*"), Some(GRAPHQL_JSON)),
            (Some("application/json"), Some(JSON)),
            (
                Some("application/json, application/graphql-response+json"),
                Some(GRAPHQL_JSON),
            ),
            (Some("application/json, */*;q=0.1"), Some(GRAPHQL_JSON)),
            (
                Some("application/graphql-response+json;q=0, application/json"),
                Some(JSON),
            ),
            (Some("text/html"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(acceptable(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn only_declared_json_is_read() {
        for (declared, expected) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("Application/JSON", true),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
            ("application/jsonp", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, declared.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{declared}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
