//! The texts of the older GraphQL API at `/v0/gql`, which test suites of SDKs compare as they are.
//!
//! Its way to show a run's failure differs from ours in one thing: an error that the server made itself is wrapped once more, and a
//! reply that came from no SDK is shown as it came.

pub mod trace;

use crate::{
    event::Event,
    json::Json,
    op::StepError,
    run::{Run, RunStatus},
    wire::{memo::parse_error, reply::code},
};

/// Names of errors that the server makes in place of user code. Errors of that name are wrapped.
const OUR_ERRORS: &[&str] = &[
    code::OUTPUT_TOO_LARGE,
    STEPS_OVERFLOWED,
    "InngestErrStateOverflowed",
    "InngestErrTimeoutTooLong",
    "InvalidExpression",
];
const STEPS_OVERFLOWED: &str = "InngestErrFunctionOverflowed";

/// An event as compact JSON with the members `data`, `id`, `name`, `ts` and `v`, in this order.
pub fn event_text(event: &Event) -> String {
    let data = event.body.member("data").filter(|data| !data.is_null());
    let version = event.body.member("v").unwrap_or_default();
    format!(
        r#"{{"data":{},"id":{},"name":{},"ts":{},"v":{}}}"#,
        data.unwrap_or_else(Json::empty_object).as_str(),
        Json::string(&event.key).as_str(),
        Json::string(&event.name).as_str(),
        event.ts.as_millis(),
        version.as_str(),
    )
}

/// The `data` of an event as JSON text.
pub fn event_data(event: &Event) -> String {
    let data = event.body.member("data").filter(|data| !data.is_null());
    data.unwrap_or_else(Json::empty_object).as_str().to_owned()
}

/// The id that the sender gave an event; empty text when it gave none.
pub fn event_key(event: &Event) -> &str {
    if event.has_own_key() { &event.key } else { "" }
}

/// What a run ended with, as JSON text: its return value, or an error object. None before its end and for runs that were cancelled or
/// skipped, which have neither.
pub fn run_output(run: &Run) -> Option<String> {
    let output = &run.ended.as_ref()?.output;
    match run.status {
        RunStatus::Completed => Some(output.as_str().to_owned()),
        RunStatus::Failed => Some(failed_output(output)),
        RunStatus::Queued | RunStatus::Running | RunStatus::Cancelled | RunStatus::Skipped => None,
    }
}

fn failed_output(output: &Json) -> String {
    let StepError {
        name,
        message,
        data,
        ..
    } = parse_error(output);
    let body = data
        .filter(|_| name == code::NOT_SDK)
        .and_then(|data| data.to_text());
    if let Some(body) = body {
        return body;
    }
    if !OUR_ERRORS.contains(&name.as_str()) {
        return output.as_str().to_owned();
    }
    let error = if name == STEPS_OVERFLOWED {
        "function has too many steps".to_owned()
    } else {
        format!("{name}: {message}")
    };
    let text = |text: &str| Json::string(text).as_str().to_owned();
    format!(
        r#"{{"error":{{"error":{},"name":{},"message":{}}}}}"#,
        text(&error),
        text(&name),
        text(&message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{AppId, DEFAULT_ENV, EventId, FunctionId, RunId},
        run::Ended,
        time::Timestamp,
    };

    fn event(key: Option<&str>, body: &str) -> Event {
        let id = EventId::from_raw(ulid::Ulid(1));
        Event {
            id,
            key: key.map_or_else(|| id.to_string(), str::to_owned),
            name: "a/b".into(),
            ts: Timestamp::from_millis(1_700_000_000_001),
            received_at: Timestamp::default(),
            body: Json::parse(body.as_bytes()).unwrap(),
            door: None,
        }
    }

    #[test]
    fn event_is_told_in_a_fixed_order() {
        let full = event(
            Some("mine"),
            r#"{"data":{"b":1,"a":"é\n"},"id":"mine","name":"a/b","ts":5,"user":{"x":1},"v":"2"}"#,
        );
        assert_eq!(
            event_text(&full),
            r#"{"data":{"a":"é\n","b":1},"id":"mine","name":"a/b","ts":1700000000001,"v":"2"}"#
        );
        assert_eq!(event_data(&full), r#"{"a":"é\n","b":1}"#);
        assert_eq!(event_key(&full), "mine");
        let bare = event(None, r#"{"data":null}"#);
        assert_eq!(
            event_text(&bare),
            r#"{"data":{},"id":"00000000000000000000000001","name":"a/b","ts":1700000000001,"v":null}"#
        );
        assert_eq!(event_key(&bare), "");
    }

    #[test]
    fn output_is_bare_and_errors_of_ours_are_wrapped() {
        let app = AppId::derive(DEFAULT_ENV, "a");
        let mut run = Run {
            id: RunId::from_raw(ulid::Ulid(1)),
            app,
            function: FunctionId::derive(app, "f"),
            function_version: 1,
            status: RunStatus::Running,
            skip_reason: None,
            events: vec![EventId::from_raw(ulid::Ulid(1))],
            event_name: "a/b".into(),
            cron: None,
            original: None,
            rerun: None,
            replay: None,
            started_by: None,
            idempotency_key: None,
            correlation: None,
            queued_at: Timestamp::default(),
            started_at: None,
            ended: None,
            revision: 1,
        };
        assert_eq!(run_output(&run), None);
        for (status, output, expected) in [
            (RunStatus::Completed, r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            (RunStatus::Completed, "null", Some("null")),
            (RunStatus::Cancelled, r#"{"reason":"x"}"#, None),
            (
                RunStatus::Failed,
                r#"{"error":"invalid status code: 500","message":"boom","name":"TypeError"}"#,
                Some(r#"{"error":"invalid status code: 500","message":"boom","name":"TypeError"}"#),
            ),
            (
                RunStatus::Failed,
                r#"{"message":"Your function's response body exceeds the maximum size limit","name":"output_too_large"}"#,
                Some(
                    r#"{"error":{"error":"output_too_large: Your function's response body exceeds the maximum size limit","name":"output_too_large","message":"Your function's response body exceeds the maximum size limit"}}"#,
                ),
            ),
            (
                RunStatus::Failed,
                r#"{"message":"The function run exceeded the step limit of 1 steps.","name":"InngestErrFunctionOverflowed","noRetry":true}"#,
                Some(
                    r#"{"error":{"error":"function has too many steps","name":"InngestErrFunctionOverflowed","message":"The function run exceeded the step limit of 1 steps."}}"#,
                ),
            ),
            (
                RunStatus::Failed,
                r#"{"data":"<html>","message":"The response did not come from an Inngest SDK","name":"not_sdk"}"#,
                Some("<html>"),
            ),
        ] {
            run.status = status;
            run.ended = Some(Ended {
                at: Timestamp::default(),
                output: Json::parse(output.as_bytes()).unwrap(),
                cancelled_by: None,
            });
            assert_eq!(run_output(&run).as_deref(), expected, "{output}");
        }
    }
}
