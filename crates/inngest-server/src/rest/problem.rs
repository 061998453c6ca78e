//! Errors of REST, rendered in one place: as problem details (RFC 9457) with the members `error`, `status` and `data` that clients of the
//! older API read, or as the list of errors that clients of `/v2` read.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use schemars::JsonSchema;
use serde::Serialize;

use inngest_core::ids::InvalidId;
use inngest_services::Error;

use crate::{
    body::Unreadable,
    error::{shown, status},
    rest::operation::Mount,
    sdk::error::wait_hint,
};

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A service refused it.
    Service(Error),
    /// Its body could not be read.
    Body(Unreadable),
    /// It is not a request that this operation takes.
    Request {
        status: StatusCode,
        code: &'static str,
        detail: String,
    },
}

impl Refusal {
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Request {
            status: StatusCode::BAD_REQUEST,
            code,
            detail: detail.into(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl From<InvalidId> for Refusal {
    fn from(error: InvalidId) -> Self {
        Self::Service(error.into())
    }
}

impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Self {
        Self::Body(error)
    }
}

/// How an error looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `application/problem+json`.
    #[default]
    Details,
    /// `{"errors": [{"code", "message"}]}`.
    List,
}

impl Shape {
    /// How errors look at this path, whether or not there is anything.
    pub(crate) fn at(path: &str) -> Self {
        let is_below = |prefix: &&str| {
            let rest = path.strip_prefix(*prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match Mount::V2.prefixes().iter().any(is_below) {
            true => Self::List,
            false => Self::Details,
        }
    }
}

/// One error answer.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    request_id: String,
    shape: Shape,
}

/// Problem details.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody<'a> {
    /// Names the sort of problem.
    r#type: String,
    /// The same for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What was wrong with this request.
    detail: &'a str,
    /// Names the sort of problem; never changes.
    code: &'a str,
    /// Names the request in the server's log.
    request_id: &'a str,
    /// As `detail`, for clients of the older API.
    error: &'a str,
    /// Always null, for clients of the older API.
    data: (),
}

/// Errors as clients of `/v2` read them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Errors")]
pub(crate) struct ErrorsBody<'a> {
    errors: [ErrorBody<'a>; 1],
}

/// One of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorBody<'a> {
    /// Names the sort of error; never changes.
    code: &'a str,
    /// What was wrong.
    message: &'a str,
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
            shape: Shape::default(),
        }
    }

    /// In another shape. Clients of `/v2` know 422 for other things than a body of the wrong shape.
    pub(crate) fn shaped(self, shape: Shape) -> Self {
        let status = match (shape, self.code) {
            (Shape::List, "invalid_body") => StatusCode::BAD_REQUEST,
            _ => self.status,
        };
        Self {
            shape,
            status,
            ..self
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

    pub(crate) fn refused(refusal: &Refusal, request_id: &str) -> Self {
        match refusal {
            Refusal::Service(error) => Self::of(error, request_id),
            Refusal::Body(body) => {
                Self::new(body.status(), body.code(), body.message(), request_id)
            }
            Refusal::Request {
                status,
                code,
                detail,
            } => Self::new(*status, code, detail.as_str(), request_id),
        }
    }

    fn body(&self) -> (&'static str, Vec<u8>) {
        match self.shape {
            Shape::Details => {
                let words = self.code.replace('_', " ");
                let body = ProblemBody {
                    r#type: format!("urn:inngest:problem:{}", self.code),
                    title: words.get(..1).map(str::to_uppercase).unwrap_or_default()
                        + words.get(1..).unwrap_or_default(),
                    status: self.status.as_u16(),
                    detail: &self.detail,
                    code: self.code,
                    request_id: &self.request_id,
                    error: &self.detail,
                    data: (),
                };
                ("application/problem+json", json(&body))
            }
            Shape::List => {
                let code = match self.status {
                    StatusCode::FORBIDDEN => "access_denied",
                    StatusCode::NOT_FOUND => "not_found",
                    StatusCode::TOO_MANY_REQUESTS => "rate_limited",
                    StatusCode::INTERNAL_SERVER_ERROR => "internal_error",
                    _ => self.code,
                };
                let message = &self.detail;
                let errors = [ErrorBody { code, message }];
                ("application/json", json(&ErrorsBody { errors }))
            }
        }
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (content_type, body) = self.body();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
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

    async fn answer(shape: Shape) -> (HeaderValue, serde_json::Value) {
        let error = Error::NotFound {
            what: "run",
            id: "x".into(),
        };
        let problem = Problem::refused(&error.into(), "r1").shaped(shape);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let content_type = response.headers()[CONTENT_TYPE].clone();
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        (content_type, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn problem_satisfies_new_and_old_clients() {
        let (content_type, body) = answer(Shape::Details).await;
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(body["title"], "Run not found");
        assert_eq!(body["code"], "run_not_found");
        assert_eq!(body["error"], body["detail"]);
        assert_eq!(body["status"], 404);
        assert_eq!(body["request_id"], "r1");
        assert!(body["data"].is_null());
        let (content_type, body) = answer(Shape::List).await;
        assert_eq!(content_type, "application/json");
        let errors =
            serde_json::json!({"errors": [{"code": "not_found", "message": "no run `x`"}]});
        assert_eq!(body, errors);
    }

    #[test]
    fn path_says_how_its_errors_look() {
        for (path, shape) in [
            ("/v2", Shape::List),
            ("/v2/runs", Shape::List),
            ("/api/v2/x", Shape::List),
            ("/v22", Shape::Details),
            ("/api/v1/runs", Shape::Details),
            ("/", Shape::Details),
        ] {
            assert_eq!(Shape::at(path), shape, "{path}");
        }
    }
}
