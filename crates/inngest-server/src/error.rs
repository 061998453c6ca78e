//! A service error's kind as an HTTP status, once for all surfaces.

use http::StatusCode;

use inngest_services::{Error, Kind};

/// Seconds that a caller is asked to wait after 429 and 503.
pub(crate) const RETRY_AFTER_SECS: u64 = 1;

pub(crate) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a caller may read about an error: everything but the inside of a bug. Errors that end here are logged here, with their causes.
pub(crate) fn shown(error: &Error, request_id: &str) -> String {
    match error.kind() {
        Kind::Internal => {
            tracing::error!(request.id = request_id, error = %chain(error), "request failed");
            "something went wrong on our side; the request id names the log entry".to_owned()
        }
        Kind::Unavailable => {
            tracing::warn!(request.id = request_id, error = %chain(error), "request could not be served now");
            error.to_string()
        }
        Kind::Malformed
        | Kind::Invalid
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::Conflict
        | Kind::TooLarge
        | Kind::Limited => error.to_string(),
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
