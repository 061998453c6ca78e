use serde_json::{Value, json};

use crate::{
    app::{App, RESULT},
    server::{Line, Server},
};

const KEY: &str = "marker-of-the-key";
const DATA: &str = "marker-of-the-data";

/// The names among these fields that the line lacks, or has with a value of another kind.
fn lacks<'a>(line: &Line, texts: &[&'a str], numbers: &[&'a str]) -> Vec<&'a str> {
    let has_text = |name: &&&str| !line.get(**name).is_some_and(Value::is_string);
    let has_number = |name: &&&str| !line.get(**name).is_some_and(Value::is_number);
    let texts = texts.iter().filter(has_text);
    texts
        .chain(numbers.iter().filter(has_number))
        .copied()
        .collect()
}

#[test]
fn lines_tell_what_requests_calls_and_runs_were_about_and_nothing_of_their_data() {
    let (app, server) = (App::start(), Server::dev(&["--log-level", "debug"], &[]));
    server.post("/fn/register", &[], &app.registration());
    let paid = |data: &Value| {
        let event = json!({"name": "shop/paid", "data": {"of": DATA, "steps": data["steps"], "fails": data["fails"]}});
        let headers = [
            ("x-request-id", "req-7"),
            ("authorization", KEY),
            ("cookie", KEY),
        ];
        server.post(&format!("/e/{KEY}?token={KEY}"), &headers, &event)
    };
    paid(&json!({"steps": 1}));

    let request = server.line(|line| {
        line["message"] == "request answered" && line.get("request.id") == Some(&json!("req-7"))
    });
    assert_eq!(
        lacks(
            &request,
            &["org.id", "env.id", "timestamp", "target"],
            &["duration_ms"]
        ),
        [""; 0],
        "{request:?}"
    );
    assert_eq!(
        (
            &request["http.method"],
            &request["http.route"],
            &request["http.status"]
        ),
        (&json!("POST"), &json!("/e/{key}"), &json!(200))
    );

    // The call of the planned step.
    let call = server.line(|line| line["message"] == "app called" && line.contains_key("step.id"));
    let ids = [
        "env.id",
        "function.id",
        "run.id",
        "step.id",
        "job.id",
        "job.kind",
        "outcome",
    ];
    assert_eq!(
        lacks(&call, &ids, &["attempt", "epoch", "duration_ms"]),
        [""; 0],
        "{call:?}"
    );

    let completed = server.line(|line| line["message"] == "run completed");
    let ids = ["env.id", "function.id", "run.id", "job.id", "job.kind"];
    assert_eq!(
        lacks(&completed, &ids, &["attempt", "epoch", "duration_ms"]),
        [""; 0],
        "{completed:?}"
    );
    assert_eq!(
        (
            &completed["level"],
            &completed["run.status"],
            &completed["function.slug"]
        ),
        (&json!("INFO"), &json!("completed"), &json!("shop-pay"))
    );
    assert_eq!(completed["run.id"], call["run.id"]);
    let calls = app.calls();
    assert_eq!(calls.iter().filter(|call| call.step.is_some()).count(), 1);
    assert!(
        calls
            .iter()
            .all(|call| completed["run.id"] == call.headers["x-run-id"].to_str().unwrap())
    );

    paid(&json!({"fails": true}));
    let failed = server.line(|line| line["message"] == "run failed");
    assert_eq!(
        (&failed["level"], &failed["reason"]),
        (&json!("INFO"), &json!("TypeError"))
    );

    for line in server.lines() {
        let parsed: Line = serde_json::from_str(&line).unwrap();
        assert!(
            parsed
                .values()
                .all(|value| !value.is_object() && !value.is_array()),
            "not flat: {line}"
        );
        for marker in [KEY, DATA, RESULT] {
            assert!(!line.contains(marker), "{line}");
        }
    }
}

#[test]
fn by_default_a_run_is_one_line_and_a_request_or_a_call_is_none() {
    let (app, server) = (App::start(), Server::dev(&[], &[]));
    server.post("/fn/register", &[], &app.registration());
    server.line(|line| line["message"] == "app synced");
    let before = server.lines().len();
    server.post(
        "/e/k",
        &[],
        &json!({"name": "shop/paid", "data": {"steps": 1}}),
    );
    server.line(|line| line["message"] == "run completed");
    server.post(
        "/e/k",
        &[],
        &json!({"name": "shop/paid", "data": {"fails": true}}),
    );
    server.line(|line| line["message"] == "run failed");
    let lines = server.lines();
    assert_eq!(lines.len() - before, 2, "{:#?}", &lines[before..]);
    assert_eq!(app.calls().len(), 4);
    server.stop();
}
