use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::function::config::{ConcurrencyScope, SingletonMode, Trigger};
use crate::wire::reply::ReplyHeaders;

fn function(changes: Value) -> Value {
    let mut function = json!({
        "id": "shop-f",
        "name": "F",
        "triggers": [{"event": "shop/go"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": "http://localhost:3000/api?fnId=shop-f&stepId=step"}}},
    });
    for (key, value) in changes.as_object().unwrap() {
        function[key] = value.clone();
    }
    function
}

fn body(functions: &[Value]) -> Vec<u8> {
    json!({"url": "http://localhost:3000/api", "appName": "shop", "sdk": "js:v4.24.0", "functions": functions}).to_string().into_bytes()
}

fn read(changes: Value) -> FunctionConfig {
    let mut registration = parse_register(&body(&[function(changes.clone())]))
        .unwrap_or_else(|error| panic!("{changes}: {error:?}"));
    let function = registration.functions.remove(0);
    assert_eq!(
        parse_config(&function.raw).as_ref(),
        Ok(&function.config),
        "{changes}"
    );
    function.config
}

/// Each expected cause is `pointer code`.
fn check_bad(changes: Value, expected: &[&str]) {
    let error =
        parse_register(&body(&[function(changes.clone())])).expect_err(&changes.to_string());
    let got: Vec<String> = error
        .causes
        .iter()
        .map(|cause| format!("{} {}", cause.pointer, cause.code))
        .collect();
    assert_eq!(got, expected, "{changes}: {error:?}");
    assert_eq!(error.code, "config_invalid");
}

#[test]
fn plain_function_gets_defaults() {
    let config = read(
        json!({"retries": null, "cancel": [], "concurrency": [], "Singleton": null, "timeouts": {}, "idempotency": ""}),
    );
    assert_eq!(config.slug, "shop-f");
    assert_eq!(config.retries, 4);
    assert_eq!(
        config.url,
        "http://localhost:3000/api?fnId=shop-f&stepId=step"
    );
    assert_eq!(config.flow, crate::function::config::FlowControl::default());
    assert_eq!(
        config.triggers,
        [Trigger::Event {
            pattern: "shop/go".into(),
            expression: None
        }]
    );
}

#[test]
fn retries_come_from_the_step_or_the_function() {
    let with = |of_step: Value, of_function: Value| {
        let step = json!({"step": {"runtime": {"url": "http://a"}, "retries": of_step}});
        read(json!({"steps": step, "retries": of_function})).retries
    };
    assert_eq!(with(json!({"attempts": 7}), json!(1)), 7);
    assert_eq!(with(json!({"attempts": null}), json!(1)), 1);
    assert_eq!(with(json!(null), json!({"attempts": 0})), 0);
    assert_eq!(with(json!({"attempts": 99}), json!(null)), 20);
    check_bad(json!({"retries": -1}), &["/retries config_invalid"]);
    check_bad(json!({"retries": 1.5}), &["/retries config_invalid"]);
}

#[test]
fn concurrency_has_four_forms() {
    let limits = |value: Value| {
        let flow = read(json!({"concurrency": value})).flow;
        let steps: Vec<_> = flow
            .concurrency
            .iter()
            .map(|limit| (limit.limit, limit.scope))
            .collect();
        (steps, flow.run_concurrency.map(|limit| limit.limit))
    };
    let function = ConcurrencyScope::Function;
    assert_eq!(limits(json!(5)), (vec![(5, function)], None));
    assert_eq!(limits(json!({"limit": 5})), (vec![(5, function)], None));
    assert_eq!(
        limits(
            json!([{"limit": 9, "key": "event.data.a", "scope": "env"}, {"limit": 5, "scope": null}])
        ),
        (
            vec![(5, function), (9, ConcurrencyScope::Environment)],
            None
        )
    );
    assert_eq!(
        limits(
            json!({"fn": [{"limit": 2}], "step": [{"limit": 3, "key": "'a'", "scope": "account"}]})
        ),
        (vec![(3, ConcurrencyScope::Organization)], Some(2))
    );
    assert_eq!(limits(json!({"fn": [{"limit": 2}]})), (vec![], Some(2)));
    assert_eq!(limits(json!({"fn": null, "step": null})), (vec![], None));
    let bad = |value: Value| {
        check_bad(
            json!({"concurrency": value}),
            &["/concurrency concurrency_limit_invalid"],
        )
    };
    bad(json!(-1));
    bad(json!({"limit": 1, "scope": "team"}));
    bad(json!({"limit": 1, "scope": "env"}));
    bad(json!({"limit": 0, "key": "event.data.a"}));
    bad(json!([1, 2, 3]));
    bad(json!(true));
    check_bad(
        json!({"concurrency": {"fn": [{"limit": 0}]}}),
        &["/concurrency/fn concurrency_limit_invalid"],
    );
    check_bad(
        json!({"concurrency": {"limit": "5"}}),
        &["/concurrency/limit concurrency_limit_invalid"],
    );
}

#[test]
fn flow_control_is_bounded() {
    let flow = read(json!({
        "throttle": {"limit": 0, "period": "1m", "key": ""},
        "rateLimit": {"limit": 10, "period": "1d"},
        "debounce": {"period": "7d", "timeout": "2w", "key": "event.data.a"},
        "priority": {"run": "event.data.vip ? 120 : 0"},
        "singleton": {"key": "event.data.a", "mode": "cancel"},
    }))
    .flow;
    assert_eq!(flow.throttle.unwrap().limit, 1);
    assert_eq!(flow.singleton.unwrap().mode, SingletonMode::Cancel);
    let batch =
        read(json!({"batchEvents": {"maxSize": 2, "timeout": "1m", "if": "event.data.ok"}}))
            .flow
            .batch
            .unwrap();
    assert_eq!(
        (
            batch.max_size,
            batch.timeout.as_secs(),
            batch.condition.as_deref()
        ),
        (2, 60, Some("event.data.ok"))
    );
    for (changes, expected) in [
        (
            json!({"throttle": {"limit": 1}}),
            "/throttle config_invalid",
        ),
        (
            json!({"throttle": {"limit": 1, "period": "0s"}}),
            "/throttle/period config_invalid",
        ),
        (
            json!({"rateLimit": {"limit": 0, "period": "1m"}}),
            "/rateLimit config_invalid",
        ),
        (
            json!({"rateLimit": {"limit": 1, "period": "25h"}}),
            "/rateLimit/period config_invalid",
        ),
        (
            json!({"debounce": {"period": "500ms"}}),
            "/debounce/period config_invalid",
        ),
        (
            json!({"debounce": {"period": "8d"}}),
            "/debounce/period config_invalid",
        ),
        (
            json!({"debounce": {"period": "1s", "key": "event.data."}}),
            "/debounce/key config_invalid",
        ),
        (
            json!({"priority": {"run": "nope("}}),
            "/priority/run config_invalid",
        ),
        (
            json!({"singleton": {"mode": "wait"}}),
            "/singleton config_invalid",
        ),
        (
            json!({"batchEvents": {"maxSize": 1, "timeout": "1s"}}),
            "/batchEvents batch_size_invalid",
        ),
        (
            json!({"batchEvents": {"maxSize": 2, "timeout": "1d"}}),
            "/batchEvents/timeout batch_timeout_invalid",
        ),
        (
            json!({"batchEvents": {"maxSize": 2, "timeout": "10ms"}}),
            "/batchEvents/timeout batch_timeout_invalid",
        ),
        (
            json!({"batchEvents": {"key": "("}}),
            "/batchEvents/key batch_key_expression_invalid",
        ),
        (
            json!({"batchEvents": {"if": "("}}),
            "/batchEvents/if batch_if_expression_invalid",
        ),
        (
            json!({"timeouts": {"start": "soon"}}),
            "/timeouts/start config_invalid",
        ),
        (
            json!({"idempotency": "user.id"}),
            "/idempotency config_invalid",
        ),
        (
            json!({"cancel": [{"if": "true"}]}),
            "/cancel/0 config_invalid",
        ),
        (
            json!({"cancel": [{"event": "a", "if": "async.data.a ="}]}),
            "/cancel/0/if config_invalid",
        ),
        (json!({"name": ""}), " config_invalid"),
        (json!({"name": 5}), "/name config_invalid"),
        (json!({"steps": {}}), " config_invalid"),
        (
            json!({"steps": {"a": {"runtime": {"url": "ftp://a"}}}}),
            "/steps/a config_invalid",
        ),
    ] {
        check_bad(changes, &[expected]);
    }
}

#[test]
fn triggers_are_checked() {
    let cron = |text: &str| json!({"triggers": [{"cron": text, "jitter": "30s"}]});
    assert_eq!(
        read(cron("TZ=Europe/Paris 0 9 * * 1-5")).triggers,
        [Trigger::Cron {
            schedule: "TZ=Europe/Paris 0 9 * * 1-5".into(),
            jitter: Some(std::time::Duration::from_secs(30))
        }]
    );
    check_bad(cron("0 9 * *"), &["/triggers/0 schedule_invalid"]);
    check_bad(json!({"triggers": []}), &[" config_invalid"]);
    check_bad(
        json!({"triggers": vec![json!({"event": "a"}); 11]}),
        &[" config_invalid"],
    );
    check_bad(
        json!({"triggers": [{"event": "a"}, {"event": "a"}]}),
        &["/triggers/1 config_invalid"],
    );
    check_bad(
        json!({"triggers": [{"cron": "* * * * *"}, {"cron": "* * * * *", "jitter": "1m"}]}),
        &["/triggers/1 config_invalid"],
    );
    check_bad(
        json!({"triggers": [{"event": "a", "cron": "* * * * *"}]}),
        &["/triggers/0 config_invalid"],
    );
    check_bad(
        json!({"triggers": [{"event": "a", "expression": "nope.x"}]}),
        &["/triggers/0/expression config_invalid"],
    );
    check_bad(
        json!({"triggers": [{"event": "x".repeat(256)}]}),
        &["/triggers/0 event_name_invalid"],
    );
    check_bad(
        json!({"triggers": [{"cron": "* * * * *", "jitter": "1h"}]}),
        &["/triggers/0/jitter config_invalid"],
    );
    assert_eq!(
        read(json!({"triggers": [{"event": "a"}, {"event": "a", "expression": "event.data.x"}]}))
            .triggers
            .len(),
        2
    );
}

#[test]
fn batches_do_not_go_with_everything() {
    let batch = json!({"maxSize": 2, "timeout": "1s"});
    check_bad(
        json!({"batchEvents": batch, "cancel": [{"event": "a"}], "debounce": {"period": "1s"}, "singleton": {"mode": "skip"}, "priority": {"run": "1"}}),
        &[" combo_unsupported"; 4],
    );
}

#[test]
fn every_cause_of_every_function_is_told() {
    let functions = [
        function(json!({"id": "shop-a", "retries": -1, "cancel": [{}]})),
        function(json!({"id": "shop-b"})),
        function(json!({"id": "shop-b"})),
        json!(5),
    ];
    let error = parse_register(&body(&functions)).unwrap_err();
    let got: Vec<(&str, &str)> = error
        .causes
        .iter()
        .map(|cause| (cause.function.as_str(), cause.pointer.as_str()))
        .collect();
    assert_eq!(
        got,
        [
            ("shop-a", "/retries"),
            ("shop-a", "/cancel/0"),
            ("shop-b", "/id"),
            ("", "")
        ]
    );
    let told = error_body(400, Some(error.code), &error.message, &error.causes);
    assert_eq!(told.member("status").unwrap().as_str(), "400");
    assert_eq!(told.member("data").unwrap().items().count(), 4);
}

#[test]
fn unusual_settings_are_warned_about() {
    let registered = |changes| {
        parse_register(&body(&[function(changes)]))
            .unwrap()
            .functions
            .remove(0)
    };
    let both = registered(
        json!({"idempotency": "event.data.a", "rateLimit": {"limit": 1, "period": "1m"}}),
    );
    assert_eq!(
        (both.config.flow.rate_limit, both.warnings.len()),
        (None, 1)
    );
    assert_eq!(
        registered(json!({"triggers": [{"event": "sho*"}]}))
            .warnings
            .len(),
        1
    );
    assert_eq!(registered(json!({"retries": 21})).warnings.len(), 1);
    assert_eq!(registered(json!({})).warnings, Vec::<String>::new());
}

#[test]
fn deployments_and_observations_are_no_changes() {
    let register = |url: &str, extra: Value| {
        let step = json!({"step": {"runtime": {"url": format!("{url}{}fnId=f&stepId=step", if url.contains('?') { '&' } else { '?' })}}});
        let mut body = json!({"url": url, "appname": "shop", "deploy_type": "ping", "sdk": "py:v0.5.19", "functions": [function(json!({"steps": step}))]});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        parse_register(body.to_string().as_bytes()).unwrap()
    };
    let plain = register("http://localhost:3000/api", json!({}));
    let deployed = register(
        "http://localhost:3000/api?deployId=d1",
        json!({"featureObservations": {"a": 1}, "deployId": "d1"}),
    );
    assert_eq!(
        (deployed.deploy_id.as_deref(), &deployed.url),
        (Some("d1"), &plain.url)
    );
    assert_eq!(deployed.checksum, plain.checksum);
    assert_eq!(deployed.functions, plain.functions);
    assert_eq!(
        (plain.sdk_language.as_str(), plain.sdk_version.as_str()),
        ("py", "0.5.19")
    );
    assert_ne!(
        register("http://localhost:3000/api", json!({"appVersion": "2"})).checksum,
        plain.checksum
    );
    assert_ne!(
        register("http://localhost:3001/api", json!({})).checksum,
        plain.checksum
    );
}

#[test]
fn whole_requests_can_be_refused() {
    let check = |body: &str, code: &str, message: &str| {
        let error = parse_register(body.as_bytes()).unwrap_err();
        assert_eq!(
            (error.code, error.message.split(':').next().unwrap()),
            (code, message),
            "{body}"
        );
    };
    check("", "invalid_request", "Invalid request");
    check("[]", "invalid_request", "Invalid request");
    check(
        r#"{"url":"http://a"}"#,
        "invalid_request",
        "App ID required",
    );
    check(
        r#"{"appName":"","url":"http://a"}"#,
        "invalid_request",
        "App ID required",
    );
    check(
        r#"{"appName":"a","url":"a"}"#,
        "invalid_request",
        "Invalid request",
    );
    check(
        r#"{"appName":"a","url":"http://a","functions":{}}"#,
        "invalid_request",
        "Invalid request",
    );
    let denied =
        parse_register(br#"{"appName":"a","url":"http://a","sdk":"js:v3.22.0"}"#).unwrap_err();
    assert_eq!(denied.code, "sdk_version_denied");
    for (language, version, expected) in [
        ("js", "3.21.9", false),
        ("js", "3.53.1", true),
        ("js", "3.53.2", false),
        ("js", "3.54.2", false),
        ("py", "3.30.0", false),
    ] {
        assert_eq!(
            is_denied(language, version),
            expected,
            "{language} {version}"
        );
    }
    let empty = parse_register(br#"{"appName":"a","url":"http://a","functions":null}"#).unwrap();
    assert_eq!(empty.functions, []);
}

#[test]
fn answers_to_a_put_are_understood() {
    let mut sdk = ReplyHeaders::default();
    sdk.set("x-inngest-sdk", "inngest-js:v4.24.0");
    let none = ReplyHeaders::default();
    let code = |status, headers: &ReplyHeaders, body: &str| match parse_sync_reply(
        status,
        headers,
        None,
        body.as_bytes(),
    ) {
        SyncReply::Registered => "registered".to_owned(),
        SyncReply::Failed { code, .. } => code,
        other => panic!("{other:?}"),
    };
    for (status, headers, body, expected) in [
        (200, &sdk, r#"{"ok":true}"#, "registered"),
        (200, &sdk, "", "registered"),
        (200, &sdk, r#"{"error":"no"}"#, "register_failed"),
        (200, &none, "<html>", "not_sdk"),
        (
            400,
            &sdk,
            r#"{"code":"server_kind_mismatch"}"#,
            "server_kind_mismatch",
        ),
        (400, &sdk, "{}", "register_failed"),
        (400, &none, "", "http_not_ok"),
        (401, &sdk, "{}", "unauthorized"),
        (403, &none, "{}", "forbidden"),
        (404, &none, "<html>", "url_not_found"),
        (
            500,
            &sdk,
            r#"{"code":"unknown","message":"error registering functions: x"}"#,
            "internal_server_error",
        ),
    ] {
        assert_eq!(code(status, headers, body), expected, "{status} {body}");
    }
    let in_band = parse_sync_reply(200, &sdk, Some("in_band"), br#"{"app_id":"shop","url":"http://a","sdk_language":"js","sdk_version":"4.24.0","functions":[]}"#);
    assert!(
        matches!(in_band, SyncReply::InBand(registration) if registration.app_name == "shop" && registration.sdk_language == "js")
    );
    assert!(matches!(
        parse_sync_reply(200, &sdk, Some("in_band"), b"{}"),
        SyncReply::Invalid(_)
    ));
}

proptest! {
    #[test]
    fn any_body_is_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse_register(&body);
        let _ = parse_in_band(&body);
    }

    #[test]
    fn any_setting_is_read_without_a_panic(
        key in "(id|name|triggers|steps|retries|concurrency|throttle|rateLimit|debounce|batchEvents|singleton|priority|idempotency|cancel|timeouts)",
        inner in "(limit|key|period|event|cron|run|mode|maxSize|timeout|fn|step|url)",
        value in "(null|true|5|-1|1e300|\"\"|\"1h\"|\"event[.]data[.]x\"|\\{\\}|\\[\\]|\\[1\\])",
        wrap in 0..3usize,
    ) {
        let value: Value = serde_json::from_str(&value).unwrap();
        let value = match wrap {
            0 => value,
            1 => json!({inner: value}),
            _ => json!([{inner: value}]),
        };
        let mut changes = serde_json::Map::new();
        changes.insert(key, value);
        let _ = parse_register(&body(&[function(Value::Object(changes))]));
    }
}
