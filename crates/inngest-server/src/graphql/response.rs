//! From the library's response to what clients get: no `data` after request errors, a code on every error, no inside of ours.

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value};
use http::StatusCode;
use inngest_services::Cost;
use serde::Serialize;

use crate::graphql::{document::Refusal, stage::Stage};

/// A response in its final form.
#[derive(Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<ServerError>,
    extensions: Extensions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<ShownCost>,
}

/// What an operation cost, in points; `null` where nobody counts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCost {
    requested: u64,
    remaining: Option<u64>,
    limit: Option<u64>,
    /// When the caller has all its points again.
    reset_at: Option<String>,
}

impl From<Cost> for ShownCost {
    fn from(cost: Cost) -> Self {
        Self {
            requested: cost.requested,
            remaining: cost.bucket.map(|bucket| bucket.remaining),
            limit: cost.bucket.map(|bucket| bucket.limit),
            reset_at: cost.bucket.map(|bucket| bucket.full_at.to_rfc3339()),
        }
    }
}

impl Answer {
    /// An answer that is nothing but errors.
    pub(crate) fn refusal(refusal: Refusal, request_id: &str) -> Self {
        let mut error = *refusal.error;
        error
            .extensions
            .get_or_insert_with(ErrorExtensionValues::default)
            .set("code", refusal.code);
        Self {
            data: None,
            errors: vec![error],
            extensions: Extensions {
                request_id: request_id.to_owned(),
                cost: None,
            },
        }
    }

    /// How long the caller is to wait before it asks again.
    pub(crate) fn wait_ms(&self) -> Option<u64> {
        self.errors.iter().find_map(|error| {
            match error.extensions.as_ref()?.get("retryAfterMs")? {
                Value::Number(wait) => wait.as_u64(),
                _ => None,
            }
        })
    }

    /// Whether it holds errors in place of data, so that a stream ends with it.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.data, None | Some(Value::Null)) && !self.errors.is_empty()
    }

    /// Whether the operation was not executed at all.
    pub(crate) fn is_refusal(&self) -> bool {
        self.data.is_none()
    }
}

/// An answer as JSON, on one line.
pub(crate) fn text(answer: &Answer) -> String {
    serde_json::to_string(answer).expect("answers hold only JSON values")
}

/// Finishes a response; `stage` says whether its errors belong to the request or to fields. The status is the one for HTTP.
pub(crate) fn finish(response: Response, stage: &Stage, request_id: &str) -> (StatusCode, Answer) {
    let mut errors = response.errors;
    let executed = stage.is_executed();
    for error in &mut errors {
        complete(error, executed, request_id);
    }
    let cost = stage.take_cost();
    let is_limited = cost
        .and_then(|cost| cost.bucket)
        .is_some_and(|bucket| bucket.wait.is_some());
    let extensions = Extensions {
        request_id: request_id.to_owned(),
        cost: cost.map(ShownCost::from),
    };
    if executed {
        return (
            StatusCode::OK,
            Answer {
                data: Some(response.data),
                errors,
                extensions,
            },
        );
    }
    let status = if is_limited {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    (
        status,
        Answer {
            data: None,
            errors,
            extensions,
        },
    )
}

fn complete(error: &mut ServerError, executed: bool, request_id: &str) {
    if error
        .extensions
        .as_ref()
        .is_some_and(|extensions| extensions.get("code").is_some())
    {
        return;
    }
    // What the library says about arguments during execution; its messages are the only mark.
    let is_about_input = error.message.starts_with("Failed to parse")
        || error.message.starts_with("Invalid value for argument");
    let code = match (executed, is_about_input) {
        (false, _) => "GRAPHQL_VALIDATION_FAILED",
        (true, true) => "BAD_USER_INPUT",
        (true, false) => "INTERNAL",
    };
    if code == "INTERNAL" {
        tracing::error!(request.id = request_id, error = %error.message, "a field failed without a code");
        error.message =
            "something went wrong on our side; the request id names the log entry".to_owned();
    }
    error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default)
        .set("code", code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_without_code_is_masked_after_execution_only() {
        let mut inside = ServerError::new("connection to 10.0.0.1 refused", None);
        complete(&mut inside, true, "r");
        assert!(!inside.message.contains("10.0.0.1"));
        let mut about_document = ServerError::new("Unknown field \"x\"", None);
        complete(&mut about_document, false, "r");
        assert_eq!(about_document.message, "Unknown field \"x\"");
        let code = about_document.extensions.unwrap().get("code").cloned();
        assert_eq!(code, Some(Value::from("GRAPHQL_VALIDATION_FAILED")));
    }
}
