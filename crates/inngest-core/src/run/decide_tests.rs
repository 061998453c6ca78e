//! Every rule of `decide` and `resolve`, one reply at a time. Effects are compared as words, so that a table reads like the rules.

use std::{collections::HashMap, time::Duration};

use super::*;
use crate::{
    ids::{AppId, DEFAULT_ENV, DEFAULT_ORG, EventId, FunctionId, RunId},
    run::{RunStatus, progress::StepState},
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const AGAIN: Duration = Duration::from_secs(10);

pub(super) fn step(name: &str) -> StepId {
    StepId::parse(name).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

pub(super) fn run_id() -> RunId {
    RunId::from_raw(ulid::Ulid::from_parts(1_700_000_000_000, 7))
}

pub(super) fn work_id(label: &str) -> WorkId {
    WorkId::derive(run_id(), label)
}

/// A run of this dialect that was just scheduled; its first discovery, `discover`, is outstanding.
pub(super) fn new_run(version: i32) -> Progress {
    let app = AppId::derive(DEFAULT_ENV, "app");
    Progress {
        org: DEFAULT_ORG,
        env: DEFAULT_ENV,
        app,
        function: FunctionId::derive(app, "app-f"),
        run: run_id(),
        revision: 0,
        status: RunStatus::Running,
        started_at: Some(NOW),
        request_version: version,
        force_plan: false,
        stack: Vec::new(),
        steps: HashMap::new(),
        work: HashMap::from([(work_id("discover"), (JobKind::Discover, None))]),
        event_name: "e".to_owned(),
        queued_at: NOW,
        events: vec![(EventId::from_raw(ulid::Ulid::from_parts(1, 1)), json("{}"))],
        rank: 0,
        correlation: None,
    }
}

fn with_open(mut run: Progress, name: &str, kind: StepKind, group: Option<u32>) -> Progress {
    let state = StepState {
        name: name.to_owned(),
        kind,
        status: StepStatus::Open,
        memo: None,
        group,
    };
    run.steps.insert(step(name), state);
    let work = (work_of(kind), Some(step(name)));
    run.work.insert(work_id(&format!("step:{name}")), work);
    run
}

fn with_ended(run: Progress, name: &str, kind: StepKind) -> Progress {
    let mut run = with_open(run, name, kind, None);
    run.work.remove(&work_id(&format!("step:{name}")));
    if let Some(state) = run.steps.get_mut(&step(name)) {
        state.status = StepStatus::Completed;
        state.memo = Some(json(r#"{"data":1}"#));
    }
    run.stack.push(step(name));
    run
}

fn without_discovery(mut run: Progress) -> Progress {
    run.work.remove(&work_id("discover"));
    run
}

/// A call that was sent all that the run knows.
fn discovery(run: &Progress) -> CallInfo {
    CallInfo {
        work: work_id("discover"),
        target: None,
        attempt: 0,
        stack_len: run.stack.len(),
        policy: RetryPolicy {
            max_attempts: 3,
            interval: Some(AGAIN),
            jitter: 0.0,
        },
    }
}

fn targeted(run: &Progress, name: &str) -> CallInfo {
    CallInfo {
        work: work_id(&format!("step:{name}")),
        target: Some(step(name)),
        ..discovery(run)
    }
}

pub(super) fn op(name: &str, kind: OpKind) -> Op {
    Op {
        step: step(name),
        name: name.to_owned(),
        kind,
        timing: None,
        is_race: false,
    }
}

fn ran(name: &str) -> Op {
    op(name, OpKind::StepRun { data: json("1") })
}

fn planned(name: &str) -> Op {
    op(name, OpKind::StepPlanned)
}

fn sleep(name: &str, text: &str) -> Op {
    let text = text.to_owned();
    op(name, OpKind::Sleep { text })
}

fn threw(name: &str) -> Op {
    let error = StepError::new("TypeError", "boom");
    op(name, OpKind::StepError { error })
}

fn gave_up(name: &str) -> Op {
    let error = StepError::new("TypeError", "boom");
    op(name, OpKind::StepFailed { error })
}

fn race(op: Op) -> Op {
    Op {
        is_race: true,
        ..op
    }
}

fn reply(ops: Vec<Op>) -> Reply {
    Reply::Ops {
        ops,
        version: Some(2),
        retry: RetryHint::default(),
    }
}

fn failure(retry: RetryHint) -> Reply {
    Reply::Failed(Failure {
        class: FailureClass::Network,
        code: "http_unreachable",
        reason: "Unable to reach SDK URL".to_owned(),
        error: StepError::new("Error", "no"),
        retry,
    })
}

fn after(at: Timestamp) -> String {
    format!("+{}s", at.since(NOW).as_secs())
}

fn words(effect: &Effect) -> String {
    match effect {
        Effect::UseVersion(version) => format!("version {version}"),
        Effect::ForcePlan(force) => format!("plan {}", if *force { "on" } else { "off" }),
        Effect::OpenStep {
            step, kind, group, ..
        } => match group {
            Some(group) => format!("open {step} {kind:?} in {group}"),
            None => format!("open {step} {kind:?}"),
        },
        Effect::EndStep {
            step,
            kind,
            status,
            memo,
            ..
        } => {
            let memo = match memo {
                Memo::Null => "null".to_owned(),
                Memo::Data(data) => format!("data {}", data.as_str()),
                Memo::Verbatim(value) => format!("verbatim {}", value.as_str()),
                Memo::Error(error) => format!("error {}", error.message),
            };
            format!("end {step} {kind:?} {status:?} {memo}")
        }
        Effect::Discover => "discover".to_owned(),
        Effect::RunStep { step } => format!("run {step}"),
        Effect::Wake { step, at } => format!("wake {step} {}", after(*at)),
        Effect::Wait {
            step, event, until, ..
        } => format!("wait {step} {event} {}", after(*until)),
        Effect::Invoke {
            step,
            function,
            until,
            ..
        } => format!("invoke {step} {function} {}", after(*until)),
        Effect::WaitSignal {
            step,
            signal,
            until,
            ..
        } => format!("signal {step} {signal} {}", after(*until)),
        Effect::Fetch { step, .. } => format!("fetch {step}"),
        Effect::Started => "started".to_owned(),
        Effect::FinishBy { at } => format!("finish by {}", after(*at)),
        Effect::FailedAttempt {
            step,
            attempt,
            code,
            next_at,
            ..
        } => {
            let step = step.as_ref().map_or("-", StepId::as_str);
            format!(
                "failed {step} #{attempt} {code} {}",
                next_at.map_or("final".to_owned(), after)
            )
        }
        Effect::Finish(Ending::Completed(output)) => format!("completed {}", output.as_str()),
        Effect::Finish(Ending::Failed { error, .. }) => format!("run failed {}", error.name),
        Effect::Finish(Ending::Cancelled { .. }) => "cancelled".to_owned(),
    }
}

/// A decision in words; a fate other than `Done` comes last.
fn told(decision: &Decision) -> String {
    let mut all: Vec<String> = decision.effects.iter().map(words).collect();
    if let Fate::Retry { at, attempt } = decision.fate {
        all.push(format!("again {} #{attempt}", after(at)));
    }
    all.join("; ")
}

fn decided(run: &Progress, call: &CallInfo, ops: Vec<Op>) -> String {
    told(&decide(run, call, reply(ops), NOW))
}

/// What becomes of one op about step `a` when a discovery brings it and `a` is unknown, open, ended; then when a targeted call brings
/// it that was made for another step, for `a` while it is open, and for `a` after it ended.
fn six(kind: StepKind, kind_of_op: &OpKind) -> [String; 6] {
    let ops = || vec![op("a", kind_of_op.clone())];
    let runs = [
        new_run(2),
        with_open(new_run(2), "a", kind, None),
        with_ended(new_run(2), "a", kind),
    ];
    let found = runs
        .clone()
        .map(|run| decided(&run, &discovery(&run), ops()));
    let [unknown, open, ended] = runs.map(without_discovery);
    let other = with_open(unknown, "z", StepKind::Run, None);
    let [first, second, third] = found;
    let fourth = decided(&other, &targeted(&other, "z"), ops());
    let fifth = decided(&open, &targeted(&open, "a"), ops());
    let sixth = decided(&ended, &targeted(&ended, "a"), ops());
    [first, second, third, fourth, fifth, sixth]
}

const NO_PROGRESS: &str = "failed - #0 no_progress +10s; again +10s #1";
const Z_NOT_FOUND: &str = "failed z #0 step_not_found +10s; again +10s #1";
const A_NOT_FOUND: &str = "failed a #0 step_not_found +10s; again +10s #1";

#[test]
fn steps_under_way_are_begun_once_and_only_by_a_discovery() {
    let request = |is_inference| FetchRequest {
        is_inference,
        opts: json("{}"),
    };
    let (event, timeout) = ("e".to_owned(), "1h".to_owned());
    let table = [
        (StepKind::Run, OpKind::StepPlanned, "open a Run; run a"),
        (
            StepKind::Sleep,
            OpKind::Sleep {
                text: timeout.clone(),
            },
            "open a Sleep; wake a +3600s",
        ),
        (
            StepKind::WaitForEvent,
            OpKind::WaitForEvent {
                event,
                expression: None,
                timeout: timeout.clone(),
            },
            "open a WaitForEvent; wait a e +3600s",
        ),
        (
            StepKind::Invoke,
            OpKind::Invoke {
                function: "f".into(),
                payload: json("{}"),
                timeout: None,
            },
            "open a Invoke; invoke a f +31536000s",
        ),
        (
            StepKind::WaitForSignal,
            OpKind::WaitForSignal {
                signal: "s".into(),
                timeout: Some(timeout),
                replace: false,
            },
            "open a WaitForSignal; signal a s +3600s",
        ),
        (
            StepKind::Fetch,
            OpKind::Fetch(request(false)),
            "open a Fetch; fetch a",
        ),
        (
            StepKind::Infer,
            OpKind::Fetch(request(true)),
            "open a Infer; fetch a",
        ),
    ];
    for (kind, op, begun) in table {
        let expected = [begun, "", NO_PROGRESS, Z_NOT_FOUND, A_NOT_FOUND, "discover"];
        assert_eq!(six(kind, &op), expected, "{op:?}");
    }
}

#[test]
fn results_are_stored_once_whoever_reports_them() {
    let error = StepError::new("TypeError", "boom");
    let again = "failed a #0 step_error +10s; again +10s #1";
    let gave_up = "failed a #0 step_error final; end a Run Failed error boom; discover";
    let table = [
        (
            OpKind::StepRun { data: json("1") },
            "end a Run Completed data 1; discover",
            Z_NOT_FOUND,
        ),
        (
            OpKind::StepVerbatim { data: json("1") },
            "end a Run Completed verbatim 1; discover",
            Z_NOT_FOUND,
        ),
        (
            OpKind::StepError {
                error: error.clone(),
            },
            again,
            again,
        ),
        (OpKind::StepFailed { error }, gave_up, Z_NOT_FOUND),
    ];
    for (op, stored, of_another) in table {
        let expected = [stored, stored, NO_PROGRESS, of_another, stored, "discover"];
        assert_eq!(six(StepKind::Run, &op), expected, "{op:?}");
    }
}

#[test]
fn ops_about_no_step_move_the_run_or_leave_it_to_what_is_outstanding() {
    let function = "f".to_owned();
    let idle = [
        NO_PROGRESS,
        "",
        NO_PROGRESS,
        Z_NOT_FOUND,
        A_NOT_FOUND,
        "discover",
    ];
    let done = "completed 1";
    let table = [
        (OpKind::None, idle),
        (
            OpKind::DeferAdd {
                function,
                input: json("{}"),
            },
            idle,
        ),
        (OpKind::DeferAbort { target: step("d") }, idle),
        (
            OpKind::Discover,
            [
                "discover",
                "discover",
                "discover",
                Z_NOT_FOUND,
                A_NOT_FOUND,
                "discover",
            ],
        ),
        (
            OpKind::RunComplete { data: json("1") },
            [done, done, done, Z_NOT_FOUND, A_NOT_FOUND, done],
        ),
    ];
    for (op, expected) in table {
        assert_eq!(six(StepKind::Run, &op), expected, "{op:?}");
    }
    let run = new_run(2);
    assert_eq!(decided(&run, &discovery(&run), Vec::new()), NO_PROGRESS);
}

#[test]
fn a_step_error_is_tried_again_until_a_hint_or_the_last_attempt_says_otherwise() {
    let last = "failed a #0 step_error final; end a Run Failed error boom; discover";
    let table = [
        (
            None,
            false,
            None,
            false,
            0,
            "failed a #0 step_error +10s; again +10s #1",
        ),
        (
            None,
            false,
            None,
            false,
            1,
            "failed a #1 step_error +10s; again +10s #2",
        ),
        (
            None,
            false,
            None,
            false,
            2,
            "failed a #2 step_error final; end a Run Failed error boom; discover",
        ),
        (
            None,
            false,
            None,
            false,
            u32::MAX,
            "failed a #4294967295 step_error final; end a Run Failed error boom; discover",
        ),
        (
            Some("30"),
            false,
            None,
            false,
            0,
            "failed a #0 step_error +30s; again +30s #1",
        ),
        (
            None,
            false,
            Some("40"),
            false,
            0,
            "failed a #0 step_error +40s; again +40s #1",
        ),
        (
            Some("30"),
            false,
            Some("40"),
            false,
            0,
            "failed a #0 step_error +40s; again +40s #1",
        ),
        (
            Some("soon"),
            false,
            None,
            false,
            0,
            "failed a #0 step_error +10s; again +10s #1",
        ),
        (Some("30"), true, None, false, 0, last),
        (None, false, Some("40"), true, 0, last),
        (
            Some("30"),
            false,
            None,
            false,
            2,
            "failed a #2 step_error final; end a Run Failed error boom; discover",
        ),
    ];
    for (header, header_forbids, own, own_forbids, attempt, expected) in table {
        let run = new_run(2);
        let call = CallInfo {
            attempt,
            ..discovery(&run)
        };
        let error = StepError {
            retry_after: own.map(str::to_owned),
            no_retry: own_forbids,
            ..StepError::new("Error", "boom")
        };
        let retry = RetryHint {
            no_retry: header_forbids,
            after: header.map(str::to_owned),
        };
        let ops = vec![op("a", OpKind::StepError { error })];
        let decision = decide(
            &run,
            &call,
            Reply::Ops {
                ops,
                version: None,
                retry,
            },
            NOW,
        );
        assert_eq!(told(&decision), expected);
    }
}

#[test]
fn step_failed_is_final_whatever_the_headers_say() {
    let run = new_run(2);
    for no_retry in [false, true] {
        let retry = RetryHint {
            no_retry,
            after: Some("30".into()),
        };
        let decision = decide(
            &run,
            &discovery(&run),
            Reply::Ops {
                ops: vec![gave_up("a")],
                version: Some(2),
                retry,
            },
            NOW,
        );
        assert_eq!(
            told(&decision),
            "failed a #0 step_error final; end a Run Failed error boom; discover"
        );
    }
}

#[test]
fn a_failed_call_is_tried_again_until_a_hint_or_the_last_attempt_says_otherwise() {
    let table = [
        (
            None,
            false,
            0,
            "failed - #0 http_unreachable +10s; again +10s #1",
        ),
        (
            None,
            false,
            1,
            "failed - #1 http_unreachable +10s; again +10s #2",
        ),
        (
            None,
            false,
            2,
            "failed - #2 http_unreachable final; run failed Error",
        ),
        (
            Some("30"),
            false,
            0,
            "failed - #0 http_unreachable +30s; again +30s #1",
        ),
        (
            Some("30"),
            true,
            0,
            "failed - #0 http_unreachable final; run failed Error",
        ),
    ];
    for (header, no_retry, attempt, expected) in table {
        let run = new_run(2);
        let call = CallInfo {
            attempt,
            ..discovery(&run)
        };
        let retry = RetryHint {
            no_retry,
            after: header.map(str::to_owned),
        };
        assert_eq!(told(&decide(&run, &call, failure(retry), NOW)), expected);
    }
    let run = with_open(without_discovery(new_run(2)), "a", StepKind::Run, None);
    let call = CallInfo {
        attempt: 2,
        ..targeted(&run, "a")
    };
    let expected = "failed a #2 http_unreachable final; run failed Error";
    assert_eq!(
        told(&decide(&run, &call, failure(RetryHint::default()), NOW)),
        expected
    );
}

#[test]
fn an_error_under_the_id_of_complete_is_the_functions_own() {
    let run = new_run(2);
    let defer = || {
        op(
            "d",
            OpKind::DeferAdd {
                function: "f".into(),
                input: json("{}"),
            },
        )
    };
    let found = decided(&run, &discovery(&run), vec![defer(), threw(COMPLETE_ID)]);
    assert_eq!(found, "failed - #0 function_error +10s; again +10s #1");
    let found = decided(&run, &discovery(&run), vec![defer(), gave_up(COMPLETE_ID)]);
    assert_eq!(
        found,
        "failed - #0 function_error final; run failed TypeError"
    );
}

#[test]
fn a_discovery_that_is_tried_again_asks_for_no_second_one() {
    let run = new_run(2);
    let found = decided(&run, &discovery(&run), vec![ran("a"), threw("b")]);
    assert_eq!(
        found,
        "plan on; end a Run Completed data 1; failed b #0 step_error +10s; again +10s #1"
    );
}

#[test]
fn steps_found_together_are_a_group_that_is_planned() {
    let run = new_run(2);
    let found = decided(&run, &discovery(&run), vec![planned("a"), sleep("s", "1h")]);
    assert_eq!(
        found,
        "plan on; open a Run in 1; run a; open s Sleep in 1; wake s +3600s"
    );
    let found = decided(&run, &discovery(&run), vec![planned("a")]);
    assert_eq!(found, "open a Run; run a", "one step is no group");
    let found = decided(
        &run,
        &discovery(&run),
        vec![race(planned("a")), race(sleep("s", "1h"))],
    );
    assert_eq!(
        found, "plan on; open a Run; run a; open s Sleep; wake s +3600s",
        "racing steps wait for nothing"
    );
    let lazy = op("d", OpKind::DeferAbort { target: step("x") });
    let found = decided(&run, &discovery(&run), vec![lazy, planned("a")]);
    assert_eq!(
        found, "open a Run; run a",
        "a lazy op makes nothing parallel"
    );
}

/// Steps `a` and `b`, planned together, with `a` being called.
fn group(version: i32, force_plan: bool) -> Progress {
    let run = with_open(
        without_discovery(new_run(version)),
        "a",
        StepKind::Run,
        Some(1),
    );
    Progress {
        force_plan,
        ..with_open(run, "b", StepKind::Run, Some(1))
    }
}

#[test]
fn a_group_is_discovered_when_the_last_has_ended_or_for_the_oldest_dialect_each_time() {
    let run = group(2, true);
    assert_eq!(
        decided(&run, &targeted(&run, "a"), vec![ran("a")]),
        "end a Run Completed data 1"
    );
    let run = group(1, true);
    assert_eq!(
        decided(&run, &targeted(&run, "a"), vec![ran("a")]),
        "end a Run Completed data 1; discover"
    );
    let run = group(-1, true);
    let found = decided(&run, &targeted(&run, "a"), vec![ran("a")]);
    assert_eq!(
        found, "version 2; end a Run Completed data 1",
        "the dialect counts from the reply that tells it"
    );
    let run = group(2, true);
    let found = decided(&run, &targeted(&run, "a"), vec![race(ran("a"))]);
    assert_eq!(found, "end a Run Completed data 1; plan off; discover");

    let mut last = with_ended(group(2, true), "a", StepKind::Run);
    last.steps.get_mut(&step("a")).unwrap().group = Some(1);
    let found = decided(&last, &targeted(&last, "b"), vec![gave_up("b")]);
    assert_eq!(
        found,
        "failed b #0 step_error final; end b Run Failed error boom; plan off; discover"
    );
}

#[test]
fn an_error_in_a_group_is_tried_again_by_itself() {
    let run = group(2, true);
    assert_eq!(
        decided(&run, &targeted(&run, "a"), vec![threw("a")]),
        "failed a #0 step_error +10s; again +10s #1"
    );
}

#[test]
fn a_new_step_beside_a_loser_that_is_reported_again_is_no_group_with_it() {
    let run = with_open(new_run(2), "loser", StepKind::Run, None);
    let found = decided(
        &run,
        &discovery(&run),
        vec![planned("loser"), planned("next")],
    );
    assert_eq!(found, "plan on; open next Run; run next");
    let run = Progress { revision: 6, ..run };
    let found = decided(
        &run,
        &discovery(&run),
        vec![planned("loser"), planned("b"), planned("c")],
    );
    assert_eq!(
        found,
        "plan on; open b Run in 7; run b; open c Run in 7; run c"
    );
}

#[test]
fn forced_planning_ends_with_the_next_discovery_of_the_newer_dialects_only() {
    for (version, expected) in [
        (2, "end a Run Completed data 1; plan off; discover"),
        (1, "end a Run Completed data 1; discover"),
    ] {
        let run = with_open(
            without_discovery(new_run(version)),
            "a",
            StepKind::Run,
            None,
        );
        let run = Progress {
            force_plan: true,
            ..run
        };
        assert_eq!(
            decided(&run, &targeted(&run, "a"), vec![ran("a")]),
            expected,
            "version {version}"
        );
    }
    let run = Progress {
        force_plan: true,
        ..new_run(2)
    };
    let found = decided(&run, &discovery(&run), vec![ran("a"), ran("b")]);
    assert_eq!(
        found, "end a Run Completed data 1; end b Run Completed data 1; discover",
        "a parallel reply keeps it"
    );
    let found = decided(&run, &discovery(&run), vec![planned("a")]);
    assert_eq!(found, "open a Run; run a", "without a discovery it stays");
}

#[test]
fn a_discovery_that_worked_from_an_older_state_is_followed_by_another() {
    let run = with_open(
        with_ended(new_run(2), "a", StepKind::Run),
        "b",
        StepKind::Run,
        None,
    );
    let stale = CallInfo {
        stack_len: 0,
        ..discovery(&run)
    };
    for (ops, expected) in [
        (vec![planned("a"), planned("b")], "plan on; discover"),
        (vec![op("x", OpKind::None)], "discover"),
        (vec![ran("a")], "discover"),
        (vec![planned("c")], "open c Run; run c; discover"),
        (vec![ran("c")], "end c Run Completed data 1; discover"),
    ] {
        assert_eq!(decided(&run, &stale, ops), expected);
    }
    assert_eq!(
        decided(&run, &discovery(&run), vec![planned("a"), planned("b")]),
        "plan on"
    );
}

#[test]
fn at_most_one_discovery_is_outstanding() {
    let mut run = with_open(new_run(2), "a", StepKind::Run, None);
    assert_eq!(
        decided(&run, &targeted(&run, "a"), vec![ran("a")]),
        "end a Run Completed data 1",
        "one is outstanding"
    );
    let found = resolve(
        &run,
        work_id("x"),
        &step("a"),
        StepStatus::Completed,
        Memo::Null,
        NOW,
    );
    assert_eq!(told(&found), "end a Run Completed null");
    run.work
        .insert(work_id("second"), (JobKind::Discover, None));
    let found = decided(
        &run,
        &discovery(&run),
        vec![ran("c"), op("x", OpKind::Discover)],
    );
    assert_eq!(found, "plan on; end c Run Completed data 1");
}

#[test]
fn timeouts_of_the_run_do_not_count_as_something_to_wait_for() {
    let mut run = new_run(2);
    run.work
        .insert(work_id("timeout:finish"), (JobKind::FinishTimeout, None));
    run.work
        .insert(work_id("timeout:start"), (JobKind::StartTimeout, None));
    assert_eq!(
        decided(&run, &discovery(&run), vec![op("x", OpKind::None)]),
        NO_PROGRESS
    );
    run.work
        .insert(work_id("resume:w"), (JobKind::Resume, Some(step("w"))));
    assert_eq!(
        decided(&run, &discovery(&run), vec![op("x", OpKind::None)]),
        ""
    );
}

#[test]
fn a_return_value_ends_the_run_unless_a_planned_step_was_called_that_has_no_result() {
    let returned = || Reply::Returned { output: json("1") };
    let run = with_open(new_run(2), "a", StepKind::Run, None);
    assert_eq!(
        told(&decide(&run, &discovery(&run), returned(), NOW)),
        "completed 1"
    );
    assert_eq!(
        told(&decide(&run, &targeted(&run, "a"), returned(), NOW)),
        A_NOT_FOUND
    );
    let last = CallInfo {
        attempt: 2,
        ..targeted(&run, "a")
    };
    assert_eq!(
        told(&decide(&run, &last, returned(), NOW)),
        "failed a #2 step_not_found final; run failed Error"
    );
    let run = with_ended(new_run(2), "a", StepKind::Run);
    assert_eq!(
        told(&decide(&run, &targeted(&run, "a"), returned(), NOW)),
        "completed 1"
    );
}

#[test]
fn steps_that_come_with_the_end_of_the_run_are_stored() {
    let run = new_run(2);
    let done = || op(COMPLETE_ID, OpKind::RunComplete { data: json("2") });
    let found = decided(&run, &discovery(&run), vec![ran("a"), done()]);
    assert_eq!(found, "plan on; end a Run Completed data 1; completed 2");
    let run = with_open(without_discovery(new_run(2)), "a", StepKind::Run, None);
    let found = decided(&run, &targeted(&run, "a"), vec![ran("a"), done()]);
    assert_eq!(found, "plan on; end a Run Completed data 1; completed 2");
}

#[test]
fn the_first_of_two_reports_in_one_reply_counts() {
    let run = new_run(2);
    for (ops, expected) in [
        (
            vec![ran("a"), gave_up("a")],
            "plan on; end a Run Completed data 1; discover",
        ),
        (
            vec![gave_up("a"), gave_up("a")],
            "plan on; failed a #0 step_error final; end a Run Failed error boom; discover",
        ),
        (
            vec![ran("a"), threw("a")],
            "plan on; end a Run Completed data 1; discover",
        ),
        (
            vec![ran("a"), planned("a")],
            "plan on; end a Run Completed data 1; discover",
        ),
        (
            vec![planned("a"), sleep("a", "1h")],
            "plan on; open a Run; run a",
        ),
    ] {
        assert_eq!(decided(&run, &discovery(&run), ops), expected);
    }
}

#[test]
fn a_result_keeps_the_name_and_kind_under_which_its_step_was_opened() {
    let run = with_open(new_run(2), "a", StepKind::Sleep, None);
    let found = decided(
        &run,
        &discovery(&run),
        vec![Op {
            name: "other".into(),
            ..ran("a")
        }],
    );
    assert_eq!(found, "end a Sleep Completed data 1; discover");
}

#[test]
fn the_dialect_is_taken_from_the_first_reply_that_tells_it() {
    for (known, told_now, expected) in [
        (-1, Some(2), "version 2; open a Run; run a"),
        (-1, Some(0), "version 0; open a Run; run a"),
        (-1, Some(-1), "open a Run; run a"),
        (-1, None, "open a Run; run a"),
        (1, Some(2), "open a Run; run a"),
        (2, Some(1), "open a Run; run a"),
    ] {
        let run = new_run(known);
        let reply = Reply::Ops {
            ops: vec![planned("a")],
            version: told_now,
            retry: RetryHint::default(),
        };
        assert_eq!(
            told(&decide(&run, &discovery(&run), reply, NOW)),
            expected,
            "{known} {told_now:?}"
        );
    }
}

#[test]
fn the_thousandth_step_is_the_last() {
    for (before, expected) in [
        (limits::STEPS_PER_RUN - 2, "open new Run; run new"),
        (limits::STEPS_PER_RUN - 1, "open new Run; run new"),
        (
            limits::STEPS_PER_RUN,
            "run failed InngestErrFunctionOverflowed",
        ),
    ] {
        let run = (0..before).fold(new_run(2), |run, n| {
            with_ended(run, &format!("s{n}"), StepKind::Run)
        });
        assert_eq!(
            decided(&run, &discovery(&run), vec![planned("new")]),
            expected,
            "{before} steps before"
        );
    }
    let run = (0..limits::STEPS_PER_RUN).fold(new_run(2), |run, n| {
        with_open(run, &format!("s{n}"), StepKind::Run, None)
    });
    assert_eq!(
        decided(&run, &discovery(&run), vec![ran("s0")]),
        "end s0 Run Completed data 1; discover",
        "it is no new step"
    );
}

#[test]
fn state_may_fill_its_limit_but_not_more() {
    let big = |len: usize| json(&format!("\"{}\"", "x".repeat(len - 2)));
    let run = |spare: usize| {
        let mut run = new_run(2);
        run.events[0].1 = big(limits::STATE_BYTES - spare);
        run
    };
    let result = |len: usize| vec![op("a", OpKind::StepRun { data: big(len) })];
    for (spare, len, overflows) in [(101, 100, false), (100, 100, false), (99, 100, true)] {
        let run = run(spare);
        let found = decided(&run, &discovery(&run), result(len));
        assert_eq!(
            found == "run failed InngestErrStateOverflowed",
            overflows,
            "{len} bytes into {spare}"
        );
    }
    let full = with_open(run(1), "s", StepKind::Sleep, None);
    let found = resolve(
        &full,
        work_id("step:s"),
        &step("s"),
        StepStatus::Completed,
        Memo::Verbatim(json("[1,2]")),
        NOW,
    );
    assert_eq!(told(&found), "run failed InngestErrStateOverflowed");
}

#[test]
fn one_reply_may_hold_a_thousand_ops() {
    let run = new_run(2);
    let ops = |count: usize| (0..count).map(|n| planned(&format!("s{n}"))).collect();
    let decision = decide(
        &run,
        &discovery(&run),
        reply(ops(limits::OPS_PER_REPLY)),
        NOW,
    );
    assert_eq!(decision.effects.len(), 1 + 2 * limits::OPS_PER_REPLY);
    let found = decided(&run, &discovery(&run), ops(limits::OPS_PER_REPLY + 1));
    assert_eq!(found, "run failed InngestErrFunctionOverflowed");
}

#[test]
fn a_time_is_read_or_the_attempt_fails_and_is_within_a_year_or_the_run_fails() {
    let unreadable = "failed - #0 invalid_duration +10s; again +10s #1";
    let too_long = "run failed InngestErrTimeoutTooLong";
    for (text, expected) in [
        ("1h", "open s Sleep; wake s +3600s"),
        ("", "open s Sleep; wake s +0s"),
        ("2020-01-01T00:00:00Z", "open s Sleep; wake s +0s"),
        ("2023-11-14T23:13:20.000Z", "open s Sleep; wake s +3600s"),
        ("366d", "open s Sleep; wake s +31622400s"),
        ("366d1ms", too_long),
        ("9999-01-01T00:00:00Z", too_long),
        ("tomorrow", unreadable),
    ] {
        let run = new_run(2);
        assert_eq!(
            decided(&run, &discovery(&run), vec![sleep("s", text)]),
            expected,
            "{text}"
        );
        let timed = |kind| vec![op("s", kind)];
        let timeout = text.to_owned();
        let wait = OpKind::WaitForEvent {
            event: "e".into(),
            expression: None,
            timeout: timeout.clone(),
        };
        let invoke = OpKind::Invoke {
            function: "f".into(),
            payload: json("{}"),
            timeout: Some(timeout.clone()),
        };
        let signal = OpKind::WaitForSignal {
            signal: "n".into(),
            timeout: Some(timeout),
            replace: true,
        };
        for kind in [wait, invoke, signal] {
            let found = decided(&run, &discovery(&run), timed(kind));
            let is_refused = [unreadable, too_long].contains(&expected);
            assert!(
                if is_refused {
                    found == expected
                } else {
                    found.starts_with("open s")
                },
                "{text}: {found}"
            );
        }
    }
}

#[test]
fn a_wait_with_an_invalid_condition_fails_the_run() {
    let run = new_run(2);
    let wait = |expression: &str| {
        let kind = OpKind::WaitForEvent {
            event: "e".into(),
            expression: Some(expression.into()),
            timeout: "1h".into(),
        };
        vec![op("w", kind)]
    };
    assert_eq!(
        decided(&run, &discovery(&run), wait("async.data.x ==")),
        "run failed InvalidExpression"
    );
    assert_eq!(
        decided(&run, &discovery(&run), wait("async.data.x == 1")),
        "open w WaitForEvent; wait w e +3600s"
    );
}

#[test]
fn nothing_of_a_reply_counts_when_the_run_ends_by_a_rule_or_the_attempt_fails() {
    let run = new_run(2);
    for (bad, expected) in [
        (sleep("s", "400d"), "run failed InngestErrTimeoutTooLong"),
        (
            sleep("s", "soon"),
            "failed - #0 invalid_duration +10s; again +10s #1",
        ),
    ] {
        assert_eq!(
            decided(&run, &discovery(&run), vec![ran("a"), bad]),
            expected
        );
    }
}

#[test]
fn what_a_step_waited_for_ends_it_once() {
    let resolved = |run: &Progress, name: &str| {
        let memo = Memo::Verbatim(json("{}"));
        told(&resolve(
            run,
            work_id(&format!("step:{name}")),
            &step(name),
            StepStatus::Completed,
            memo,
            NOW,
        ))
    };
    let alone = || without_discovery(new_run(2));
    let run = with_open(alone(), "s", StepKind::Sleep, None);
    assert_eq!(
        resolved(&run, "s"),
        "end s Sleep Completed verbatim {}; discover"
    );
    let run = with_ended(new_run(2), "s", StepKind::Sleep);
    assert_eq!(resolved(&run, "s"), "", "the first result wins");
    assert_eq!(resolved(&new_run(2), "s"), "", "nobody knows the step");
    let run = with_ended(alone(), "s", StepKind::Sleep);
    assert_eq!(
        resolved(&run, "s"),
        "discover",
        "nothing else would move the run"
    );

    let grouped = |version| {
        let run = with_open(
            without_discovery(new_run(version)),
            "s",
            StepKind::Sleep,
            Some(1),
        );
        Progress {
            force_plan: true,
            ..with_open(run, "b", StepKind::Run, Some(1))
        }
    };
    assert_eq!(
        resolved(&grouped(2), "s"),
        "end s Sleep Completed verbatim {}",
        "its group is not done"
    );
    assert_eq!(
        resolved(&grouped(1), "s"),
        "end s Sleep Completed verbatim {}; discover"
    );
}

#[test]
fn planning_goes_on_while_a_planned_step_has_no_result() {
    let run = new_run(2);
    assert!(!run.must_plan());
    assert!(with_open(run.clone(), "a", StepKind::Run, None).must_plan());
    assert!(!with_open(run.clone(), "s", StepKind::Sleep, None).must_plan());
    assert!(!with_ended(run.clone(), "a", StepKind::Run).must_plan());
    assert!(
        Progress {
            force_plan: true,
            ..run
        }
        .must_plan()
    );
}
