//! Service errors as GraphQL errors: `extensions.code` says what kind, `extensions.reason` is the same word as REST's `code`.

use async_graphql::{Context, Error, ErrorExtensionValues, Name, Value as ConstValue};

use inngest_services::{Error as ServiceError, Kind};

use crate::{
    error::{RETRY_AFTER_SECS, shown},
    graphql::asking::asking,
};

/// A service error as seen by a client; errors of ours are logged here.
pub(crate) fn failed(ctx: &Context<'_>, error: &ServiceError) -> Error {
    as_error(error, &asking(ctx).request_id)
}

/// The same outside of a resolver.
pub(crate) fn as_error(error: &ServiceError, request_id: &str) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code(error));
    extensions.set("reason", error.code());
    if matches!(error.kind(), Kind::Limited | Kind::Unavailable) {
        extensions.set("retryAfterMs", RETRY_AFTER_SECS * 1_000);
    }
    if let ServiceError::Expression(error) = error {
        let (line, column) = error.position();
        let issue = [
            ("message", ConstValue::from(error.to_string())),
            ("line", ConstValue::from(line)),
            ("column", ConstValue::from(column)),
        ];
        let issue = issue.map(|(name, value)| (Name::new(name), value));
        let issue = ConstValue::Object(issue.into_iter().collect());
        extensions.set("issues", ConstValue::List(vec![issue]));
    }
    Error {
        message: shown(error, request_id),
        source: None,
        extensions: Some(extensions),
    }
}

/// An argument that the schema allows but we do not.
pub(crate) fn bad_input(message: impl Into<String>) -> Error {
    with_code("BAD_USER_INPUT", message)
}

/// A cursor that is not one of ours.
pub(crate) fn bad_cursor() -> Error {
    with_code(
        "INVALID_CURSOR",
        "this cursor is not one of ours; start again without it",
    )
}

fn with_code(code: &'static str, message: impl Into<String>) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    Error {
        message: message.into(),
        source: None,
        extensions: Some(extensions),
    }
}

/// The code of a top-level error.
pub(crate) fn code(error: &ServiceError) -> &'static str {
    match error.kind() {
        Kind::Malformed if error.code() == "invalid_cursor" => "INVALID_CURSOR",
        Kind::Invalid if error.code() == "invalid_expression" => "INVALID_EXPRESSION",
        Kind::Malformed | Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::TooLarge => {
            "BAD_USER_INPUT"
        }
        Kind::Unauthenticated => "UNAUTHENTICATED",
        Kind::Forbidden => "FORBIDDEN",
        Kind::Limited => "RATE_LIMITED",
        Kind::Unavailable => "UNAVAILABLE",
        Kind::Internal => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_that_passes_says_when_to_ask_again_and_others_do_not() {
        let wait = |error: &ServiceError| {
            let shown = as_error(error, "r");
            let extensions = shown.extensions.unwrap();
            extensions.get("retryAfterMs").cloned()
        };
        assert_eq!(wait(&ServiceError::Busy), Some(ConstValue::from(1_000)));
        let gone = ServiceError::NotFound {
            what: "run",
            id: "x".to_owned(),
        };
        assert_eq!(wait(&gone), None);
    }
}
