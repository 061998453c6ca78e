//! Apps that misbehave: the run is tried again or fails with words that people understand, and the server goes on.

use std::time::Duration;

use inngest_core::run::RunStatus;
use inngest_services::testing::{Answer, Fixture, Gate, Options, step_run};
use serde_json::{Value, json};

use crate::{assert_completed, end_of, on, on_with};

const SDK: (&str, &str) = ("x-inngest-sdk", "inngest-js:v4.24.0");

fn sdk(status: u16, body: &[u8]) -> Answer {
    let headers = vec![
        (SDK.0, SDK.1.to_owned()),
        ("x-inngest-req-version", "2".to_owned()),
    ];
    Answer::Http(status, headers, body.to_vec())
}

fn op(id: &str, op: &str, opts: Value) -> Value {
    json!({"id": id, "op": op, "name": id, "displayName": id, "opts": opts})
}

/// What a bad answer is, what it comes to, and what the message must contain.
struct Case {
    name: &'static str,
    answer: fn() -> Answer,
    calls: usize,
    says: &'static str,
}

/// Each is registered with one retry, so two calls mean that it was tried again.
const CASES: [Case; 21] = [
    Case {
        name: "error status of an SDK",
        answer: || sdk(500, b"{\"name\":\"Error\",\"message\":\"out of tea\"}"),
        calls: 2,
        says: "out of tea",
    },
    Case {
        name: "error page of a proxy",
        answer: || {
            Answer::Http(
                502,
                vec![("content-type", "text/html".into())],
                b"<h1>Bad gateway</h1>".to_vec(),
            )
        },
        calls: 2,
        says: "HTTP 502",
    },
    Case {
        name: "page of somebody else",
        answer: || {
            Answer::Http(
                200,
                vec![("content-type", "text/html".into())],
                b"<html>hello</html>".to_vec(),
            )
        },
        calls: 2,
        says: "did not come from an Inngest SDK",
    },
    Case {
        name: "not found by a web server",
        answer: || Answer::Http(404, Vec::new(), b"nothing here".to_vec()),
        calls: 2,
        says: "HTTP 404",
    },
    Case {
        name: "connection cut",
        answer: || Answer::Reset,
        calls: 2,
        says: "connection",
    },
    Case {
        name: "closed without a word",
        answer: || Answer::Bytes(Vec::new()),
        calls: 2,
        says: "closed the request",
    },
    Case {
        name: "not HTTP at all",
        answer: || Answer::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        calls: 2,
        says: "",
    },
    Case {
        name: "half a body",
        answer: || {
            Answer::Bytes(b"HTTP/1.1 206 x\r\nx-inngest-sdk: js:v4.24.0\r\ncontent-length: 100\r\n\r\n[{\"id\":".to_vec())
        },
        calls: 2,
        says: "",
    },
    Case {
        name: "a body over the limit",
        answer: || sdk(200, &vec![b'9'; 9 * 1024 * 1024]),
        calls: 2,
        says: "maximum size",
    },
    Case {
        name: "ops that are not JSON",
        answer: || sdk(206, b"{oops"),
        calls: 2,
        says: "error reading generator opcode response",
    },
    Case {
        name: "ops without ops",
        answer: || sdk(206, b""),
        calls: 2,
        says: "no response data",
    },
    Case {
        name: "an op that is not known",
        answer: || Answer::Ops(vec![op("a", "Teleport", json!({}))]),
        calls: 2,
        says: "Teleport",
    },
    Case {
        name: "an op without an id",
        answer: || Answer::Ops(vec![json!({"op": "StepRun", "data": 1})]),
        calls: 2,
        says: "no usable step id",
    },
    Case {
        name: "an id that is far too long",
        answer: || Answer::Ops(vec![step_run(&"x".repeat(500), json!(1))]),
        calls: 2,
        says: "no usable step id",
    },
    Case {
        name: "a sleep that cannot be read",
        answer: || Answer::Ops(vec![op("a", "Sleep", json!({"duration": "soon"}))]),
        calls: 2,
        says: "cannot be read",
    },
    Case {
        name: "a sleep of a thousand years",
        answer: || Answer::Ops(vec![op("a", "Sleep", json!({"duration": "10000h"}))]),
        calls: 1,
        says: "366 days",
    },
    Case {
        name: "a condition that cannot be read",
        answer: || {
            Answer::Ops(vec![op(
                "a",
                "WaitForEvent",
                json!({"event": "e", "timeout": "1h", "if": "((("}),
            )])
        },
        calls: 1,
        says: "not a valid expression",
    },
    Case {
        name: "nothing to do",
        answer: || Answer::Ops(Vec::new()),
        calls: 2,
        says: "nothing to do",
    },
    Case {
        name: "too many ops",
        answer: || {
            Answer::Ops(
                (0..1_001)
                    .map(|n| step_run(&format!("s{n}"), json!(n)))
                    .collect(),
            )
        },
        calls: 1,
        says: "1000 ops",
    },
    Case {
        name: "an output over the limit of a step",
        answer: || {
            Answer::Ops(vec![step_run(
                "big",
                json!("x".repeat(4 * 1024 * 1024 + 1)),
            )])
        },
        calls: 2,
        says: "greater than the limit",
    },
    Case {
        name: "an endless loop of redirects",
        answer: || Answer::Http(302, vec![("location", "/again".into())], Vec::new()),
        calls: 22,
        says: "redirect",
    },
];

