//! What an app answers when it is asked to register (sdk-protocol 1.7 and 1.8).

use super::{InvalidRegistration, Registration, parse_in_band};
use crate::{json::Json, limits, wire::reply::ReplyHeaders};

/// The answer of an app.
#[derive(Clone, Debug, PartialEq)]
pub enum SyncReply {
    /// It has registered by itself before it answered.
    Registered,
    /// It sent its functions with the answer.
    InBand(Box<Registration>),
    /// It sent functions that are not valid.
    Invalid(InvalidRegistration),
    /// It did not register.
    Failed {
        /// Stable word, for example `unauthorized` or `url_not_found`.
        code: String,
        /// What it said, for people.
        message: String,
    },
}

/// Error names that an app can give by itself.
const OWN_CODES: [&str; 7] = [
    "invalid_signing_key",
    "missing_signing_key",
    "no_functions",
    "invalid_function",
    "missing_branch_env_name",
    "server_kind_mismatch",
    "app_config_invalid",
];

/// Reads the answer to a PUT. `sync_kind` is the value of its header [`crate::wire::headers::SYNC_KIND`].
pub fn parse_sync_reply(
    status: u16,
    headers: &ReplyHeaders,
    sync_kind: Option<&str>,
    body: &[u8],
) -> SyncReply {
    let json = Json::parse(body).unwrap_or_default();
    let text = |key: &str| {
        json.member(key)
            .and_then(|value| value.to_text())
            .filter(|text| !text.is_empty())
    };
    if (200..300).contains(&status) {
        if !headers.is_sdk() {
            return failed("not_sdk", "The response did not come from an Inngest SDK");
        }
        if sync_kind == Some("in_band") {
            return match parse_in_band(body) {
                Ok(registration) => SyncReply::InBand(Box::new(registration)),
                Err(error) => SyncReply::Invalid(error),
            };
        }
        // The Python SDK answers 200 in some cases where its own registration failed.
        return match text("error") {
            Some(error) => failed("register_failed", &error),
            None => SyncReply::Registered,
        };
    }
    let message = text("error").or_else(|| text("message"));
    let own = text("code").filter(|code| OWN_CODES.contains(&code.as_str()));
    let code = match own.as_deref() {
        Some(code) => code,
        None => match status {
            401 => "unauthorized",
            403 => "forbidden",
            404 => "url_not_found",
            500 => "internal_server_error",
            _ if headers.is_sdk() => "register_failed",
            _ => "http_not_ok",
        },
    };
    failed(
        code,
        &message.unwrap_or_else(|| format!("the app answered with status {status}")),
    )
}

fn failed(code: &str, message: &str) -> SyncReply {
    SyncReply::Failed {
        code: code.to_owned(),
        message: message.chars().take(limits::ERROR_BODY_BYTES).collect(),
    }
}
