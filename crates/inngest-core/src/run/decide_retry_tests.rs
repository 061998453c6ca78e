//! What becomes of failures: which are tried again, when, and which are the last.

use super::{tests::*, *};

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
