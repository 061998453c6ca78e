//! What holds for a run as a whole: parallel steps, discoveries, and the ends of waits.

use super::{tests::*, *};
use crate::run::CodeId;

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
        sent_len: 0,
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
        RunLimits::default(),
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
fn what_an_sdk_calls_code_is_kept_with_the_first_report_of_the_step() {
    let sorted = |op: Op| Op {
        sort: Some("step.sendEvent".to_owned()),
        ..op
    };
    let (new, open) = (new_run(2), with_open(new_run(2), "a", StepKind::Run, None));
    let error = || OpKind::StepError {
        error: StepError::new("Error", "boom"),
    };
    for (run, op, expected) in [
        (
            &new,
            sorted(planned("a")),
            "open a Run; run a; a is step.sendEvent",
        ),
        (
            &new,
            sorted(ran("a")),
            "end a Run Completed data 1; a is step.sendEvent; discover",
        ),
        (
            &open,
            sorted(ran("a")),
            "end a Run Completed data 1; discover",
        ),
        (
            &new,
            sorted(sleep("a", "1h")),
            "open a Sleep; wake a +3600s",
        ),
        (
            &new,
            sorted(op("a", error())),
            "failed a #0 step_error +10s; again +10s #1",
        ),
    ] {
        assert_eq!(decided(run, &discovery(run), vec![op]), expected);
    }
}

#[test]
fn what_an_app_says_of_a_step_is_kept_with_the_first_report_whatever_the_step_does() {
    let named = |op: Op| Op {
        told: StepTold {
            code_id: Some(CodeId {
                id: "charge".to_owned(),
                index: None,
            }),
            input: None,
        },
        ..op
    };
    let (new, open) = (new_run(2), with_open(new_run(2), "a", StepKind::Run, None));
    let error = StepError::new("Error", "boom");
    for (run, op, expected) in [
        (
            &new,
            named(planned("a")),
            "open a Run; run a; a is `charge` in code",
        ),
        (
            &new,
            named(sleep("a", "1h")),
            "open a Sleep; wake a +3600s; a is `charge` in code",
        ),
        (
            &open,
            named(ran("a")),
            "end a Run Completed data 1; discover",
        ),
        (
            &new,
            named(op("a", OpKind::StepError { error })),
            "failed a #0 step_error +10s; again +10s #1",
        ),
    ] {
        assert_eq!(decided(run, &discovery(run), vec![op]), expected);
    }
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
            RunLimits::default(),
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

#[test]
fn a_step_reported_again_because_its_checkpoint_was_not_answered_moves_the_run() {
    let run = with_ended(without_discovery(new_run(2)), "a", StepKind::Run);
    let call = CallInfo {
        sent_len: 0,
        ..discovery(&run)
    };
    assert_eq!(decided(&run, &call, vec![ran("a")]), "discover");
}
