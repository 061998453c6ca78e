//! What an app answers to a call (sdk-protocol section 4). Reading never fails: what cannot be understood is a [`Reply::Failed`].

use crate::{
    json::Json,
    limits,
    op::{Op, StepError},
    run::reply::{Failure, FailureClass, Reply, RetryHint},
    wire::{
        headers, memo,
        ops::{InvalidOp, parse_op},
    },
};

/// Stable words for failures of calls.
pub mod code {
    /// The app could not be reached.
    pub const UNREACHABLE: &str = "http_unreachable";
    /// The app, or something in front of it, answered with an error status.
    pub const NOT_OK: &str = "http_not_ok";
    /// What answered is not an SDK.
    pub const NOT_SDK: &str = "not_sdk";
    /// The app did not take our signature.
    pub const BAD_SIGNATURE: &str = "sig_verification_failed";
    /// The reply, or the output of a step, is over a limit.
    pub const OUTPUT_TOO_LARGE: &str = "output_too_large";
    /// The call lasted too long.
    pub const TOO_SLOW: &str = "request_duration_too_long";
    /// The reply is from an SDK, but cannot be understood.
    pub const BAD_REPLY: &str = "invalid_reply";
    /// More ops than one reply may hold.
    pub const TOO_MANY_OPS: &str = "function_overflowed";
    /// The address policy forbids the call, or the URL is unusable.
    pub const REFUSED_URL: &str = "url_not_allowed";
}

/// A reply as it came over the network, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct RawReply<'a> {
    /// HTTP status.
    pub status: u16,
    /// What the headers said.
    pub headers: &'a ReplyHeaders,
    /// At most [`limits::REPLY_BYTES`]; longer ones are a failure.
    pub body: &'a [u8],
}

/// The headers of a reply that mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHeaders {
    /// Name and version of the SDK.
    pub sdk: Option<String>,
    /// An SDK answered, though it may hide its name.
    pub is_handled: bool,
    /// The dialect of the app.
    pub version: Option<i32>,
    /// Whether another attempt is forbidden, where the app says so.
    pub no_retry: Option<bool>,
    /// When to try again, as sent.
    pub retry_after: Option<String>,
    /// The type of the body.
    pub content_type: Option<String>,
}

impl ReplyHeaders {
    /// Takes note of one header; names in any case.
    pub fn set(&mut self, name: &str, value: &str) {
        let value = value.trim();
        let text = (!value.is_empty()).then(|| value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            headers::SDK => self.sdk = text,
            headers::SDK_HANDLED => self.is_handled = text.is_some(),
            headers::REQUEST_VERSION => self.version = value.parse().ok(),
            headers::NO_RETRY => self.no_retry = text.map(|text| text.eq_ignore_ascii_case("true")),
            headers::RETRY_AFTER => self.retry_after = text,
            "content-type" => self.content_type = text,
            _ => {}
        }
    }

    /// Whether an SDK answered.
    pub fn is_sdk(&self) -> bool {
        self.sdk.is_some() || self.is_handled
    }

    fn hint(&self) -> RetryHint {
        RetryHint {
            no_retry: self.no_retry == Some(true),
            after: self.retry_after.clone(),
        }
    }
}

/// Reads a reply.
pub fn parse_reply(raw: RawReply<'_>) -> Reply {
    if raw.body.len() > limits::REPLY_BYTES {
        return Reply::Failed(too_large());
    }
    match raw.status {
        201 => parse_stream(raw),
        status => decide(status, raw.headers, &Body::Bytes(raw.body)),
    }
}

/// The failure of a reply over [`limits::REPLY_BYTES`].
pub fn too_large() -> Failure {
    let message = "Your function's response body exceeds the maximum size limit";
    output_too_large(message, RetryHint::default())
}

fn output_too_large(reason: &str, retry: RetryHint) -> Failure {
    let mut failed = failure(FailureClass::Limit, code::OUTPUT_TOO_LARGE, reason, retry);
    failed.error.name = code::OUTPUT_TOO_LARGE.to_owned();
    failed
}

/// A failure whose reason is all that is known about it.
pub fn failure(class: FailureClass, code: &'static str, reason: &str, retry: RetryHint) -> Failure {
    Failure {
        class,
        code,
        reason: reason.to_owned(),
        error: StepError::new("Error", reason),
        retry,
    }
}

/// What is left of a body once an envelope is off.
enum Body<'a> {
    Bytes(&'a [u8]),
    Json(Json),
}

