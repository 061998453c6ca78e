//! Tables of rows and the spans that they make.

use super::*;
use crate::{
    ids::{AppId, DEFAULT_ENV, EventId, FunctionId},
    run::{Ended, StepKind},
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_000 + ms)
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn id(number: u128) -> RunId {
    RunId::from_raw(ulid::Ulid(number))
}

fn run(status: RunStatus, started: Option<i64>, ended: Option<i64>) -> Run {
    let app = AppId::derive(DEFAULT_ENV, "shop");
    Run {
        id: id(7),
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
        started_at: started.map(at),
        ended: ended.map(|ended| Ended {
            at: at(ended),
            output: json(r#"{"name":"Error","message":"no"}"#),
            cancelled_by: None,
        }),
        revision: 1,
    }
}

fn step(
    name: &str,
    kind: StepKind,
    status: StepStatus,
    times: (i64, Option<i64>, Option<i64>),
) -> StepRecord {
    StepRecord {
        run: id(7),
        step: StepId::parse(name).unwrap(),
        name: name.into(),
        kind,
        status,
        memo: None,
        position: None,
        failed_attempts: 0,
        details: None,
        told: crate::run::StepTold::default(),
        group: None,
        ended_by: None,
        response: None,
        queued_at: at(times.0),
        started_at: times.1.map(at),
        ended_at: times.2.map(at),
    }
}

fn failed(step: Option<&str>, attempt: u32, ended: i64, next: Option<i64>) -> FailedAttempt {
    FailedAttempt {
        run: id(7),
        step: step.map(|step| StepId::parse(step).unwrap()),
        attempt,
        class: "app".into(),
        code: "step_error".into(),
        error: json(r#"{"message":"no"}"#),
        at: at(ended),
        next_at: next.map(at),
        response: None,
    }
}

/// Each span as one line: kind, name, status, and the three times as far as they are known.
fn lines(run: &Run, steps: &[StepRecord], failed: &[FailedAttempt]) -> Vec<String> {
    let invoked = HashMap::new();
    let spans = derive(TraceRows {
        run,
        name: "F",
        steps,
        failed,
        invoked: &invoked,
    });
    check(&spans);
    let time = |time: Option<Timestamp>| {
        time.map_or_else(
            || "?".to_owned(),
            |time| (time.as_millis() - 1_000).to_string(),
        )
    };
    spans
        .iter()
        .map(|span| {
            format!(
                "{:?} {} {:?} {} {} {}",
                span.kind,
                span.name,
                span.status,
                time(span.queued_at),
                time(span.started_at),
                time(span.ended_at)
            )
        })
        .collect()
}

/// What holds for every trace: ids differ, there is one root and it comes first, parents come before their children.
fn check(spans: &[Span]) {
    let mut seen = HashSet::new();
    for (index, span) in spans.iter().enumerate() {
        assert_eq!(span.parent.is_none(), index == 0, "{span:?}");
        assert!(
            span.parent.is_none_or(|parent| seen.contains(&parent)),
            "{span:?}"
        );
        assert!(seen.insert(span.id), "{span:?}");
        assert_eq!(SpanId::parse(&span.id.to_string()), Some(span.id));
    }
}

#[test]
fn spans_of_a_run_follow_from_its_rows() {
    use RunStatus as R;
    use StepKind as K;
    use StepStatus as S;
    type Case<'a> = (
        &'a str,
        Run,
        Vec<StepRecord>,
        Vec<FailedAttempt>,
        &'a [&'a str],
    );
    let cases: Vec<Case<'_>> = vec![
        (
            "queued",
            run(R::Queued, None, None),
            vec![],
            vec![],
            &["Run F Queued 0 ? ?", "Queue queue Waiting 0 0 ?"],
        ),
        (
            "cancelled before it began",
            run(R::Cancelled, None, Some(5)),
            vec![],
            vec![],
            &["Run F Cancelled 0 ? 5", "Queue queue Cancelled 0 0 5"],
        ),
        (
            "skipped",
            run(R::Skipped, None, Some(0)),
            vec![],
            vec![],
            &["Run F Skipped 0 ? 0"],
        ),
        (
            "found and run by one call",
            run(R::Completed, Some(2), Some(9)),
            vec![step("a", K::Run, S::Completed, (5, Some(3), Some(5)))],
            vec![],
            &[
                "Run F Completed 0 2 9",
                "Queue queue Completed 0 0 2",
                "Step a Completed 3 3 5",
                "Attempt attempt 1 Completed 3 3 5",
            ],
        ),
        (
            "planned, run later, and another waiting for its turn",
            run(R::Running, Some(2), None),
            vec![
                step("b", K::Run, S::Open, (4, None, None)),
                step("a", K::Run, S::Completed, (4, Some(6), Some(8))),
            ],
            vec![],
            &[
                "Run F Running 0 2 ?",
                "Queue queue Completed 0 0 2",
                "Step b Queued 4 ? ?",
                "Attempt attempt 1 Queued 4 ? ?",
                "Step a Completed 4 6 8",
                "Queue queue Completed 4 4 6",
                "Attempt attempt 1 Completed 4 6 8",
            ],
        ),
        (
            "fails twice and then for good: only the start of the last attempt is known",
            run(R::Failed, Some(2), Some(40)),
            vec![step("a", K::Run, S::Failed, (4, Some(30), Some(31)))],
            vec![
                failed(Some("a"), 0, 10, Some(12)),
                failed(Some("a"), 1, 20, Some(28)),
                failed(Some("a"), 2, 31, None),
            ],
            &[
                "Run F Failed 0 2 40",
                "Queue queue Completed 0 0 2",
                "Step a Failed 4 ? 31",
                "Attempt attempt 1 Failed 4 ? 10",
                "Attempt attempt 2 Failed 12 ? 20",
                "Queue queue Completed 28 28 30",
                "Attempt attempt 3 Failed 28 30 31",
            ],
        ),
        (
            "fails on being found, before anything else is stored of it, and has no name yet",
            run(R::Running, Some(2), None),
            vec![],
            vec![
                failed(Some("a"), 0, 5, Some(9)),
                failed(None, 0, 3, Some(4)),
            ],
            &[
                "Run F Running 0 2 ?",
                "Queue queue Completed 0 0 2",
                "Request request Failed ? ? 3",
                "Step a Queued ? ? ?",
                "Attempt attempt 1 Failed ? ? 5",
            ],
        ),
        (
            "the same once it has succeeded: its first failure is older than its row",
            run(R::Running, Some(2), None),
            vec![step("a", K::Run, S::Completed, (12, Some(10), Some(12)))],
            vec![failed(Some("a"), 0, 5, Some(9))],
            &[
                "Run F Running 0 2 ?",
                "Queue queue Completed 0 0 2",
                "Step a Completed ? ? 12",
                "Attempt attempt 1 Failed ? ? 5",
                "Queue queue Completed 9 9 10",
                "Attempt attempt 2 Completed 9 10 12",
            ],
        ),
        (
            "sleeps and waits begin when they are found, have no attempts, and end with the run",
            run(R::Cancelled, Some(2), Some(20)),
            vec![
                step("nap", K::Sleep, S::Completed, (3, Some(13), Some(13))),
                step("wait", K::WaitForEvent, S::Cancelled, (14, None, Some(20))),
            ],
            vec![],
            &[
                "Run F Cancelled 0 2 20",
                "Queue queue Completed 0 0 2",
                "Step nap Completed 3 3 13",
                "Step wait Cancelled 14 14 20",
            ],
        ),
    ];
    for (name, run, steps, failed, expected) in cases {
        assert_eq!(lines(&run, &steps, &failed), expected, "{name}");
    }
}

