//! Sleeps and delayed starts.

use std::time::Duration;

use inngest_tests::{
    scenario::Scenario,
    wait::{holds_for, wait_until},
};
use serde_json::json;

use crate::functions::elapsed_ms;

scenarios! {
    all:
        a_sleep_takes_its_time_and_no_step_runs_twice
        a_sleep_until_a_date_ends_at_the_date
        a_sleep_until_the_past_ends_at_once
        a_long_sleep_leaves_the_run_running
        an_event_from_the_future_starts_its_run_then;
}

fn a_sleep_takes_its_time_and_no_step_runs_twice(s: &Scenario) {
    assert_eq!(s.send("sleep", json!({})).completed(), json!("rested"));
    assert_eq!(s.notes(), ["before", "after"]);
    let slept = elapsed_ms(&s.noted("before"), &s.noted("after"));
    assert!((950..15_000).contains(&slept), "slept {slept} ms");
}

fn a_sleep_until_a_date_ends_at_the_date(s: &Scenario) {
    assert_eq!(s.send("sleep-until", json!({})).completed(), json!("up"));
    let slept = elapsed_ms(&s.noted("before"), &s.noted("after"));
    assert!((1400..15_000).contains(&slept), "slept {slept} ms");
}

fn a_sleep_until_the_past_ends_at_once(s: &Scenario) {
    assert_eq!(s.send("sleep-past", json!({})).completed(), json!("late"));
}

fn a_long_sleep_leaves_the_run_running(s: &Scenario) {
    let run = s.send("sleep-long", json!({})).run();
    s.noted("before");
    holds_for("the run is running", Duration::from_millis(500), || {
        s.server().run(&run.id).status == "Running"
    });
    s.server().delete(&format!("/v1/runs/{}", run.id));
}

fn an_event_from_the_future_starts_its_run_then(s: &Scenario) {
    s.send("echo", json!({}));
    let now = s.noted("called")["at"]
        .as_i64()
        .expect("every entry has a time");
    let started = s.send_event(json!({ "name": s.event("echo"), "ts": now + 2500, "data": {} }));
    let calls = wait_until("the delayed call", Duration::from_secs(30), || {
        let calls = s.journal();
        (calls.len() == 2).then_some(calls)
    });
    let waited = calls[1]["at"].as_i64().expect("every entry has a time") - now;
    assert!(
        (2450..20_000).contains(&waited),
        "started after {waited} ms"
    );
    started.completed();
}