impl Body<'_> {
    fn json(&self) -> Result<Json, String> {
        match self {
            Self::Bytes(bytes) => Json::parse(bytes).map_err(|error| error.to_string()),
            Self::Json(json) => Ok(json.clone()),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.trim_ascii().is_empty(),
            Self::Json(_) => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Json(json) => json.as_str().to_owned(),
        }
    }
}

fn decide(status: u16, headers: &ReplyHeaders, body: &Body<'_>) -> Reply {
    match status {
        206 => parse_ops(headers, body),
        200..=299 => parse_result(headers, body),
        _ => Reply::Failed(parse_failure(status, headers, body)),
    }
}

/// A reply whose status was sent before its outcome was known: white space as a sign of life, then an envelope.
fn parse_stream(raw: RawReply<'_>) -> Reply {
    let bad = |reason: &str| {
        if raw.headers.is_sdk() {
            let reason = format!("error parsing stream: {reason}");
            Reply::Failed(failure(
                FailureClass::App,
                code::BAD_REPLY,
                &reason,
                raw.headers.hint(),
            ))
        } else {
            Reply::Failed(not_sdk(&Body::Bytes(raw.body)))
        }
    };
    let envelope = match Json::parse(raw.body) {
        Ok(envelope) if envelope.is_object() => envelope,
        Ok(_) => return bad("not an object"),
        Err(error) => return bad(&error.to_string()),
    };
    let mut headers = raw.headers.clone();
    if let Some(inner) = envelope.member("headers") {
        for (name, value) in inner.members() {
            if let Some(value) = value.to_text() {
                headers.set(&name, &value);
            }
        }
    }
    if envelope
        .member("noRetry")
        .is_some_and(|value| value.as_bytes() == b"true")
    {
        headers.no_retry = Some(true);
    }
    if let Some(at) = envelope
        .member("retryAt")
        .and_then(|value| value.to_text())
        .filter(|text| !text.is_empty())
    {
        headers.retry_after.get_or_insert(at);
    }
    if let Some(error) = envelope.member("error").filter(|error| !error.is_null()) {
        let mut failed = failure(
            FailureClass::App,
            code::BAD_REPLY,
            "the app could not stream its reply",
            headers.hint(),
        );
        failed.error = memo::parse_error(&error);
        return Reply::Failed(failed);
    }
    let Some(status) = envelope
        .member("status")
        .and_then(|status| status.as_str().parse().ok())
    else {
        return bad("no status");
    };
    let body = envelope.member("body").unwrap_or_default();
    match body.to_text() {
        Some(text) => decide(status, &headers, &Body::Bytes(text.as_bytes())),
        None => decide(status, &headers, &Body::Json(body)),
    }
}

fn parse_ops(headers: &ReplyHeaders, body: &Body<'_>) -> Reply {
    let bad = |reason: &str| {
        Reply::Failed(failure(
            FailureClass::App,
            code::BAD_REPLY,
            reason,
            headers.hint(),
        ))
    };
    if body.is_empty() {
        return bad("no response data");
    }
    let json = match body.json() {
        Ok(json) => json,
        Err(error) => return bad(&format!("error reading generator opcode response: {error}")),
    };
    // Apps behind durable endpoints send one op without a list around it.
    let read = if json.is_array() {
        read_ops(json.items())
    } else {
        read_ops(std::iter::once(json))
    };
    match read {
        Ok(ops) => Reply::Ops {
            ops,
            version: headers.version,
            retry: headers.hint(),
        },
        Err(BadOps::TooMany) => {
            let reason = format!("the reply holds more than {} ops", limits::OPS_PER_REPLY);
            let mut failed = failure(
                FailureClass::Limit,
                code::TOO_MANY_OPS,
                &reason,
                RetryHint {
                    no_retry: true,
                    after: None,
                },
            );
            failed.error.name = "InngestErrFunctionOverflowed".to_owned();
            Reply::Failed(failed)
        }
        Err(BadOps::Op(error @ InvalidOp::TooLarge { .. })) => {
            Reply::Failed(output_too_large(&error.to_string(), headers.hint()))
        }
        Err(BadOps::Op(error)) => bad(&error.to_string()),
    }
}

enum BadOps {
    TooMany,
    Op(InvalidOp),
}

fn read_ops(items: impl Iterator<Item = Json>) -> Result<Vec<Op>, BadOps> {
    let mut ops = Vec::new();
    for item in items {
        if ops.len() == limits::OPS_PER_REPLY {
            return Err(BadOps::TooMany);
        }
        ops.push(parse_op(&item).map_err(BadOps::Op)?);
    }
    Ok(ops)
}