#[test]
fn wait_that_ran_out_has_failed_only_if_its_memo_is_an_error() {
    for (memo, expected) in [
        ("null", SpanStatus::Completed),
        (r#"{"error":{"name":"T"}}"#, SpanStatus::Failed),
    ] {
        let run = run(RunStatus::Running, Some(1), None);
        let steps = [StepRecord {
            memo: Some(json(memo)),
            ..step(
                "a",
                StepKind::Invoke,
                StepStatus::TimedOut,
                (1, None, Some(2)),
            )
        }];
        let invoked = HashMap::new();
        let spans = derive(TraceRows {
            run: &run,
            name: "F",
            steps: &steps,
            failed: &[],
            invoked: &invoked,
        });
        let span = spans.last().unwrap();
        assert_eq!(
            (span.status, span.failure.is_some()),
            (expected, expected == SpanStatus::Failed)
        );
    }
}

#[test]
fn invoked_runs_and_reruns_are_linked_both_ways() {
    let invoke = StepId::parse("call").unwrap();
    let steps = [step(
        "call",
        StepKind::Invoke,
        StepStatus::Open,
        (1, None, None),
    )];
    let parent = run(RunStatus::Running, Some(1), None);
    let invoked = HashMap::from([(invoke.clone(), id(9))]);
    let spans = derive(TraceRows {
        run: &parent,
        name: "F",
        steps: &steps,
        failed: &[],
        invoked: &invoked,
    });
    let link = SpanLink {
        run: id(9),
        span: SpanId::root(id(9)),
    };
    assert_eq!(spans.last().unwrap().links, [link]);

    let child = Run {
        id: id(9),
        correlation: Some(wait::correlation(id(7), &invoke)),
        original: Some(id(3)),
        ..run(RunStatus::Queued, None, None)
    };
    let none = HashMap::new();
    let spans = derive(TraceRows {
        run: &child,
        name: "G",
        steps: &[],
        failed: &[],
        invoked: &none,
    });
    let back = SpanLink {
        run: id(7),
        span: SpanId::of_step(id(7), &invoke),
    };
    let first = SpanLink {
        run: id(3),
        span: SpanId::root(id(3)),
    };
    assert_eq!(spans[0].links, [back, first]);
}

#[test]
fn ids_of_traces_name_their_runs() {
    let trace = TraceId::of(id(7));
    assert_eq!(trace.to_string(), "00000000000000000000000000000007");
    assert_eq!(TraceId::parse(&trace.to_string()), Some(trace));
    for bad in [
        "",
        "7",
        "+0000000000000000000000000000007",
        "zz000000000000000000000000000007",
    ] {
        assert_eq!(TraceId::parse(bad), None, "{bad}");
    }
    assert_eq!(SpanId::parse("+000000000000007"), None);
}
