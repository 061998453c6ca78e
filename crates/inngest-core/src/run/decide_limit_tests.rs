//! What a run may have at most, and how it ends when it has more.

use super::{tests::*, *};

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
        RunLimits::default(),
        NOW,
    );
    assert_eq!(told(&found), "run failed InngestErrStateOverflowed");
}

#[test]
fn other_limits_end_a_run_where_they_say_and_are_named() {
    let mut run = with_ended(new_run(2), "a", StepKind::Run);
    let state = run.state_bytes();
    let limits = |steps, state_bytes| CallInfo {
        limits: RunLimits { steps, state_bytes },
        ..discovery(&run)
    };
    let ended = |decision: &Decision| match decision.effects.as_slice() {
        [Effect::Finish(Ending::Failed { error, .. })] => {
            Some((error.name.clone(), error.message.clone(), error.no_retry))
        }
        _ => None,
    };
    let steps = "The function run exceeded the step limit of 1 steps.";
    let bytes = format!("The function run exceeded the state size limit of {state} bytes.");
    for (call, ops, expected) in [
        (limits(2, usize::MAX), vec![ran("b")], None),
        (
            limits(1, usize::MAX),
            vec![ran("b")],
            Some(("InngestErrFunctionOverflowed", steps)),
        ),
        (
            limits(1, usize::MAX),
            vec![planned("b")],
            Some(("InngestErrFunctionOverflowed", steps)),
        ),
        (limits(2, state + 1), vec![ran("b")], None),
        (
            limits(2, state),
            vec![ran("b")],
            Some(("InngestErrStateOverflowed", bytes.as_str())),
        ),
        // What brings no result is not too large.
        (limits(2, 1), vec![planned("b")], None),
    ] {
        let decision = decide(&run, &call, reply(ops), NOW);
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned(), true));
        assert_eq!(ended(&decision), expected, "{:?}", call.limits);
    }
    run = with_open(run, "s", StepKind::Sleep, None);
    let lowered = RunLimits {
        steps: 1,
        ..RunLimits::default()
    };
    let found = resolve(
        &run,
        work_id("step:s"),
        &step("s"),
        StepStatus::Completed,
        Memo::Null,
        lowered,
        NOW,
    );
    assert_eq!(
        told(&found),
        "run failed InngestErrFunctionOverflowed",
        "a limit that was lowered under a run ends it with its next result"
    );
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
