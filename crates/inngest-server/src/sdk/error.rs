//! Errors as SDKs read them: `{"error", "status", "code", "data"}`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};

use inngest_services::{Error, Kind};

use crate::{
    body::Unreadable,
    error::{RETRY_AFTER_SECS, shown, status},
};

/// An error on its way to an SDK. `error` is always a string and `status` repeats the HTTP status, because the JS SDK reads only those.
#[derive(Debug)]
pub(crate) struct SdkError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) data: Value,
}

impl SdkError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            data: Value::Null,
        }
    }

    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

impl From<Error> for SdkError {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        // SDKs know no 422: whatever is wrong with what they sent is a 400 to them.
        let status = if kind == Kind::Invalid {
            StatusCode::BAD_REQUEST
        } else {
            status(kind)
        };
        Self::new(status, error.code(), shown(&error, ""))
    }
}

impl From<Unreadable> for SdkError {
    fn from(problem: Unreadable) -> Self {
        Self::new(problem.status(), problem.code(), problem.message())
    }
}

impl IntoResponse for SdkError {
    fn into_response(self) -> Response {
        let body = json!({"code": self.code, "error": self.message, "data": self.data, "status": self.status.as_u16()});
        let mut response = super::json(self.status, body.to_string().into_bytes());
        wait_hint(self.status, &mut response);
        response
    }
}

/// Adds `Retry-After` to answers that pass by themselves.
pub(crate) fn wait_hint(status: StatusCode, response: &mut Response) {
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_input_is_a_400_to_sdks_and_a_bug_keeps_its_inside() {
        let invalid = SdkError::from(Error::Invalid {
            code: "x",
            message: "wrong".into(),
        });
        assert_eq!(
            (invalid.status, invalid.message.as_str()),
            (StatusCode::BAD_REQUEST, "wrong")
        );
        let bug = SdkError::from(Error::Internal {
            what: "secret detail".into(),
        });
        assert_eq!(bug.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!bug.message.contains("secret detail"));
    }
}
