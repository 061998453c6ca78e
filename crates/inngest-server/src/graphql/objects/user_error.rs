//! Failures of mutations that a correct client can run into.

use async_graphql::{Enum, Error, ID, Interface, SimpleObject};

use inngest_services::{Error as ServiceError, Kind};

use inngest_core::json::Json;

use crate::graphql::{
    error::as_error,
    objects::node::Node,
    scalars::{JsonScalar, Long},
};

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
    LimitExceeded(LimitExceededError),
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
    /// Extra machine-readable facts: the reason, as the word that REST's `code` is.
    details: Option<JsonScalar>,
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
    /// The object in its present state, where it has one that a client did not know of.
    current: Option<Box<Node>>,
}

/// A configured limit would be exceeded.
#[derive(SimpleObject)]
pub(crate) struct LimitExceededError {
    /// Always LIMIT_EXCEEDED.
    code: UserErrorCode,
    /// Sentence for a human.
    message: String,
    /// Path of the offending input field.
    path: Vec<String>,
    /// The limit in force.
    limit: Long,
    /// The value that would have resulted.
    actual: Long,
}

/// Codes of expected mutation failures; clients must tolerate unknown values.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UserErrorCode {
    /// Value outside the allowed range or form.
    InvalidValue,
    /// CEL text that does not parse or asks for what there is not.
    InvalidExpression,
    /// Object does not exist for this caller.
    NotFound,
    /// Run has already ended.
    AlreadyEnded,
    /// Run state needed for a rerun is gone or the step is unknown.
    NotRerunnable,
    /// The idempotency key was used before with different input.
    IdempotencyMismatch,
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
            details: None,
        })
    }

    /// Too many entries in a list of the input.
    pub(crate) fn too_many(what: &str, limit: usize, actual: usize, path: &[&str]) -> Self {
        Self::LimitExceeded(LimitExceededError {
            code: UserErrorCode::LimitExceeded,
            message: format!("{actual} {what} are more than the limit of {limit}"),
            path: owned(path),
            limit: Long(limit as u64),
            actual: Long(actual as u64),
        })
    }

    /// The same with the object that is in the way.
    #[must_use]
    pub(crate) fn with_current(self, node: Node) -> Self {
        match self {
            Self::Conflict(conflict) => Self::Conflict(ConflictError {
                current: Some(Box::new(node)),
                ..conflict
            }),
            other => other,
        }
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
        let path = owned(path_of(error.code()).unwrap_or(path));
        Ok(match error.kind() {
            Kind::NotFound => Self::NotFound(NotFoundError {
                code: UserErrorCode::NotFound,
                message,
                path,
                id: id.cloned(),
            }),
            Kind::Conflict => Self::Conflict(ConflictError {
                code: conflict_code(error),
                message,
                path,
                current: None,
            }),
            Kind::Malformed | Kind::Invalid | Kind::TooLarge => match *error {
                ServiceError::OverLimit { limit, actual, .. } => {
                    Self::LimitExceeded(LimitExceededError {
                        code: UserErrorCode::LimitExceeded,
                        message,
                        path,
                        limit: Long(limit),
                        actual: Long(actual),
                    })
                }
                _ => Self::Validation(ValidationError {
                    code: invalid_code(error),
                    message,
                    path,
                    details: Some(JsonScalar(Json::object([(
                        "reason",
                        &Json::string(error.code()),
                    )]))),
                }),
            },
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

/// The field that is to blame for an error of this code, in whichever mutation.
fn path_of(code: &str) -> Option<&'static [&'static str]> {
    match code {
        "idempotency_key_invalid" | "idempotency_key_reused" => Some(&["input", "idempotencyKey"]),
        "step_input_invalid" | "step_input_too_large" => Some(&["input", "from", "step", "input"]),
        "functions_needed" => Some(&["input", "filter", "functionIds"]),
        "status_not_possible" | "statuses_needed" => Some(&["input", "filter", "statuses"]),
        "invalid_expression" => Some(&["input", "filter", "search"]),
        "bulk_window_invalid" => Some(&["input", "filter", "queued"]),
        "replay_rate_invalid" => Some(&["input", "ratePerSecond"]),
        "bulk_name_too_long" => Some(&["input", "name"]),
        "pause_reason_too_long" => Some(&["input", "reason"]),
        "pause_end_past" => Some(&["input", "resumesAt"]),
        "event_data_invalid" | "event_too_large" => Some(&["input", "from", "event", "data"]),
        _ => None,
    }
}

fn conflict_code(error: &ServiceError) -> UserErrorCode {
    match error.code() {
        "idempotency_key_reused" => UserErrorCode::IdempotencyMismatch,
        "run_not_rerunnable" => UserErrorCode::NotRerunnable,
        _ => UserErrorCode::AlreadyEnded,
    }
}

fn invalid_code(error: &ServiceError) -> UserErrorCode {
    let code = match error {
        ServiceError::Sync { code, .. } => *code,
        ServiceError::Expression(_) => return UserErrorCode::InvalidExpression,
        _ => return UserErrorCode::InvalidValue,
    };
    match code {
        "http_unreachable" | "unreachable" | "timeout" => UserErrorCode::SyncUnreachable,
        "unauthorized" | "signature_invalid" | "unauthenticated" => UserErrorCode::SyncUnauthorized,
        _ => UserErrorCode::SyncInvalid,
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}
