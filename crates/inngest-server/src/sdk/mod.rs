//! What unmodified SDKs call. Paths, bodies and status codes are theirs to expect and ours to keep.

pub(crate) mod checkpoint;
pub(crate) mod dev;
pub(crate) mod error;
pub(crate) mod ingest;
pub(crate) mod invoke;
pub(crate) mod register;
pub(crate) mod run_data;
pub(crate) mod signal;
pub(crate) mod suites;

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode};

/// `POST /v0/telemetry`: SDKs only want a 200; what they send is not even read.
pub(crate) async fn telemetry() -> StatusCode {
    StatusCode::OK
}

/// The text of a header, where it is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A JSON answer with this status.
fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
