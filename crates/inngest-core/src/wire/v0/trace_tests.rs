//! Tables of rows and the nested spans that they make.

use std::collections::HashMap;

use super::*;
use crate::{
    ids::{AppId, DEFAULT_ENV, FunctionId},
    run::{Ended, Run},
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_000 + ms)
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn run_id() -> RunId {
    RunId::from_raw(ulid::Ulid(7))
}

fn step_id(name: &str) -> StepId {
    StepId::parse(name).unwrap()
}

fn run(status: RunStatus) -> Run {
    let app = AppId::derive(DEFAULT_ENV, "shop");
    let output = match status {
        RunStatus::Failed => r#"{"name":"TypeError","message":"boom"}"#,
        _ => r#"{"done":true}"#,
    };
    Run {
        id: run_id(),
        app,
        function: FunctionId::derive(app, "f"),
        function_version: 1,
        status,
        skip_reason: None,
        events: vec![EventId::from_raw(ulid::Ulid(1))],
        event_name: "go".into(),
        cron: None,
        original: None,
        rerun: None,
        replay: None,
        started_by: None,
        idempotency_key: None,
        correlation: None,
        queued_at: at(0),
        started_at: (status != RunStatus::Queued).then(|| at(1)),
        ended: status.is_ended().then(|| Ended {
            at: at(100),
            output: json(output),
            cancelled_by: None,
        }),
        revision: 1,
    }
}

