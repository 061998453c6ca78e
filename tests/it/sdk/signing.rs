//! Self-hosted operation: keys on both sides, signatures on every call.

use std::collections::BTreeMap;

use inngest_tests::{
    app::{App, AppOptions, Sdk},
    http,
    process::free_port,
    server::{Server, ServerOptions},
    wait::{DEADLINE, wait_until},
};
use serde_json::json;

const SIGNING_KEY: &str = "signkey-test-12345678abcdef00";
const EVENT_KEY: &str = "test-event-key";

fn signed_calls_are_accepted(sdk: Sdk) {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/api/inngest");
    let arguments = [
        "--signing-key",
        SIGNING_KEY,
        "--event-key",
        EVENT_KEY,
        "--sdk-url",
        &url,
        "--poll-interval",
        "1",
    ];
    let server = Server::start_self_hosted(&ServerOptions {
        name: format!("signing-{}", sdk.id()),
        arguments: arguments.map(str::to_owned).to_vec(),
        port: None,
    });
    let variables = [
        ("INNGEST_BASE_URL", server.base()),
        ("INNGEST_SIGNING_KEY", SIGNING_KEY),
        ("INNGEST_EVENT_KEY", EVENT_KEY),
    ];
    let env = BTreeMap::from(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let only = Some("steps,send-event,receiver,large-state".to_owned());
    let _app = App::start(&AppOptions {
        only,
        env,
        port: Some(port),
        ..AppOptions::new(sdk, server.base())
    });
    let authorization = format!("Bearer {SIGNING_KEY}");
    let get = |path: &str| {
        http::request(
            "GET",
            &format!("{}{path}", server.base()),
            &[("authorization", &authorization)],
            None,
        )
    };
    wait_until("the app to be registered", DEADLINE, || {
        let functions = get(&format!("/v1/apps/{}/functions", sdk.id()));
        (functions.body.as_array().map(Vec::len) == Some(4)).then_some(())
    });

    let event = |name: &str| format!("{}/{name}", sdk.id());
    let send = |name: &str| {
        let url = format!("{}/e/{EVENT_KEY}", server.base());
        let body = json!({ "name": event(name), "data": { "marker": "signed", "n": 1 } });
        let answer = http::request("POST", &url, &[], Some(&body));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["ids"][0]
            .as_str()
            .expect("an id is text")
            .to_owned()
    };
    let output = |event_id: &str| {
        wait_until("the run to complete", DEADLINE, || {
            let answer = get(&format!("/v1/events/{event_id}/runs"));
            let run = answer.body["data"].as_array()?.first()?.clone();
            (run["status"] == "Completed").then(|| run["output"].clone())
        })
    };
    assert_eq!(
        output(&send("steps")),
        json!({ "a": 2, "b": { "value": 4 }, "c": [4, null] })
    );
    assert_eq!(
        output(&send("send-event"))["ids"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        output(&send("large-state")).as_array().map(Vec::len),
        Some(4)
    );

    let wrong_key = http::request(
        "POST",
        &format!("{}/e/wrong", server.base()),
        &[],
        Some(&json!({ "name": "x" })),
    );
    assert_eq!(wrong_key.status, 401);
    let no_key = http::request(
        "POST",
        &format!("{}/fn/register", server.base()),
        &[],
        Some(&json!({})),
    );
    assert_eq!(no_key.status, 401);
}

#[test]
fn a_ts4_app_accepts_signed_calls() {
    signed_calls_are_accepted(Sdk::Ts4);
}

#[test]
fn a_ts3_app_accepts_signed_calls() {
    signed_calls_are_accepted(Sdk::Ts3);
}

#[test]
fn a_python_app_accepts_signed_calls() {
    signed_calls_are_accepted(Sdk::Py);
}