#[tokio::test]
async fn misbehaving_app_fails_its_run_with_words_and_harms_nobody_else() {
    for case in &CASES {
        let fixture = Fixture::start().await;
        let app = fixture.app("shop").await;
        let answer = case.answer;
        app.answer(
            "bad",
            on_with("go", json!({"retries": {"attempts": 1}})),
            move |_| answer(),
        )
        .function("good", on("go"), |_| Ok(json!("fine")))
        .sync(&fixture.services())
        .await;
        let event = fixture.send("go", json!({})).await;
        fixture.settle().await;
        while fixture.advance_to_next().await {}
        let mut runs = fixture.runs_of(event).await;
        let (good, bad) = (runs.pop().unwrap(), runs.pop().unwrap());
        let (bad, good) = if good.status == RunStatus::Failed {
            (good, bad)
        } else {
            (bad, good)
        };
        assert_completed(&good, json!("fine"));
        let (status, output) = end_of(&bad);
        assert_eq!(status, RunStatus::Failed, "{}", case.name);
        let words = output.to_string();
        assert!(words.contains(case.says), "{}: {words}", case.name);
        assert!(
            !output["message"].as_str().unwrap_or_default().is_empty(),
            "{}: {words}",
            case.name
        );
        let calls = app
            .calls()
            .iter()
            .filter(|call| call.function != "shop-good")
            .count();
        assert_eq!(calls, case.calls, "{}", case.name);
    }
}

#[tokio::test]
async fn app_that_hangs_is_given_up_on_and_tried_again() {
    let fixture = Fixture::with(Options {
        call_timeout: Some(Duration::from_millis(50)),
        ..Options::default()
    })
    .await;
    let app = fixture.app("shop").await;
    let never = Gate::closed();
    let held = never.clone();
    app.answer("slow", on("go"), move |call| {
        if call.attempt() == 0 {
            Answer::After(held.clone(), Box::new(Answer::Returned(json!("late"))))
        } else {
            Answer::Returned(json!("in time"))
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let run = fixture.run_of(event).await;
    assert_eq!(
        fixture.failed_attempts(run.id).await[0].code,
        "request_duration_too_long"
    );
    assert!(fixture.advance_to_next().await);
    assert_completed(&fixture.run_of(event).await, json!("in time"));
}

#[tokio::test]
async fn app_that_is_gone_is_tried_again_until_it_is_back() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.function("hi", on("go"), |_| Ok(json!("old")))
        .sync(&fixture.services())
        .await;
    drop(app);
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert!(fixture.advance_to_next().await);
    let run = fixture.run_of(event).await;
    let failed = fixture.failed_attempts(run.id).await;
    assert_eq!(failed.len(), 2);
    assert!(
        failed
            .iter()
            .all(|failed| failed.code == "http_unreachable")
    );
    let back = fixture.app("shop").await;
    back.function("hi", on("go"), |_| Ok(json!("back")))
        .sync(&fixture.services())
        .await;
    assert!(fixture.advance_to_next().await);
    assert_completed(&fixture.run_of(event).await, json!("back"));
}

#[tokio::test]
async fn same_step_twice_in_one_reply_counts_once() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.answer("twins", on("go"), |call| {
        match call.body["steps"].get("one") {
            Some(memo) => Answer::Returned(memo["data"].clone()),
            None => Answer::Ops(vec![
                step_run("one", json!("first")),
                step_run("one", json!("second")),
            ]),
        }
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    assert_completed(&fixture.run_of(event).await, json!("first"));
}

#[tokio::test]
async fn function_that_never_stops_finding_steps_is_ended_by_the_limit() {
    let fixture = Fixture::start().await;
    let app = fixture.app("shop").await;
    app.answer("endless", on("go"), |call| {
        let count = call.body["ctx"]["stack"]["current"].as_u64().unwrap();
        let ops = (0..200).map(|n| step_run(&format!("s{}", count + n), json!(n)));
        Answer::Ops(ops.collect())
    })
    .sync(&fixture.services())
    .await;
    let event = fixture.send("go", json!({})).await;
    fixture.settle().await;
    let (status, output) = end_of(&fixture.run_of(event).await);
    assert_eq!(status, RunStatus::Failed);
    assert_eq!(output["name"], "InngestErrFunctionOverflowed", "{output}");
    assert!(app.calls().len() <= 7);
}
