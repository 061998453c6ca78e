use proptest::prelude::*;

use super::*;
use crate::op::{FetchRequest, OpKind};

fn sdk() -> ReplyHeaders {
    let mut headers = ReplyHeaders::default();
    for (name, value) in [
        ("X-Inngest-SDK", "inngest-js:v4.24.0"),
        ("x-inngest-req-version", "2"),
        ("Content-Type", "application/json"),
    ] {
        headers.set(name, value);
    }
    headers
}

fn with(name: &str, value: &str) -> ReplyHeaders {
    let mut headers = sdk();
    headers.set(name, value);
    headers
}

fn read(status: u16, headers: &ReplyHeaders, body: &str) -> Reply {
    parse_reply(RawReply {
        status,
        headers,
        body: body.as_bytes(),
    })
}

fn ops(body: &str) -> Vec<Op> {
    match read(206, &sdk(), body) {
        Reply::Ops { ops, .. } => ops,
        other => panic!("{body}: {other:?}"),
    }
}

fn failed(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn check_op(op: &str, expected: OpKind) {
    let got = ops(&format!("[{op}]")).remove(0).kind;
    assert_eq!(got, expected, "{op}");
}

#[test]
fn texts_of_ops_that_no_database_could_take_are_made_fit_or_refused() {
    let named = |name: &str| format!(r#"[{{"op":"StepRun","id":"a","displayName":"{name}"}}]"#);
    assert_eq!(ops(&named(r"x\u0000y"))[0].name, "x\u{fffd}y");
    let name = ops(&named(&"é".repeat(limits::STEP_NAME_BYTES)))
        .remove(0)
        .name;
    assert_eq!(name.len(), limits::STEP_NAME_BYTES);
    for (op, member, limit) in [
        ("WaitForEvent", "event", limits::EVENT_NAME_BYTES),
        ("WaitForSignal", "signal", limits::SIGNAL_BYTES),
    ] {
        let op = |length| {
            let text = "x".repeat(length);
            format!(r#"[{{"op":"{op}","id":"a","opts":{{"{member}":"{text}","timeout":"1h"}}}}]"#)
        };
        assert_eq!(ops(&op(limit)).len(), 1);
        let refused = failed(read(206, &sdk(), &op(limit + 1)));
        assert!(refused.reason.contains("more than"), "{}", refused.reason);
    }
}

#[test]
fn every_op_is_read() {
    check_op(r#"{"op":"None"}"#, OpKind::None);
    check_op(
        r#"{"op":"step","id":"a","data":{"x":1}}"#,
        OpKind::StepVerbatim {
            data: json(r#"{"x":1}"#),
        },
    );
    check_op(
        r#"{"op":"StepRun","id":"a","data":{"x":1},"opts":null,"error":null}"#,
        OpKind::StepRun {
            data: json(r#"{"x":1}"#),
        },
    );
    check_op(
        r#"{"op":"STEPRUN","id":"a"}"#,
        OpKind::StepRun { data: Json::null() },
    );
    check_op(
        r#"{"op":"StepError","id":"a","error":{"name":"E","message":"m"}}"#,
        OpKind::StepError {
            error: StepError::new("E", "m"),
        },
    );
    check_op(
        r#"{"op":"StepFailed","id":"a","error":null}"#,
        OpKind::StepFailed {
            error: StepError::new("Error", "Function execution error"),
        },
    );
    check_op(r#"{"op":"StepPlanned","id":"a"}"#, OpKind::StepPlanned);
    check_op(
        r#"{"op":"Sleep","id":"a","name":"2h"}"#,
        OpKind::Sleep { text: "2h".into() },
    );
    check_op(
        r#"{"op":"Sleep","id":"a","name":"nap","opts":{"duration":"1h30m"}}"#,
        OpKind::Sleep {
            text: "1h30m".into(),
        },
    );
    check_op(
        r#"{"op":"Sleep","id":"a","name":""}"#,
        OpKind::Sleep {
            text: String::new(),
        },
    );
    check_op(
        r#"{"op":"WaitForEvent","id":"a","name":"x","opts":{"event":"shop/e","timeout":"1h","if":"true"}}"#,
        OpKind::WaitForEvent {
            event: "shop/e".into(),
            expression: Some("true".into()),
            timeout: "1h".into(),
        },
    );
    check_op(
        r#"{"op":"WaitForEvent","id":"a","name":"shop/e","opts":{"timeout":null,"if":null}}"#,
        OpKind::WaitForEvent {
            event: "shop/e".into(),
            expression: None,
            timeout: String::new(),
        },
    );
    check_op(
        r#"{"op":"InvokeFunction","id":"a","opts":{"function_id":"f","payload":{"data":{}},"timeout":"1h"}}"#,
        OpKind::Invoke {
            function: "f".into(),
            payload: json(r#"{"data":{}}"#),
            timeout: Some("1h".into()),
        },
    );
    check_op(
        r#"{"op":"InvokeFunction","id":"a","opts":{"function_id":"f","payload":null}}"#,
        OpKind::Invoke {
            function: "f".into(),
            payload: Json::null(),
            timeout: None,
        },
    );
    check_op(
        r#"{"op":"WaitForSignal","id":"a","opts":{"signal":"s","conflict":"replace"}}"#,
        OpKind::WaitForSignal {
            signal: "s".into(),
            timeout: None,
            replace: true,
        },
    );
    check_op(
        r#"{"op":"AIGateway","id":"a","opts":{"url":"http://a"}}"#,
        OpKind::Fetch(FetchRequest {
            is_inference: true,
            opts: json(r#"{"url":"http://a"}"#),
        }),
    );
    check_op(
        r#"{"op":"Gateway","id":"a","opts":{"url":"http://a"}}"#,
        OpKind::Fetch(FetchRequest {
            is_inference: false,
            opts: json(r#"{"url":"http://a"}"#),
        }),
    );
    check_op(
        r#"{"op":"RunComplete","data":1}"#,
        OpKind::RunComplete {
            data: Json::integer(1),
        },
    );
    check_op(r#"{"op":"DiscoveryRequest"}"#, OpKind::Discover);
    check_op(
        r#"{"op":"DeferAdd","id":"a","opts":{"fn_slug":"f","input":{"a":1}}}"#,
        OpKind::DeferAdd {
            function: "f".into(),
            input: json(r#"{"a":1}"#),
        },
    );
    let target = crate::ids::StepId::parse("b").unwrap();
    check_op(
        r#"{"op":"DeferAbort","id":"a","opts":{"target_hashed_id":"b"}}"#,
        OpKind::DeferAbort { target },
    );
}

#[test]
fn names_timing_and_race_are_read() {
    let op = ops(r#"{"op":"StepRun","id":"a","name":"n","displayName":"d","opts":{"parallelMode":"race"},"timing":{"a":1785570000000000000,"b":452}}"#).remove(0);
    assert_eq!((op.name.as_str(), op.is_race), ("d", true));
    assert_eq!(op.timing.unwrap().duration_ns, 452);
    assert_eq!(op.timing.unwrap().started_ns, 1_785_570_000_000_000_000);
    for (op, name) in [
        (
            r#"{"op":"None","id":"a","name":"n","displayName":null}"#,
            "n",
        ),
        (r#"{"op":"None","id":"a","displayName":""}"#, "a"),
    ] {
        assert_eq!(ops(op)[0].name, name);
    }
    for timing in [
        "null",
        "{}",
        r#"{"a":0,"b":0}"#,
        r#"{"a":-1}"#,
        r#"{"a":"x"}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1e40}"#,
    ] {
        assert_eq!(
            ops(&format!(r#"{{"op":"None","timing":{timing}}}"#))[0].timing,
            None,
            "{timing}"
        );
    }
}

#[test]
fn bad_ops_fail_the_attempt_and_say_why() {
    for (body, reason) in [
        ("", "no response data"),
        ("  \n", "no response data"),
        (
            "<html>",
            "error reading generator opcode response: invalid JSON at byte 0: expected a value",
        ),
        ("1", "an op is not an object"),
        ("[1]", "an op is not an object"),
        (r#"[{"id":"a"}]"#, "an op has no name in `op`"),
        (
            r#"[{"op":"StepNotFound","id":"a"}]"#,
            "op `StepNotFound` is not known to this server",
        ),
        (
            r#"[{"op":"StepRun"}]"#,
            "op `StepRun` has no usable step id: `` is not a valid step id",
        ),
        (
            r#"[{"op":"InvokeFunction","id":"a","opts":null}]"#,
            "op `InvokeFunction` of step `a` has no `function_id`",
        ),
        (
            r#"[{"op":"WaitForEvent","id":"a"}]"#,
            "op `WaitForEvent` of step `a` has no event name",
        ),
    ] {
        let failure = failed(read(206, &with("retry-after", "30"), body));
        assert_eq!(
            (failure.reason.as_str(), failure.code, failure.class),
            (reason, code::BAD_REPLY, FailureClass::App),
            "{body}"
        );
        assert!(!failure.retry.no_retry);
        assert_eq!(failure.retry.after.as_deref(), Some("30"));
    }
    assert_eq!(ops("[]"), []);
}

#[test]
fn sizes_and_counts_are_limited() {
    let text = "x".repeat(limits::STEP_BYTES);
    let output = failed(read(
        206,
        &sdk(),
        &format!(r#"[{{"op":"StepRun","id":"a","data":"{text}"}}]"#),
    ));
    assert_eq!(
        (output.class, output.code, output.retry.no_retry),
        (FailureClass::Limit, code::OUTPUT_TOO_LARGE, false)
    );
    let input = failed(read(
        206,
        &sdk(),
        &format!(r#"[{{"op":"StepPlanned","id":"a","opts":{{"input":["{text}"]}}}}]"#),
    ));
    assert!(
        input
            .reason
            .starts_with("step input size is greater than the limit: `a` has "),
        "{}",
        input.reason
    );
    let long = " ".repeat(limits::REPLY_BYTES + 1);
    assert_eq!(
        failed(read(200, &sdk(), &long)).code,
        code::OUTPUT_TOO_LARGE
    );
    let many = |count: usize| format!("[{}]", vec![r#"{"op":"None"}"#; count].join(","));
    assert_eq!(
        ops(&many(limits::OPS_PER_REPLY)).len(),
        limits::OPS_PER_REPLY
    );
    let over = failed(read(206, &sdk(), &many(limits::OPS_PER_REPLY + 1)));
    assert_eq!(
        (over.error.name.as_str(), over.retry.no_retry),
        ("InngestErrFunctionOverflowed", true)
    );
}

#[test]
fn headers_say_version_and_retry() {
    let check = |name, value, version, no_retry, after: Option<&str>| {
        let Reply::Ops {
            version: got,
            retry,
            ..
        } = read(206, &with(name, value), "[]")
        else {
            panic!()
        };
        assert_eq!(
            (got, retry.no_retry, retry.after.as_deref()),
            (version, no_retry, after),
            "{name}: {value}"
        );
    };
    check("x-inngest-req-version", "1", Some(1), false, None);
    check("x-inngest-req-version", "x", None, false, None);
    check("X-INNGEST-NO-RETRY", "true", Some(2), true, None);
    check("x-inngest-no-retry", "false", Some(2), false, None);
    check("Retry-After", " 30 ", Some(2), false, Some("30"));
}

#[test]
fn results_are_read_leniently() {
    for (body, expected) in [
        ("", "null"),
        ("null\n", "null"),
        (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        ("plain text", r#""plain text""#),
        (r#""text""#, r#""text""#),
        (r#""{\"a\":1}""#, r#"{"a":1}"#),
        (r#""[1]""#, r#""[1]""#),
    ] {
        for status in [200, 202, 204, 299] {
            let Reply::Returned { output } = read(status, &sdk(), body) else {
                panic!("{body}")
            };
            assert_eq!(output.as_str(), expected, "{body}");
        }
    }
    let failure = failed(read(200, &ReplyHeaders::default(), "{}"));
    assert_eq!(
        (failure.error.name.as_str(), &failure.error.data),
        ("not_sdk", &Some(Json::string("{}")))
    );
    assert_eq!(
        (failure.code, failure.reason.as_str()),
        (
            code::NOT_SDK,
            "The response did not come from an Inngest SDK"
        )
    );
    let mut handled = ReplyHeaders::default();
    handled.set("x-inngest-sdk-handled", "true");
    assert!(matches!(read(200, &handled, "{}"), Reply::Returned { .. }));
}

#[test]
fn streamed_replies_are_unwrapped() {
    let step = r#"[{"op":"StepRun","id":"a","data":1}]"#;
    let quoted = serde_json::to_string(step).unwrap();
    for body in [step, quoted.as_str()] {
        let envelope = format!(
            "  \n {{\"status\":206,\"headers\":{{\"X-Inngest-Req-Version\":\"1\",\"retry-after\":\"5\"}},\"body\":{body}}}"
        );
        let Reply::Ops {
            ops,
            version,
            retry,
        } = read(201, &sdk(), &envelope)
        else {
            panic!("{body}")
        };
        assert_eq!(
            (ops.len(), version, retry.after.as_deref()),
            (1, Some(1), Some("5"))
        );
    }
    assert_eq!(
        read(201, &sdk(), r#"{"status":200,"body":"{\"ok\":true}"}"#),
        Reply::Returned {
            output: json(r#"{"ok":true}"#)
        }
    );
    let failure = failed(read(
        201,
        &sdk(),
        r#"{"status":500,"headers":{"x-inngest-no-retry":"true"},"body":"{\"name\":\"E\",\"message\":\"m\"}"}"#,
    ));
    assert_eq!(
        (failure.error, failure.retry.no_retry),
        (StepError::new("E", "m"), true)
    );
    let go = failed(read(
        201,
        &sdk(),
        r#"{"status":500,"body":{"message":"m"},"noRetry":true,"retryAt":"2026-08-01T11:00:00Z"}"#,
    ));
    assert_eq!(
        go.retry,
        RetryHint {
            no_retry: true,
            after: Some("2026-08-01T11:00:00Z".into())
        }
    );
    for (body, reason) in [
        (
            "",
            "error parsing stream: invalid JSON at byte 0: unexpected end",
        ),
        (
            "   ",
            "error parsing stream: invalid JSON at byte 3: unexpected end",
        ),
        ("[]", "error parsing stream: not an object"),
        ("{}", "error parsing stream: no status"),
        (
            r#"{"error":"broken"}"#,
            "the app could not stream its reply",
        ),
    ] {
        assert_eq!(failed(read(201, &sdk(), body)).reason, reason, "{body}");
    }
    assert_eq!(
        failed(read(201, &ReplyHeaders::default(), "created")).code,
        code::NOT_SDK
    );
    // An envelope in an envelope is not unwrapped again.
    let nested = failed(read(
        201,
        &ReplyHeaders::default(),
        r#"{"status":201,"body":"{}"}"#,
    ));
    assert_eq!(nested.code, code::NOT_SDK);
}

#[test]
fn errors_of_functions_are_found_wherever_they_are() {
    for (body, name, message) in [
        (
            r#"{"name":"TypeError","message":"boom"}"#,
            "TypeError",
            "boom",
        ),
        (r#"{"message":"boom"}"#, "Error", "boom"),
        (r#"{"error":{"name":"E","message":"inner"}}"#, "E", "inner"),
        (r#"{"body":{"name":"E","message":"inner"}}"#, "E", "inner"),
        (
            r#"{"body":"{\"name\":\"E\",\"message\":\"inner\"}"}"#,
            "E",
            "inner",
        ),
        (r#"{"error":"told","requestedStep":"x"}"#, "Error", "told"),
        (r#""{\"name\":\"E\",\"message\":\"inner\"}""#, "E", "inner"),
        (r#""told""#, "Error", "told"),
        ("{}", "Error", "Function execution error"),
        ("<html>", "Error", "Function execution error"),
        ("", "Error", "Function execution error"),
    ] {
        let failure = failed(read(500, &sdk(), body));
        assert_eq!(
            (failure.error.name.as_str(), failure.error.message.as_str()),
            (name, message),
            "{body}"
        );
        assert_eq!(failure.reason, "invalid status code: 500");
    }
    let failure = failed(read(
        400,
        &with("x-inngest-no-retry", "true"),
        r#"{"message":"m","stack":"at","cause":{"a":1},"data":null}"#,
    ));
    assert_eq!(
        (failure.reason.as_str(), failure.retry.no_retry),
        ("NonRetriableError", true)
    );
    assert_eq!(
        (
            failure.error.stack.as_deref(),
            failure.error.cause,
            failure.error.data
        ),
        (Some("at"), Some(json(r#"{"a":1}"#)), Some(Json::null()))
    );
}

#[test]
fn client_errors_are_tried_again_unless_forbidden() {
    for status in [400, 401, 404, 410, 429, 500, 503] {
        assert!(
            !failed(read(status, &sdk(), "{}")).retry.no_retry,
            "{status}"
        );
    }
    assert_eq!(failed(read(401, &sdk(), "{}")).code, code::BAD_SIGNATURE);
    for (version, is_final) in [
        ("1.10.0", true),
        ("1.10.1", false),
        ("1.9.9", true),
        ("2.4.0", true),
        ("2.4.1", false),
        ("3.0.0", false),
        ("x", false),
    ] {
        let headers = with("x-inngest-sdk", &format!("inngest-js:v{version}"));
        assert_eq!(
            failed(read(404, &headers, "{}")).retry.no_retry,
            is_final,
            "{version}"
        );
        assert!(
            !failed(read(500, &headers, "{}")).retry.no_retry,
            "{version}"
        );
    }
}

#[test]
fn foreign_errors_show_what_answered() {
    let mut headers = ReplyHeaders::default();
    headers.set("content-type", "text/html");
    let body = format!(
        "<h1>Bad Gateway</h1>{}",
        "é".repeat(limits::ERROR_BODY_BYTES)
    );
    let failure = failed(read(502, &headers, &body));
    assert_eq!(
        (failure.class, failure.code),
        (FailureClass::Network, code::NOT_OK)
    );
    assert_eq!(
        failure.error.message,
        "Your server returned HTTP 502 before the SDK responded."
    );
    let stack = failure.error.stack.unwrap();
    assert!(stack.contains("text/html") && stack.contains("<h1>Bad Gateway</h1>"));
    assert!(stack.len() < limits::ERROR_BODY_BYTES + 500);
    assert_eq!(failed(read(404, &headers, "")).class, FailureClass::App);
}

proptest! {
    #[test]
    fn any_reply_is_read_without_a_panic(status in any::<u16>(), is_sdk: bool, body in prop::collection::vec(any::<u8>(), 0..256)) {
        let headers = if is_sdk { sdk() } else { ReplyHeaders::default() };
        for status in [status, 200, 201, 206, 500] {
            let _ = parse_reply(RawReply { status, headers: &headers, body: &body });
        }
    }

    #[test]
    fn any_op_is_read_without_a_panic(
        op in "(StepRun|StepError|Sleep|WaitForEvent|InvokeFunction|WaitForSignal|Gateway|RunComplete|DeferAdd|DeferAbort|Step)",
        key in "(opts|data|error|timing|name|displayName|id)",
        value in "[\\[\\]{}\":,a-z0-9.\\-]{0,16}",
    ) {
        for status in [206, 500] {
            let _ = read(status, &sdk(), &format!("[{{\"op\":\"{op}\",\"id\":\"a\",\"{key}\":{value}}}]"));
        }
    }
}
