//! What happens around every request: its id, the headers that every answer has, cross-origin rules, and panics.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use metrics::{counter, histogram};
use tracing::{Instrument, Span, debug, field::Empty, info_span};

use inngest_services::continue_from;

use crate::{
    origin,
    rest::problem::{Problem, Shape},
    state::AppState,
};

pub(crate) static SERVER_KIND: HeaderName = HeaderName::from_static("x-inngest-server-kind");
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const PROBES: [&str; 3] = ["/health", "/live", "/ready"];

/// The id of a request: the caller's own `X-Request-Id` where it is plain and short, else a new ULID.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The id of the request with these extensions; empty outside of the router.
    pub(crate) fn of(extensions: &http::Extensions) -> String {
        extensions
            .get::<Self>()
            .map(|id| id.0.clone())
            .unwrap_or_default()
    }

    fn take(headers: &HeaderMap, state: &AppState) -> Self {
        let sent = headers
            .get(&REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let is_plain = |id: &&str| {
            !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic())
        };
        let id = sent.filter(is_plain).map_or_else(
            || {
                state
                    .services
                    .ids()
                    .ulid(state.services.clock().now())
                    .to_string()
            },
            str::to_owned,
        );
        Self(id)
    }
}

/// Wraps every request of the server.
pub(crate) async fn around(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::take(request.headers(), &state);
    let is_ingest = request.uri().path().starts_with("/e/");
    let origin = request.headers().get(header::ORIGIN).cloned();
    let verdict = if is_ingest {
        origin::Origin::Allowed
    } else {
        origin::judge(&state.settings, request.headers())
    };
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let begun = Instant::now();
    let shape = Shape::at(request.uri().path());
    let span = span_of(&request, &id, &route);
    request.extensions_mut().insert(id.clone());

    let mut response = if method == Method::OPTIONS && origin.is_some() {
        preflight(verdict, request.headers())
    } else if verdict == origin::Origin::Foreign && !matches!(method, Method::GET | Method::HEAD) {
        Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not call this server",
            &id.0,
        )
        .shaped(shape)
        .into_response()
    } else {
        let id = id.0.clone();
        let answering =
            async move { guarded(next.run(request), &id, shape).await }.instrument(span.clone());
        if method.is_safe() {
            answering.await
        } else {
            // Whoever asks for a change may hang up between the commit and what has to follow it, or while what was made of the body
            // waits to be stored.
            let answered = state.settings.tracker.spawn(answering).await;
            answered.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    };

    note(&span, route, response.status(), begun.elapsed());
    let headers = response.headers_mut();
    headers.insert(SERVER_KIND.clone(), HeaderValue::from_static(state.kind));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Ok(value) = HeaderValue::try_from(id.0) {
        headers.insert(REQUEST_ID.clone(), value);
    }
    if let Some(origin) = origin.filter(|_| verdict != origin::Origin::Foreign) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Link, X-Request-Id, Retry-After"),
        );
    }
    response
}

/// What is traced of a request, and what each line is about that is logged for it. Probes, which come again and again, are not traced.
fn span_of(request: &Request, id: &RequestId, route: &str) -> Span {
    let method = request.method();
    if PROBES.contains(&route) {
        return info_span!("probe", request.id = %id.0, http.method = %method, http.route = %route);
    }
    let span = info_span!(
        "request",
        request.id = %id.0,
        http.method = %method,
        http.route = %route,
        http.status = Empty,
        org.id = Empty,
        env.id = Empty,
        otel.kind = "server",
        otel.name = %format_args!("{method} {route}"),
        otel.status_code = Empty,
    );
    let parent = request.headers().get("traceparent");
    if let Some(parent) = parent.and_then(|value| value.to_str().ok()?.parse().ok()) {
        continue_from(&span, parent);
    }
    span
}

/// Routes are templates, so there are few of them, and so are classes of status.
fn note(span: &Span, route: String, status: StatusCode, took: Duration) {
    span.record("http.status", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    debug!(
        parent: span,
        http.status = status.as_u16(),
        duration_ms = took.as_secs_f64() * 1_000.0,
        "request answered"
    );
    let class = match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        429 => "429",
        400..=499 => "4xx",
        503 => "503",
        500..=599 => "5xx",
        _ => "1xx",
    };
    counter!("inngest_http_requests_total", "route" => route.clone(), "status" => class)
        .increment(1);
    histogram!("inngest_http_request_duration_seconds", "route" => route).record(took);
}

/// A panic in a handler ends that request alone.
async fn guarded(handler: impl Future<Output = Response>, id: &str, shape: Shape) -> Response {
    match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(request.id = id, "a handler panicked");
            let message = "something went wrong on our side; the request id names the log entry";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, id)
                .shaped(shape)
                .into_response()
        }
    }
}

fn preflight(verdict: origin::Origin, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if verdict == origin::Origin::Foreign {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("3600"),
    );
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}
