//! What holds for every reply to every run, and for every order in which calls, timers and faults can interleave.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use super::{tests::*, *};
use crate::run::progress::StepState;

/// The run after a decision, as whoever records it keeps it; none once it has ended.
pub(super) fn apply(run: &Progress, work: WorkId, decision: &Decision) -> Option<Progress> {
    let mut run = run.clone();
    run.revision += 1;
    let begin = |run: &mut Progress, label: String, kind: JobKind, step: Option<&StepId>| {
        run.work.insert(work_id(&label), (kind, step.cloned()));
    };
    for effect in &decision.effects {
        match effect {
            Effect::UseVersion(version) => run.request_version = *version,
            Effect::ForcePlan(force) => run.force_plan = *force,
            Effect::OpenStep {
                step,
                name,
                kind,
                group,
            } => {
                run.steps
                    .insert(step.clone(), open_state(name, *kind, *group));
            }
            Effect::EndStep {
                step,
                name,
                kind,
                status,
                ..
            } => {
                let state = run
                    .steps
                    .entry(step.clone())
                    .or_insert_with(|| open_state(name, *kind, None));
                state.status = *status;
                state.memo = Some(Json::null());
                run.stack.push(step.clone());
                run.work
                    .retain(|id, (_, of)| of.as_ref() != Some(step) || *id == work);
            }
            Effect::Discover => {
                let label = format!("discover:{}", run.revision);
                begin(&mut run, label, JobKind::Discover, None);
            }
            Effect::RunStep { step } => {
                begin(
                    &mut run,
                    format!("step:{step}"),
                    JobKind::RunStep,
                    Some(step),
                );
            }
            Effect::Wake { step, .. } => {
                begin(&mut run, format!("step:{step}"), JobKind::Wake, Some(step));
            }
            Effect::Wait { step, .. }
            | Effect::Invoke { step, .. }
            | Effect::WaitSignal { step, .. } => {
                begin(
                    &mut run,
                    format!("step:{step}"),
                    JobKind::WaitTimeout,
                    Some(step),
                );
            }
            Effect::Fetch { step, .. } => {
                begin(&mut run, format!("step:{step}"), JobKind::Fetch, Some(step));
            }
            Effect::Sort { .. }
            | Effect::Tell { .. }
            | Effect::Started
            | Effect::FinishBy { .. }
            | Effect::FailedAttempt { .. } => {}
            Effect::Finish(_) => return None,
        }
    }
    if decision.fate == Fate::Done {
        run.work.remove(&work);
    }
    Some(run)
}

fn open_state(name: &str, kind: StepKind, group: Option<u32>) -> StepState {
    StepState {
        name: name.to_owned(),
        kind,
        status: StepStatus::Open,
        memo: None,
        group,
    }
}