fn parse_result(headers: &ReplyHeaders, body: &Body<'_>) -> Reply {
    if !headers.is_sdk() {
        return Reply::Failed(not_sdk(body));
    }
    if body.is_empty() {
        return Reply::Returned {
            output: Json::null(),
        };
    }
    let output = body.json().unwrap_or_else(|_| Json::string(&body.text()));
    // An app that put its own result into text is understood all the same.
    let unwrapped = output
        .to_text()
        .and_then(|text| Json::parse(text.as_bytes()).ok())
        .filter(Json::is_object);
    Reply::Returned {
        output: unwrapped.unwrap_or(output),
    }
}

/// The error carries what came instead, so that people see who answered.
fn not_sdk(body: &Body<'_>) -> Failure {
    let reason = "The response did not come from an Inngest SDK";
    let mut failed = failure(
        FailureClass::App,
        code::NOT_SDK,
        reason,
        RetryHint::default(),
    );
    failed.error.name = code::NOT_SDK.to_owned();
    failed.error.data = Some(Json::string(&excerpt(&body.text())));
    failed
}

fn parse_failure(status: u16, headers: &ReplyHeaders, body: &Body<'_>) -> Failure {
    let mut retry = headers.hint();
    if !headers.is_sdk() {
        return Failure {
            class: if (502..=504).contains(&status) {
                FailureClass::Network
            } else {
                FailureClass::App
            },
            code: code::NOT_OK,
            reason: format!("invalid status code: {status}"),
            error: foreign_error(status, headers, body),
            retry,
        };
    }
    let is_client_error = (400..500).contains(&status);
    if headers.no_retry.is_none()
        && is_client_error
        && headers
            .sdk
            .as_deref()
            .is_some_and(never_retries_client_errors)
    {
        retry.no_retry = true;
    }
    let is_refused_signature = status == 401;
    Failure {
        class: if is_refused_signature {
            FailureClass::Auth
        } else {
            FailureClass::App
        },
        code: if is_refused_signature {
            code::BAD_SIGNATURE
        } else {
            code::NOT_OK
        },
        reason: if retry.no_retry {
            "NonRetriableError".to_owned()
        } else {
            format!("invalid status code: {status}")
        },
        error: error_in(body),
        retry,
    }
}

/// The error object of a body: in `error`, in `body`, or the body itself.
fn error_in(body: &Body<'_>) -> StepError {
    let Ok(json) = body.json() else {
        let mut error = memo::parse_error(&Json::null());
        error.stack = Some(excerpt(&body.text())).filter(|text| !text.is_empty());
        return error;
    };
    // A whole error may stand in text.
    let json = json
        .to_text()
        .and_then(|text| Json::parse(text.as_bytes()).ok())
        .filter(Json::is_object)
        .unwrap_or(json);
    let inner = ["error", "body"].into_iter().find_map(|key| {
        let value = json.member(key)?;
        let text = value.to_text();
        let parsed = text
            .as_deref()
            .and_then(|text| Json::parse(text.as_bytes()).ok())
            .filter(Json::is_object);
        match parsed {
            Some(parsed) => Some(parsed),
            None if text.is_some_and(|text| !text.is_empty())
                && json.member("message").is_none() =>
            {
                Some(value)
            }
            None => Some(value).filter(Json::is_object),
        }
    });
    let mut error = memo::parse_error(&inner.unwrap_or(json));
    // Whether to retry is said by the headers of such a reply alone.
    error.no_retry = false;
    error.retry_after = None;
    error
}

fn foreign_error(status: u16, headers: &ReplyHeaders, body: &Body<'_>) -> StepError {
    let message = format!("Your server returned HTTP {status} before the SDK responded.");
    let content_type = headers.content_type.as_deref().unwrap_or("none");
    let mut error = StepError::new("Server returned a fatal error", message);
    error.stack = Some(format!(
        "The reply lacks the header `{}`, so something in front of the app answered, or the app itself before its SDK did.\n\nContent type: {}\n\n{}",
        headers::SDK,
        excerpt(content_type),
        excerpt(&body.text()),
    ));
    error
}

fn excerpt(text: &str) -> String {
    let mut end = text.len().min(limits::ERROR_BODY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Early JS SDKs did not say that their client errors are final.
fn never_retries_client_errors(sdk: &str) -> bool {
    let Some(version) = sdk.strip_prefix("inngest-js:v") else {
        return false;
    };
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
        parts.next().unwrap_or(0),
    );
    matches!(version.0, 1) && version < (1, 10, 1) || matches!(version.0, 2) && version < (2, 4, 1)
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
