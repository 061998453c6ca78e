//! Why a command did not do what it was asked to, and the exit code that says so to scripts.

use std::{fmt, process::ExitCode};

use serde_json::Value;

/// How a command ends. The numbers are a promise: scripts act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that the others do not say.
    Failed = 1,
    /// The command line, or a value in it, cannot be used.
    Usage = 2,
    /// There is no such thing, or it is not for this caller to see.
    NotFound = 3,
    /// No credential, a bad one, or one that may not do this.
    Refused = 4,
    /// No answer, or none in time: the same again may work later.
    Unreachable = 5,
    /// The thing is in a state that does not allow this.
    Conflict = 6,
    /// What was waited for has ended, and not well.
    EndedBadly = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The end of `--help` of every command that asks a server.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage or a value that is not acceptable, 3 not found, 4 credential missing or not enough, \
5 no answer in time (try again), 6 not possible in the present state, 7 the run that was waited for failed or was cancelled.
Data goes to standard output, words to standard error.";

/// An error with its exit code. The message says what to do where that is known, and holds no credential.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// A value of the command line that cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Nothing has this id or name.
    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        Self::new(Exit::NotFound, format!("there is no {what} `{name}` here"))
    }

    /// The first of the errors of a response, with advice where its code has some.
    pub(crate) fn of_response(errors: &Value) -> Self {
        let first = &errors[0];
        let code = first["extensions"]["code"].as_str().unwrap_or_default();
        let message = first["message"].as_str().unwrap_or("it said no reason");
        // What a subscription is for has no other way to be missing.
        let reason = first["extensions"]["reason"].as_str().unwrap_or_default();
        if reason.ends_with("not_found") {
            return Self::new(Exit::NotFound, message);
        }
        let (exit, advice) = match code {
            "UNAUTHENTICATED" => (
                Exit::Refused,
                "; give a token with --token, INNGEST_TOKEN or INNGEST_TOKEN_FILE",
            ),
            "FORBIDDEN" => (Exit::Refused, ""),
            "UNAVAILABLE" | "TIMEOUT" | "RATE_LIMITED" => (Exit::Unreachable, "; try again later"),
            "BAD_USER_INPUT" | "INVALID_CURSOR" | "INVALID_EXPRESSION" => (Exit::Usage, ""),
            "GRAPHQL_VALIDATION_FAILED" | "GRAPHQL_PARSE_FAILED" => (
                Exit::Failed,
                "; server and command line are of versions that do not fit together",
            ),
            "DOCUMENT_NOT_ALLOWED" => (
                Exit::Failed,
                "; use the command line of the server's own version, or add its documents to the server's manifest",
            ),
            _ => (Exit::Failed, ""),
        };
        Self::new(exit, format!("the server refuses: {message}{advice}"))
    }

    /// The first of the expected failures in the payload of a mutation.
    pub(crate) fn of_payload(errors: &Value) -> Self {
        let first = &errors[0];
        let exit = match first["code"].as_str().unwrap_or_default() {
            "NOT_FOUND" => Exit::NotFound,
            "INVALID_VALUE" | "LIMIT_EXCEEDED" => Exit::Usage,
            "ALREADY_ENDED" => Exit::Conflict,
            code if code.starts_with("SYNC_") => Exit::Failed,
            // Codes are added over time; most say that the present state stands against it.
            _ => Exit::Conflict,
        };
        let message = first["message"].as_str().unwrap_or("it said no reason");
        Self::new(exit, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn code_of_an_error_becomes_the_exit_code() {
        for (code, exit) in [
            ("UNAUTHENTICATED", Exit::Refused),
            ("FORBIDDEN", Exit::Refused),
            ("RATE_LIMITED", Exit::Unreachable),
            ("BAD_USER_INPUT", Exit::Usage),
            ("SOMETHING_NEW", Exit::Failed),
        ] {
            let errors = json!([{"message": "no", "extensions": {"code": code}}]);
            assert_eq!(Failure::of_response(&errors).exit, exit, "{code}");
        }
        for (code, exit) in [
            ("NOT_FOUND", Exit::NotFound),
            ("ALREADY_ENDED", Exit::Conflict),
            ("INVALID_VALUE", Exit::Usage),
            ("SYNC_UNREACHABLE", Exit::Failed),
        ] {
            let errors = json!([{"message": "no", "code": code}]);
            assert_eq!(Failure::of_payload(&errors).exit, exit, "{code}");
        }
    }
}
