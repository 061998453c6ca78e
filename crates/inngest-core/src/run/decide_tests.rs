//! What becomes of each op, one reply at a time. Effects are compared as words, so that a table reads like the rules.

use std::{collections::HashMap, time::Duration};

pub(super) use crate::{
    job::JobKind,
    limits,
    op::{Op, OpKind},
    run::draft::COMPLETE_ID,
};

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

pub(super) fn json(text: &str) -> Json {
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
        rerun: None,
        trace: None,
    }
}

pub(super) fn with_open(
    mut run: Progress,
    name: &str,
    kind: StepKind,
    group: Option<u32>,
) -> Progress {
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

pub(super) fn with_ended(run: Progress, name: &str, kind: StepKind) -> Progress {
    let mut run = with_open(run, name, kind, None);
    run.work.remove(&work_id(&format!("step:{name}")));
    if let Some(state) = run.steps.get_mut(&step(name)) {
        state.status = StepStatus::Completed;
        state.memo = Some(json(r#"{"data":1}"#));
    }
    run.stack.push(step(name));
    run
}

pub(super) fn without_discovery(mut run: Progress) -> Progress {
    run.work.remove(&work_id("discover"));
    run
}

/// A call that was sent all that the run knows.
pub(super) fn discovery(run: &Progress) -> CallInfo {
    CallInfo {
        work: work_id("discover"),
        target: None,
        attempt: 0,
        sent_len: run.stack.len(),
        stack_len: run.stack.len(),
        policy: RetryPolicy {
            max_attempts: 3,
            interval: Some(AGAIN),
            jitter: 0.0,
        },
        limits: RunLimits::default(),
    }
}

pub(super) fn targeted(run: &Progress, name: &str) -> CallInfo {
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
        sort: None,
        told: crate::run::StepTold::default(),
        is_race: false,
    }
}

pub(super) fn ran(name: &str) -> Op {
    op(name, OpKind::StepRun { data: json("1") })
}

pub(super) fn planned(name: &str) -> Op {
    op(name, OpKind::StepPlanned)
}

pub(super) fn sleep(name: &str, text: &str) -> Op {
    let text = text.to_owned();
    op(name, OpKind::Sleep { text })
}

pub(super) fn threw(name: &str) -> Op {
    let error = StepError::new("TypeError", "boom");
    op(name, OpKind::StepError { error })
}

pub(super) fn gave_up(name: &str) -> Op {
    let error = StepError::new("TypeError", "boom");
    op(name, OpKind::StepFailed { error })
}

pub(super) fn race(op: Op) -> Op {
    Op {
        is_race: true,
        ..op
    }
}

pub(super) fn reply(ops: Vec<Op>) -> Reply {
    Reply::Ops {
        ops,
        version: Some(2),
        retry: RetryHint::default(),
    }
}

pub(super) fn failure(retry: RetryHint) -> Reply {
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
        Effect::Sort { step, sort } => format!("{step} is {sort}"),
        Effect::Tell { step, told } => {
            let id = told.code_id.as_ref().map_or("", |it| it.id.as_str());
            format!("{step} is `{id}` in code")
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
pub(super) fn told(decision: &Decision) -> String {
    let mut all: Vec<String> = decision.effects.iter().map(words).collect();
    if let Fate::Retry { at, attempt } = decision.fate {
        all.push(format!("again {} #{attempt}", after(at)));
    }
    all.join("; ")
}

pub(super) fn decided(run: &Progress, call: &CallInfo, ops: Vec<Op>) -> String {
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

pub(super) const NO_PROGRESS: &str = "failed - #0 no_progress +10s; again +10s #1";
const Z_NOT_FOUND: &str = "failed z #0 step_not_found +10s; again +10s #1";
pub(super) const A_NOT_FOUND: &str = "failed a #0 step_not_found +10s; again +10s #1";

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

/// The work that a step of this kind leaves outstanding until it ends.
pub(super) fn work_of(kind: StepKind) -> JobKind {
    match kind {
        StepKind::Run => JobKind::RunStep,
        StepKind::Sleep => JobKind::Wake,
        StepKind::WaitForEvent | StepKind::Invoke | StepKind::WaitForSignal => JobKind::WaitTimeout,
        StepKind::Fetch | StepKind::Infer => JobKind::Fetch,
    }
}
