//! Failures of mutations that a correct client can run into.

use async_graphql::{Enum, Error, ID, Interface, SimpleObject};

use inngest_services::{Error as ServiceError, Kind};

use crate::graphql::error::as_error;

/// An expected failure of a mutation, reported in the payload instead of the top-level errors list.
#[derive(Interface)]
#[graphql(
    field(
        name = "code",
        ty = "&UserErrorCode",
        desc = "Stable machine-readable code."
    ),
    field(
        name = "message",
        ty = "&String",
        desc = "Sentence for a human; may change without notice."
    ),
    field(
        name = "path",
        ty = "&Vec<String>",
        desc = "Path of the offending input field, starting with \"input\"; empty when no field is to blame."
    )
)]
pub(crate) enum UserError {
    Validation(ValidationError),
    NotFound(NotFoundError),
    Conflict(ConflictError),
}

/// An input value was well-formed GraphQL but not acceptable.
#[derive(SimpleObject)]
pub(crate) struct ValidationError {
    /// Stable machine-readable code.
    code: UserErrorCode,
    /// Sentence for a human.
    message: String,
    /// Path of the offending input field.
    path: Vec<String>,
}

/// The object named by the input does not exist or is not visible to the caller.
#[derive(SimpleObject)]
pub(crate) struct NotFoundError {
    /// Always NOT_FOUND.
    code: UserErrorCode,
    /// Sentence for a human.
    message: String,
    /// Path of the id in the input.
    path: Vec<String>,
    /// The id that was not found, when one was given.
    id: Option<ID>,
}

/// The object is in a state that does not allow the change.
#[derive(SimpleObject)]
pub(crate) struct ConflictError {
    /// Which rule was broken.
    code: UserErrorCode,
    /// Sentence for a human.
    message: String,
    /// Path of the offending input field.
    path: Vec<String>,
}

/// Codes of expected mutation failures; clients must tolerate unknown values.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UserErrorCode {
    /// Value outside the allowed range or form.
    InvalidValue,
    /// Object does not exist for this caller.
    NotFound,
    /// Run has already ended.
    AlreadyEnded,
    /// A configured limit would be exceeded.
    LimitExceeded,
    /// The app URL did not answer.
    SyncUnreachable,
    /// The app answered with something that is not a valid registration.
    SyncInvalid,
    /// The app rejected or could not prove the signing key.
    SyncUnauthorized,
}

impl UserError {
    pub(crate) fn invalid(message: impl Into<String>, path: &[&str]) -> Self {
        Self::Validation(ValidationError {
            code: UserErrorCode::InvalidValue,
            message: message.into(),
            path: owned(path),
        })
    }

    /// Sorts a service error: what the client can run into goes into the payload, everything else stays a top-level error.
    ///
    /// # Errors
    /// The top-level error.
    pub(crate) fn sort(
        error: &ServiceError,
        path: &[&str],
        id: Option<&ID>,
        request_id: &str,
    ) -> Result<Self, Error> {
        let message = error.to_string();
        let path = owned(path);
        Ok(match error.kind() {
            Kind::NotFound => Self::NotFound(NotFoundError {
                code: UserErrorCode::NotFound,
                message,
                path,
                id: id.cloned(),
            }),
            Kind::Conflict => Self::Conflict(ConflictError {
                code: UserErrorCode::AlreadyEnded,
                message,
                path,
            }),
            Kind::TooLarge => Self::Validation(ValidationError {
                code: UserErrorCode::LimitExceeded,
                message,
                path,
            }),
            Kind::Malformed | Kind::Invalid => Self::Validation(ValidationError {
                code: invalid_code(error),
                message,
                path,
            }),
            Kind::Unauthenticated
            | Kind::Forbidden
            | Kind::Limited
            | Kind::Unavailable
            | Kind::Internal => {
                return Err(as_error(error, request_id));
            }
        })
    }
}

fn invalid_code(error: &ServiceError) -> UserErrorCode {
    let ServiceError::Sync { code, .. } = error else {
        return UserErrorCode::InvalidValue;
    };
    match *code {
        "http_unreachable" | "unreachable" | "timeout" => UserErrorCode::SyncUnreachable,
        "unauthorized" | "signature_invalid" | "unauthenticated" => UserErrorCode::SyncUnauthorized,
        _ => UserErrorCode::SyncInvalid,
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}
