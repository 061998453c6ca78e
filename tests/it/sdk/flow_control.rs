//! Batches, debounce, rate limits, throttling, concurrency and singletons.

use std::time::Duration;

use inngest_tests::{
    scenario::Scenario,
    wait::{DEADLINE, holds_for, wait_until},
};
use serde_json::json;

use crate::functions::elapsed_ms;

scenarios! {
    all:
        a_full_batch_is_one_run
        a_batch_that_does_not_fill_starts_after_its_timeout
        a_debounced_function_sees_the_last_event
        a_rate_limited_function_drops_what_is_too_much
        a_throttled_function_delays_what_is_too_much
        a_concurrency_limit_keeps_steps_apart
        a_singleton_skips_the_second_run
        a_singleton_cancels_the_first_run;
}

fn a_full_batch_is_one_run(s: &Scenario) {
    for n in 0..3 {
        s.send("batched", json!({ "n": n }));
    }
    let mut numbers: Vec<_> = s.noted("batch")["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    numbers.sort_by_key(serde_json::Value::as_i64);
    assert_eq!(numbers, [json!(0), json!(1), json!(2)]);
    assert_eq!(s.count("batch"), 1);
}

fn a_batch_that_does_not_fill_starts_after_its_timeout(s: &Scenario) {
    let started = s.send("batched", json!({ "n": 7 }));
    assert_eq!(s.noted("batch")["data"], json!([7]));
    assert_eq!(started.completed(), json!(1));
}

fn a_debounced_function_sees_the_last_event(s: &Scenario) {
    for n in 0..4 {
        s.send("debounced", json!({ "n": n }));
    }
    assert_eq!(s.noted("called")["data"], json!(3));
    holds_for("there is one run", Duration::from_millis(1500), || {
        s.count("called") == 1
    });
}

fn a_rate_limited_function_drops_what_is_too_much(s: &Scenario) {
    s.send("rate-limited", json!({})).completed();
    let second = s.send("rate-limited", json!({}));
    holds_for("there is one run", Duration::from_millis(800), || {
        second.runs().is_empty() && s.count("called") == 1
    });
}

fn a_throttled_function_delays_what_is_too_much(s: &Scenario) {
    s.send("throttled", json!({}));
    s.send("throttled", json!({})).completed();
    let calls = s.noted_times("called", 2);
    let apart = elapsed_ms(&calls[0], &calls[1]);
    assert!(
        (1500..20_000).contains(&apart),
        "the second run came after {apart} ms"
    );
}

fn a_concurrency_limit_keeps_steps_apart(s: &Scenario) {
    let runs: Vec<_> = (0..4).map(|_| s.send("one-at-a-time", json!({}))).collect();
    for run in runs {
        run.completed();
    }
    let expected: Vec<_> = ["enter", "leave"].into_iter().cycle().take(8).collect();
    assert_eq!(s.notes(), expected);
}

fn a_singleton_skips_the_second_run(s: &Scenario) {
    let first = s.send("singleton-skip", json!({}));
    s.noted("before");
    let second = s.send("singleton-skip", json!({}));
    holds_for(
        "the second run does not start",
        Duration::from_millis(600),
        || s.count("before") == 1,
    );
    assert!(
        second.runs().iter().all(|run| run.status == "Skipped"),
        "{:?}",
        second.runs()
    );
    assert!(!first.run().is_ended());
    s.server().delete(&format!("/v1/runs/{}", first.run().id));
}

fn a_singleton_cancels_the_first_run(s: &Scenario) {
    let first = s.send("singleton-cancel", json!({}));
    s.noted("before");
    let second = s.send("singleton-cancel", json!({}));
    assert_eq!(first.ended().status, "Cancelled");
    wait_until("the second run to start", DEADLINE, || {
        (s.count("before") == 2).then_some(())
    });
    assert!(!second.run().is_ended());
    s.server().delete(&format!("/v1/runs/{}", second.run().id));
}