/// What must hold of every decision.
pub(super) fn check(run: &Progress, work: WorkId, decision: &Decision) {
    let (mut opened, mut ended) = (HashSet::new(), HashSet::new());
    for (index, effect) in decision.effects.iter().enumerate() {
        match effect {
            Effect::OpenStep { step, .. } => {
                assert!(!run.steps.contains_key(step), "{step} is known");
                assert!(opened.insert(step), "{step} is opened twice");
            }
            Effect::EndStep { step, .. } => {
                assert!(!run.has_ended(step), "{step} has ended");
                assert!(ended.insert(step), "{step} ends twice");
            }
            Effect::UseVersion(version) => {
                assert!(
                    run.request_version < 0 && *version >= 0,
                    "the dialect changes"
                );
            }
            Effect::Finish(_) => {
                assert_eq!(
                    index + 1,
                    decision.effects.len(),
                    "something follows the end"
                );
                assert_eq!(decision.fate, Fate::Done, "the run goes on after its end");
            }
            _ => {}
        }
    }
    let discoveries = |run: &Progress| {
        let kinds = run.work.values();
        kinds.filter(|(kind, _)| *kind == JobKind::Discover).count()
    };
    let Some(next) = apply(run, work, decision) else {
        return;
    };
    assert!(
        discoveries(&next) <= discoveries(run).max(1),
        "a second discovery"
    );
    assert!(next.stack.starts_with(&run.stack), "the stack changed");
    if decision.fate == Fate::Done {
        let other = WorkId::from_raw(uuid::Uuid::nil());
        assert!(
            next.is_waiting(other),
            "the run is stuck after {decision:?}"
        );
    }
    for (step, state) in &next.steps {
        let has_work = next.work.values().any(|(_, of)| of.as_ref() == Some(step));
        assert!(
            state.status.is_ended() || has_work,
            "nothing is done about {step}"
        );
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", COMPLETE_ID];

fn names() -> impl Strategy<Value = StepId> {
    prop::sample::select(&NAMES[..]).prop_map(step)
}

fn kinds() -> impl Strategy<Value = StepKind> {
    prop::sample::select(StepKind::ALL)
}

/// A run whose open steps all have work outstanding, as every recorded decision leaves it.
fn runs() -> impl Strategy<Value = Progress> {
    let steps = vec(
        (names(), kinds(), any::<bool>(), prop::option::of(1..3u32)),
        0..6,
    );
    let more = prop::sample::subsequence(&JobKind::ALL[..], 0..3);
    let flags = (any::<bool>(), any::<bool>());
    (-1..3i32, steps, flags, more, 0..5u64).prop_map(
        |(version, steps, (force_plan, has_discovery), more, revision)| {
            let mut run = new_run(version);
            run.force_plan = force_plan;
            run.revision = revision;
            if !has_discovery {
                run.work.clear();
            }
            for (step, kind, is_ended, group) in steps {
                if run.steps.contains_key(&step) {
                    continue;
                }
                let mut state = open_state(step.as_str(), kind, group);
                if is_ended {
                    state.status = StepStatus::Completed;
                    state.memo = Some(Json::null());
                    run.stack.push(step.clone());
                } else {
                    let work = (work_of(kind), Some(step.clone()));
                    run.work.insert(work_id(&format!("step:{step}")), work);
                }
                run.steps.insert(step, state);
            }
            for kind in more.into_iter().filter(|kind| *kind != JobKind::Discover) {
                run.work.insert(work_id(&format!("{kind:?}")), (kind, None));
            }
            run
        },
    )
}

fn errors() -> impl Strategy<Value = StepError> {
    (any::<bool>(), prop::option::of(texts())).prop_map(|(no_retry, retry_after)| StepError {
        no_retry,
        retry_after,
        ..StepError::new("Error", "boom")
    })
}

fn texts() -> impl Strategy<Value = String> {
    let known = prop::sample::select(
        &[
            "",
            "1h",
            "30",
            "400d",
            "366d",
            "2030-01-01",
            "x",
            "async.data.a == 1",
            "==",
        ][..],
    );
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,20}"]
}

fn ops() -> impl Strategy<Value = Op> {
    let request = any::<bool>().prop_map(|is_inference| FetchRequest {
        is_inference,
        opts: Json::empty_object(),
    });
    let kind = prop_oneof![
        Just(OpKind::None),
        Just(OpKind::StepRun { data: Json::null() }),
        Just(OpKind::StepVerbatim { data: Json::null() }),
        errors().prop_map(|error| OpKind::StepError { error }),
        errors().prop_map(|error| OpKind::StepFailed { error }),
        Just(OpKind::StepPlanned),
        texts().prop_map(|text| OpKind::Sleep { text }),
        (texts(), prop::option::of(texts()), texts()).prop_map(|(event, expression, timeout)| {
            OpKind::WaitForEvent {
                event,
                expression,
                timeout,
            }
        }),
        (texts(), prop::option::of(texts())).prop_map(|(function, timeout)| OpKind::Invoke {
            function,
            payload: Json::null(),
            timeout
        }),
        (texts(), prop::option::of(texts()), any::<bool>()).prop_map(
            |(signal, timeout, replace)| OpKind::WaitForSignal {
                signal,
                timeout,
                replace
            }
        ),
        request.prop_map(OpKind::Fetch),
        Just(OpKind::RunComplete { data: Json::null() }),
        Just(OpKind::Discover),
        texts().prop_map(|function| OpKind::DeferAdd {
            function,
            input: Json::null()
        }),
        names().prop_map(|target| OpKind::DeferAbort { target }),
    ];
    let sort = prop::option::of(texts());
    (names(), kind, sort, any::<bool>()).prop_map(|(step, kind, sort, is_race)| Op {
        name: step.to_string(),
        step,
        kind,
        timing: None,
        sort,
        told: crate::run::StepTold::default(),
        is_race,
    })
}

fn replies() -> impl Strategy<Value = Reply> {
    let hint = || {
        (any::<bool>(), prop::option::of(texts()))
            .prop_map(|(no_retry, after)| RetryHint { no_retry, after })
    };
    let failure = (errors(), hint()).prop_map(|(error, retry)| {
        Reply::Failed(Failure {
            class: FailureClass::Network,
            code: "http_unreachable",
            reason: String::new(),
            error,
            retry,
        })
    });
    prop_oneof![
        8 => (vec(ops(), 0..7), prop::option::of(-1..3i32), hint())
            .prop_map(|(ops, version, retry)| Reply::Ops { ops, version, retry }),
        1 => Just(Reply::Returned { output: Json::null() }),
        1 => failure,
    ]
}

fn calls() -> impl Strategy<Value = (Option<StepId>, u32, u32, usize, bool, f64)> {
    let attempt = prop_oneof![4 => 0..4u32, 1 => any::<u32>()];
    (
        prop::option::of(names()),
        attempt,
        0..5u32,
        0..4usize,
        any::<bool>(),
        any::<f64>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reply_to_every_call_moves_the_run_and_is_harmless_the_second_time(
        run in runs(),
        (target, attempt, max_attempts, unseen, is_fixed, jitter) in calls(),
        reply in replies(),
    ) {
        let work = target.as_ref().map_or(work_id("discover"), |step| work_id(&format!("step:{step}")));
        let interval = is_fixed.then_some(std::time::Duration::MAX);
        let call = CallInfo {
            work,
            target,
            attempt,
            sent_len: run.stack.len().saturating_sub(unseen),
            stack_len: run.stack.len().saturating_sub(unseen),
            policy: RetryPolicy { max_attempts, interval, jitter },
            limits: RunLimits::default(),
        };
        let decision = decide(&run, &call, reply.clone(), NOW);
        check(&run, work, &decision);
        if let Some(next) = apply(&run, work, &decision) {
            check(&next, work, &decide(&next, &call, reply, NOW));
        }
    }

    #[test]
    fn every_end_of_a_wait_moves_the_run_and_is_harmless_the_second_time(run in runs(), step in names(), timed_out in any::<bool>()) {
        let work = work_id(&format!("step:{step}"));
        let status = if timed_out { StepStatus::TimedOut } else { StepStatus::Completed };
        let decision = resolve(&run, work, &step, status, Memo::Null, RunLimits::default(), NOW);
        check(&run, work, &decision);
        if let Some(next) = apply(&run, work, &decision) {
            check(&next, work, &resolve(&next, work, &step, status, Memo::Null, RunLimits::default(), NOW));
        }
    }
}
