//! Errors as problem details (RFC 9457), with the members `error`, `status` and `data` that clients of the older API read.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use inngest_services::Error;

use crate::{
    body::Unreadable,
    error::{shown, status},
    sdk::error::wait_hint,
};

/// One error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    request_id: String,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        request_id: &str,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            request_id: request_id.to_owned(),
        }
    }

    /// A service error, logged here if it is ours.
    pub(crate) fn of(error: &Error, request_id: &str) -> Self {
        Self::new(
            status(error.kind()),
            error.code(),
            shown(error, request_id),
            request_id,
        )
    }

    pub(crate) fn unreadable(problem: &Unreadable, request_id: &str) -> Self {
        Self::new(
            problem.status(),
            problem.code(),
            problem.message(),
            request_id,
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let words = self.code.replace('_', " ");
        let title = words.get(..1).map(str::to_uppercase).unwrap_or_default()
            + words.get(1..).unwrap_or_default();
        let body = json!({
            "type": format!("urn:inngest:problem:{}", self.code),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "request_id": self.request_id,
            "error": self.detail,
            "data": null,
        });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                http::header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer"),
            );
        }
        wait_hint(self.status, &mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn problem_satisfies_new_and_old_clients() {
        let response = Problem::of(
            &Error::NotFound {
                what: "run",
                id: "x".into(),
            },
            "r1",
        )
        .into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["title"], "Run not found");
        assert_eq!(body["code"], "run_not_found");
        assert_eq!(body["error"], body["detail"]);
        assert_eq!(body["status"], 404);
        assert_eq!(body["request_id"], "r1");
    }
}
