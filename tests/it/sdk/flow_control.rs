//! Flow control, as far as it goes today: its settings are taken, stored and shown, but not enforced, so every event starts a run
//! at once. That is wrong for those who set limits, which is why every sync with such settings logs them.

use inngest_tests::scenario::Scenario;
use serde_json::json;

scenarios! {
    all:
        events_of_a_batched_function_start_a_run_each_for_now
        excess_runs_of_a_rate_limited_function_start_for_now
        a_second_run_of_a_singleton_starts_for_now;
}

fn events_of_a_batched_function_start_a_run_each_for_now(s: &Scenario) {
    for n in 0..2 {
        let started = s.send("batched", json!({ "n": n }));
        assert_eq!(started.completed(), json!(1));
    }
    assert_eq!(s.count("batch"), 2);
}

fn excess_runs_of_a_rate_limited_function_start_for_now(s: &Scenario) {
    s.send("rate-limited", json!({})).completed();
    s.send("rate-limited", json!({})).completed();
    assert_eq!(s.count("called"), 2);
}

fn a_second_run_of_a_singleton_starts_for_now(s: &Scenario) {
    let first = s.send("singleton-skip", json!({})).run();
    let second = s.send("singleton-skip", json!({})).run();
    for run in [first, second] {
        assert_ne!(s.server().run(&run.id).status, "Skipped");
        s.server().delete(&format!("/v1/runs/{}", run.id));
    }
}