fn step(name: &str, kind: StepKind, status: StepStatus, queued: i64) -> StepRecord {
    let memo = match status {
        StepStatus::Completed => Some(r#"{"data":1}"#),
        StepStatus::Failed => Some(r#"{"error":{"name":"TypeError","message":"boom"}}"#),
        _ => None,
    };
    StepRecord {
        run: run_id(),
        step: step_id(name),
        name: name.into(),
        kind,
        status,
        memo: memo.map(json),
        position: None,
        failed_attempts: 0,
        details: None,
        told: crate::run::StepTold::default(),
        group: None,
        ended_by: None,
        response: None,
        queued_at: at(queued),
        started_at: None,
        ended_at: status.is_ended().then(|| at(queued + 5)),
    }
}

fn failed(step: Option<&str>, attempt: u32, ended: i64, next: Option<i64>) -> FailedAttempt {
    FailedAttempt {
        run: run_id(),
        step: step.map(step_id),
        attempt,
        class: "app".into(),
        code: "step_error".into(),
        error: json(&format!(r#"{{"message":"no {attempt}"}}"#)),
        at: at(ended),
        next_at: next.map(at),
        response: None,
    }
}

/// `name STATUS attempts` of each span, with what lies below in brackets; `!` for one that ended the run, `=` for one with an output.
fn told(node: &Node) -> String {
    let mut text = format!("{} {:?}", node.name, node.status);
    if let Some(attempts) = node.attempts {
        text.push_str(&format!(" {attempts}"));
    }
    text.push_str(if node.output.is_some() { "=" } else { "" });
    text.push_str(if node.is_final { "!" } else { "" });
    if !node.children.is_empty() {
        let below: Vec<String> = node.children.iter().map(|child| told(child)).collect();
        text.push_str(&format!(" [{}]", below.join(", ")));
    }
    text
}

fn shown(run: &Run, steps: &[StepRecord], failed: &[FailedAttempt]) -> [String; 2] {
    let invoked = HashMap::new();
    let rows = TraceRows {
        run,
        name: "F",
        steps,
        failed,
        invoked: &invoked,
    };
    [View::Old, View::Preview].map(|view| told(&nested(&rows, view)))
}

#[test]
fn function_without_steps_is_one_span_or_its_attempts() {
    for (status, failures, old, preview) in [
        (RunStatus::Queued, vec![], "F Running 0", "Run Running 0"),
        (
            RunStatus::Running,
            vec![],
            "F Running 0 [execute Running 0]",
            "Run Running 0 [execute Running 0]",
        ),
        (
            RunStatus::Completed,
            vec![],
            "F Completed 0= [function success Completed 0=!]",
            "Run Completed 0= [Finalization Completed 0=!]",
        ),
        (
            RunStatus::Completed,
            vec![failed(None, 0, 10, Some(20))],
            "F Completed 0= [function success Completed 1=! [Attempt 0 Failed 0=, Attempt 1 Completed 1=]]",
            "Run Completed 0= [Finalization Completed 1=! [Attempt 0 Failed 0=, Attempt 1 Completed 1=]]",
        ),
        (
            RunStatus::Running,
            vec![failed(None, 0, 10, Some(20))],
            "F Running 0 [execute Running 1 [Attempt 0 Failed 0=, Attempt 1 Queued 1]]",
            "Run Running 0 [execute Running 1 [Attempt 0 Failed 0=, Attempt 1 Queued 1]]",
        ),
        (
            RunStatus::Failed,
            vec![failed(None, 0, 10, None)],
            "F Failed 0= [function error Failed 1=!]",
            "Run Failed 0= [Finalization Failed 0=! [Attempt 0 Failed 0=]]",
        ),
        (
            RunStatus::Failed,
            vec![failed(None, 0, 10, Some(20)), failed(None, 1, 30, None)],
            "F Failed 0= [execute Failed 2=! [Attempt 0 Failed 0=, Attempt 1 Failed 1=]]",
            "Run Failed 0= [Finalization Failed 1=! [Attempt 0 Failed 0=, Attempt 1 Failed 1=]]",
        ),
        (
            RunStatus::Cancelled,
            vec![],
            "F Cancelled 0",
            "Run Cancelled 0",
        ),
    ] {
        assert_eq!(
            shown(&run(status), &[], &failures),
            [old, preview],
            "{status:?} {failures:?}"
        );
    }
}

#[test]
fn steps_stand_in_the_order_of_their_start_with_their_attempts() {
    let first = step("a", StepKind::Run, StepStatus::Completed, 10);
    let second = step("b", StepKind::Run, StepStatus::Completed, 30);
    assert_eq!(
        shown(
            &run(RunStatus::Completed),
            &[second.clone(), first.clone()],
            &[]
        )[0],
        "F Completed 0= [a Completed 0=, b Completed 0=, function success Completed 0=!]"
    );
    // Between two steps something is to come.
    assert_eq!(
        shown(&run(RunStatus::Running), std::slice::from_ref(&first), &[]),
        [
            "F Running 0 [a Completed 0=, Queued step Queued]",
            "Run Running 0 [a Completed 0=]"
        ]
    );
    let tried = [failed(Some("b"), 0, 32, Some(40))];
    assert_eq!(
        shown(
            &run(RunStatus::Completed),
            &[first.clone(), second.clone()],
            &tried
        )[0],
        "F Completed 0= [a Completed 0=, b Completed 1= [Attempt 0 Failed 0=, Attempt 1 Completed 1=], function success Completed 0=!]"
    );
    let open = step("b", StepKind::Run, StepStatus::Open, 30);
    assert_eq!(
        shown(&run(RunStatus::Running), &[open], &tried),
        [
            "F Running 0 [b Running 1 [Attempt 0 Failed 0=, Attempt 1 Queued 1]]",
            "Run Running 0 [b Queued 1 [Attempt 0 Failed 0=, Attempt 1 Queued 1]]"
        ]
    );
    let lost = step("b", StepKind::Run, StepStatus::Failed, 30);
    let tried = [
        failed(Some("b"), 0, 32, Some(40)),
        failed(Some("b"), 1, 42, None),
    ];
    let below = "[Attempt 0 Failed 0=, Attempt 1 Failed 1=]";
    assert_eq!(
        shown(&run(RunStatus::Failed), &[lost], &tried),
        [
            format!("F Failed 0= [b Failed 2= {below}, function error Failed 1=!]"),
            format!(
                "Run Failed 0= [b Failed 1= {below}, Finalization Failed 0=! [Attempt 0 Failed 0=]]"
            )
        ]
    );
}

#[test]
fn failure_before_a_step_becomes_its_first_attempt() {
    let found = step("a", StepKind::Run, StepStatus::Completed, 20);
    let failures = [failed(None, 0, 10, Some(20)), failed(None, 0, 40, Some(50))];
    assert_eq!(
        shown(&run(RunStatus::Completed), &[found], &failures)[0],
        "F Completed 0= [a Completed 1= [Attempt 0 Failed 0=, Attempt 1 Completed 1=], \
         function success Completed 1=! [Attempt 0 Failed 0=, Attempt 1 Completed 1=]]"
    );
}

#[test]
fn waits_tell_what_they_asked_for_and_what_came() {
    let (found, child) = (
        EventId::from_raw(ulid::Ulid(9)),
        RunId::from_raw(ulid::Ulid(8)),
    );
    let event = StepRecord {
        details: Some(StepDetails::Event {
            name: "answer".into(),
            expression: None,
            until: at(500),
        }),
        ..step("w", StepKind::WaitForEvent, StepStatus::Open, 10)
    };
    let came = StepRecord {
        ended_by: Some(found),
        status: StepStatus::Completed,
        memo: Some(json(r#"{"data":{},"name":"answer"}"#)),
        ..event.clone()
    };
    let call = StepRecord {
        details: Some(StepDetails::Invoke {
            function: "shop-g".into(),
            until: at(500),
        }),
        ..step("i", StepKind::Invoke, StepStatus::Open, 20)
    };
    let gave_up = StepRecord {
        status: StepStatus::TimedOut,
        memo: Some(crate::wire::memo::invoke_timeout()),
        ..call.clone()
    };
    let sleep = step("s", StepKind::Sleep, StepStatus::Completed, 30);
    let invoked = HashMap::from([(step_id("i"), child)]);
    let run = run(RunStatus::Running);
    let one = |step: &StepRecord| {
        let steps = std::slice::from_ref(step);
        let rows = TraceRows {
            run: &run,
            name: "F",
            steps,
            failed: &[],
            invoked: &invoked,
        };
        let node = nested(&rows, View::Old).children[0].clone();
        let output = node.output.as_ref().and_then(|id| output(&rows, id));
        (node, output)
    };
    let expected = |found, timed_out| {
        Some(StepInfo::Event {
            name: "answer".into(),
            expression: None,
            timeout: at(500),
            found,
            timed_out,
        })
    };
    let (node, nothing) = one(&event);
    assert_eq!(
        (node.status, node.info.clone(), nothing),
        (SpanStatus::Waiting, expected(None, None), None)
    );
    let (node, data) = one(&came);
    assert_eq!(node.info, expected(Some(found), Some(false)));
    assert_eq!(
        data,
        Some(Output::Data(json(r#"{"data":{},"name":"answer"}"#)))
    );
    let (node, _) = one(&call);
    assert!(
        matches!(&node.info, Some(StepInfo::Invoke { run: Some(run), timed_out: None, .. }) if *run == child)
    );
    let (node, error) = one(&gave_up);
    assert_eq!(node.status, SpanStatus::Failed);
    assert!(matches!(
        &node.info,
        Some(StepInfo::Invoke {
            timed_out: Some(true),
            ..
        })
    ));
    let Some(Output::Error(error)) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        error.message,
        "Timed out waiting for invoked function to complete"
    );
    let (node, nothing) = one(&sleep);
    assert_eq!(
        (node.status, node.output.clone(), nothing),
        (SpanStatus::Completed, None, None)
    );
}

#[test]
fn output_ids_are_read_again_and_find_what_they_name() {
    let run = run(RunStatus::Failed);
    let steps = [
        step("a", StepKind::Run, StepStatus::Completed, 10),
        step("b", StepKind::Run, StepStatus::Failed, 20),
    ];
    let failures = [failed(Some("b"), 0, 22, None), failed(None, 3, 40, None)];
    let invoked = HashMap::new();
    let rows = TraceRows {
        run: &run,
        name: "F",
        steps: &steps,
        failed: &failures,
        invoked: &invoked,
    };
    let message = |of: OutputOf| {
        let id = OutputId { run: run_id(), of };
        assert_eq!(OutputId::parse(&id.to_string()), Some(id.clone()));
        output(&rows, &id).map(|output| match output {
            Output::Data(data) => data.as_str().to_owned(),
            Output::Error(error) => error.message,
        })
    };
    for (of, expected) in [
        (OutputOf::Run, Some("boom")),
        (OutputOf::Step(step_id("a")), Some("1")),
        (OutputOf::Step(step_id("b")), Some("boom")),
        (OutputOf::Attempt(step_id("b"), 0), Some("no 0")),
        (OutputOf::Attempt(step_id("b"), 1), None),
        (OutputOf::Body(3, at(40)), Some("no 3")),
        (OutputOf::Body(3, at(41)), None),
    ] {
        assert_eq!(message(of.clone()).as_deref(), expected, "{of:?}");
    }
    let run = run_id();
    for bad in [
        "",
        "x",
        &format!("{run}.s"),
        &format!("{run}.q.a"),
        &format!("{run}x"),
        "é".repeat(13).as_str(),
    ] {
        assert_eq!(OutputId::parse(bad), None, "{bad}");
    }
}
